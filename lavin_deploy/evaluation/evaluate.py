"""Put a model through an evaluation suite, on its bundle's own samples or on a prepared folder."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lavin_deploy import __version__
from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.evaluation.kid import Features
from lavin_deploy.evaluation.paper.episodes import SETS, Published
from lavin_deploy.evaluation.paper.task_evals import PAPER_TASK_EVALS
from lavin_deploy.evaluation.report.page import write_report
from lavin_deploy.evaluation.report.report import SuiteReport
from lavin_deploy.evaluation.stored_samples import StoredSamples
from lavin_deploy.evaluation.suite import TASK_EVALS, choose_tasks, evaluate_task
from lavin_deploy.evaluation.timed_model import Speed, TimedModel, identity, pairs_for
from lavin_deploy.files import kept_folder, require_folder
from lavin_deploy.runtime.letterbox import Letterbox
from lavin_deploy.runtime.media.images import read_image
from lavin_deploy.runtime.pipeline import Model
from lavin_deploy.runtime.request import Size, bundle_pairs
from lavin_deploy.tasks.samples import SampleSource

if TYPE_CHECKING:
    from lavin_deploy.runtime.media.process import Progress

HELD_OUT_SAMPLES = 200
"""Samples of each task drawn from a prepared folder unless another number is asked for."""


class HeldOutMaker(Protocol):
    """Makes samples of a prepared folder's test split; it is the trainer's, see ``HeldOut``."""

    def __call__(
        self, folder: Path, *, size: int, pairs: int, seed: int, strength: float | None
    ) -> SampleSource:
        """Return the source of square samples of ``size`` pixels."""
        ...


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What to measure.

    Attributes:
        suite: its name.
        tasks: only these; empty takes the suite's that there are samples of.
        data: prepared folder, whose held-out samples are drawn in random styles, or for the suite
            ``paper`` one with published test sets; None takes the bundle's validation samples.
        samples: of each task; None takes ``HELD_OUT_SAMPLES`` of a folder, all of a bundle's.
        seed: of what is drawn from ``data``; None is 0.
        strength: of noise, blur and the like in what is drawn, in each task's own unit (see
            ``training.restoration.DEGRADATIONS``; noise: sigma in grey levels); None draws it too.
        size: (height, width) of the bundle; None takes its default.
        steps: model evaluations; None takes each task's.
        guidance: weight; None likewise.
        report: folder to write results and pictures into, or None.
    """

    suite: str = "core"
    tasks: tuple[str, ...] = ()
    data: Path | None = None
    samples: int | None = None
    seed: int | None = None
    strength: float | None = None
    size: Size | None = None
    steps: int | None = None
    guidance: float | None = None
    report: Path | None = None

    def __post_init__(self) -> None:
        choose_tasks(self.suite, self.tasks, ())
        strange = [name for name in self.tasks if (name in PAPER_TASK_EVALS) != self.published]
        if strange:
            raise InputError(
                f"--task {strange[0]} and --suite {self.suite} do not go together; the tasks of "
                f"the suite paper are {', '.join(PAPER_TASK_EVALS)}, and only it has them."
            )
        if self.published and self.data is None:
            raise InputError(
                "--suite paper measures on published test sets; give --data DIR, a folder that "
                f"has any of {', '.join(SETS)}."
            )
        for name in ("seed", "strength"):
            value = getattr(self, name)
            if self.data is None and value is not None:
                raise InputError(
                    f"--{name} {value} chooses what is drawn from --data DIR; give one, or leave "
                    f"--{name} out to measure on the bundle's own samples."
                )
        if self.published and self.strength is not None:
            raise InputError(
                "--strength is for pictures that are drawn; published test sets are not."
            )
        if self.report is not None:
            require_folder(self.report, empty=False)

    @property
    def published(self) -> bool:
        """Whether published test sets are measured on."""
        return self.suite == "paper"


@dataclass(frozen=True, kw_only=True)
class _Material:
    """Samples to measure on: how many of each task, with how many pairs, and what they are."""

    source: SampleSource
    counts: Mapping[str, int]
    pairs: int
    kind: str
    about: str


def evaluate(
    model: Model,
    what: Evaluation,
    *,
    held_out: HeldOutMaker,
    progress: Progress,
    features: Features | None = None,
) -> SuiteReport:
    """Measure a model beside controls and classical methods, and write the report if asked for.

    Args:
        model: open.
        what: to measure.
        held_out: makes the samples of ``what.data``.
        progress: is told of every sample, and of rows that are left out for want of OpenCV.
        features: what sets of answers are compared by (KID); None leaves that out.

    Raises:
        InputError: a size, number or task that is unavailable, or no samples.
        BundleError: the bundle's samples are damaged.
    """
    size = model.manifest.defaults.size if what.size is None else what.size
    timed_model = TimedModel(model=model, size=size, steps=what.steps, guidance=what.guidance)
    if what.published and what.data is not None:
        material = _published_samples(model, what, size, what.data)
    elif what.data is None:
        material = _own_samples(model, what, size)
    else:
        material = _drawn_samples(model, what, size, held_out, what.data)
    opencv = _opencv_version()
    if opencv is None:
        progress.notice(
            "OpenCV is missing, so classical methods that need it are left out; to have them run "
            "pip install opencv-python-headless."
        )
    progress.expect(sum(material.counts.values()))
    results = tuple(
        evaluate_task(
            name,
            material.source,
            timed_model.answer(TASK_EVALS[name].family),
            samples=count,
            ceiling=timed_model.reconstruct,
            opencv=opencv is not None,
            features=features,
            advance=progress.advance,
        )
        for name, count in material.counts.items()
    )
    speed = timed_model.speed()
    facts = _facts(model, what, size, material, opencv)
    report = SuiteReport(
        suite=what.suite,
        heading=_heading(facts, material),
        facts=facts,
        settings={
            name: asdict(timed_model.settings(TASK_EVALS[name].family)) for name in material.counts
        },
        results=results,
        speed=None if speed is None else asdict(speed),
        closing="" if speed is None else _pace(speed),
    )
    if what.report is not None:
        with kept_folder(what.report):
            write_report(report, what.report)
    return report


def _own_samples(model: Model, what: Evaluation, size: Size) -> _Material:
    def read(file: Path) -> U8:
        image = read_image(file)
        return Letterbox((image.shape[0], image.shape[1]), size).forward(image)

    manifest = model.manifest
    stored = [name for name in model.tasks if name in manifest.validation]
    names = choose_tasks(what.suite, what.tasks, stored)
    lost = [name for name in names if name not in stored]
    if lost:
        raise InputError(
            f"the bundle has no validation samples of {', '.join(lost)}, but of: "
            f"{', '.join(stored) or 'none'}; give --data DIR, a folder that lavin-data prepare "
            "filled."
        )
    counts = {name: manifest.validation[name].samples for name in names}
    if what.samples is not None:
        fewest = min(counts, key=lambda name: counts[name])
        if what.samples > counts[fewest]:
            raise InputError(
                f"--samples {what.samples} is more than the {counts[fewest]} validation samples "
                f"of {fewest}; ask for fewer, or give --data DIR."
            )
        counts = dict.fromkeys(names, what.samples)
    available = min(len(model.task(name).pairs) for name in stored)
    pairs = bundle_pairs(manifest, size, available)
    return _Material(
        source=StoredSamples(model.bundle, pairs=pairs, read=read),
        counts=counts,
        pairs=pairs,
        kind="validation",
        about="the bundle's own validation samples, through the stored pairs",
    )


def _drawn_samples(
    model: Model, what: Evaluation, size: Size, held_out: HeldOutMaker, data: Path
) -> _Material:
    names = choose_tasks(what.suite, what.tasks, model.tasks)
    pairs = pairs_for(model, size)
    samples = HELD_OUT_SAMPLES if what.samples is None else what.samples
    about = f"held-out samples drawn from {data} in random styles, seed {what.seed or 0}"
    if what.strength is not None:
        about += f", strength {what.strength:g}"
    seed = what.seed or 0
    return _Material(
        source=held_out(data, size=min(size), pairs=pairs, seed=seed, strength=what.strength),
        counts=dict.fromkeys(names, samples),
        pairs=pairs,
        kind="held-out",
        about=about,
    )


def _published_samples(model: Model, what: Evaluation, size: Size, data: Path) -> _Material:
    pairs = pairs_for(model, size)
    source = Published(data, size=min(size), pairs=pairs, seed=what.seed or 0)
    names = choose_tasks(what.suite, what.tasks, source.tasks)
    lost = [name for name in names if name not in source.tasks]
    if lost:
        raise InputError(
            f"{data} has too few samples of {', '.join(lost)} for {pairs} pair(s); it has enough "
            f"of: {', '.join(source.tasks)}."
        )
    samples = HELD_OUT_SAMPLES if what.samples is None else what.samples
    return _Material(
        source=source,
        counts={name: min(samples, source.count(name)) for name in names},
        pairs=pairs,
        kind="published",
        about=f"published test sets in {data}, seed {what.seed or 0}",
    )


def _facts(
    model: Model, what: Evaluation, size: Size, material: _Material, opencv: str | None
) -> dict[str, Any]:
    versions = {
        "lavin_deploy": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return {
        "bundle": identity(model),
        "backend": model.describe(),
        "precision": model.precision,
        "size": list(size),
        "measured_on": material.kind,
        "data": None if what.data is None else str(what.data),
        "pairs": material.pairs,
        "samples": dict(material.counts),
        "seed": None if what.data is None else what.seed or 0,
        "strength": what.strength,
        "versions": versions if opencv is None else {**versions, "opencv": opencv},
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count()},
    }


def _heading(facts: Mapping[str, Any], material: _Material) -> str:
    bundle, (height, width) = facts["bundle"], facts["size"]
    counts = ", ".join(f"{name} {count}" for name, count in material.counts.items())
    return (
        f"{bundle['path']} (sha256 {bundle['sha256'][:12]}), {facts['precision']} at "
        f"{height}x{width}, {facts['pairs']} pair(s); {facts['backend']}\n"
        f"measured on {material.about}: {counts}"
    )


def _pace(speed: Speed) -> str:
    times = ", ".join(f"{name} {value:.1f}" for name, value in speed.stages.items())
    return f"median ms: {times}; a frame without setup {speed.frame:.1f}"


def _opencv_version() -> str | None:
    try:
        import cv2
    except ImportError:  # not there, or a system library that it needs is not
        return None
    return str(cv2.__version__)
