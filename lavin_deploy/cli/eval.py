"""``lavin-eval``: a bundle's tasks on held-out samples, beside controls and classical methods."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lavin_deploy.cli.common import ProgressBar, command
from lavin_deploy.errors import InputError

if TYPE_CHECKING:
    from lavin_deploy.runtime.pipeline import Model
    from lavin_deploy.runtime.request import Size
    from lavin_deploy.runtime.trial import Speed


@command()
@click.argument("bundle", metavar="BUNDLE")
@click.option("--suite", default="core", show_default=True, metavar="NAME", help="What to measure.")
@click.option(
    "--data",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder that lavin-data prepare filled; its test split is used.",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Held-out samples of each task.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME",
    help="Only this task; repeatable. By default those of the suite that the bundle has.",
)
@click.option("--size", metavar="HxW", help="Size of the bundle to run at; by default its default.")
@click.option("--steps", type=click.IntRange(1), help="Model evaluations; by default the task's.")
@click.option("--guidance", type=float, metavar="W", help="Guidance weight; by default the task's.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the samples."
)
@click.option("--precision", metavar="NAME", help="Variant of the bundle; by default the bundle's.")
@click.option(
    "--report",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Also write the results and a sheet of pictures of each task into this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def evaluate(
    bundle: str,
    suite: str,
    data: Path,
    samples: int,
    tasks: tuple[str, ...],
    size: str | None,
    steps: int | None,
    guidance: float | None,
    seed: int,
    precision: str | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Measure BUNDLE on held-out pictures, each task in random colours that its pairs show.

    Beside the model stand controls (the input as the answer, pairs of another task, pairs that do
    not belong together, constant masks) and a classical method. Settings of sampling are the
    ones that ship.
    """
    import lavin_deploy
    from lavin_deploy.runtime.outputs import kept_folder, require_folder
    from lavin_deploy.runtime.trial import Trial, identity, pairs_for
    from lavin_deploy.tasks.report import SuiteReport
    from lavin_deploy.tasks.suite import choose_tasks, evaluate_task

    choose_tasks(suite, tasks, ())  # unknown names are told before anything is opened
    if report is not None:
        require_folder(report, empty=False)
    with ExitStack() as stack:
        model = stack.enter_context(lavin_deploy.load(bundle, precision=precision))
        names = choose_tasks(suite, tasks, model.tasks)
        trial = Trial(model=model, size=_size(model, size), steps=steps, guidance=guidance)
        pairs = pairs_for(model, trial.size)
        source = _held_out(data, size=min(trial.size), pairs=pairs, seed=seed)
        bar = stack.enter_context(ProgressBar("sample"))
        bar.expect(samples * len(names))
        results = tuple(
            evaluate_task(name, source, trial.answer(name), samples=samples, advance=bar.advance)
            for name in names
        )
        speed = trial.speed()
        facts = {
            "bundle": identity(model),
            "backend": model.describe(),
            "precision": model.precision,
            "size": list(trial.size),
            "pairs": pairs,
            "samples": samples,
            "seed": seed,
            "versions": _versions(),
            "machine": {"cpu": platform.machine(), "cores": os.cpu_count()},
        }
        found = SuiteReport(
            suite=suite,
            heading=_heading(facts),
            facts=facts,
            settings={name: asdict(trial.settings(name)) for name in names},
            results=results,
            speed=None if speed is None else asdict(speed),
            closing="" if speed is None else _pace(speed),
        )
        if report is not None:
            with kept_folder(report):
                found.write(report)
    click.echo(json.dumps(found.to_json(), allow_nan=False) if as_json else found.text())


def _size(model: Model, text: str | None) -> Size:
    from lavin_deploy.runtime.request import check_size

    if text is None:
        return model.manifest.defaults.size
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InputError(f"--size {text!r} is not HxW, e.g. 64x64 (rows x columns).")
    return check_size(model.manifest, (int(height), int(width)))


def _held_out(data: Path, *, size: int, pairs: int, seed: int) -> Any:
    """Return the samples; the code that makes them is the trainer's and needs OpenCV."""
    try:
        from lavin_deploy.training.heldout import HeldOut
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        raise InputError(
            "held-out samples and classical methods need OpenCV, which is not installed; run "
            "pip install opencv-python-headless."
        ) from error
    return HeldOut(data, size=size, pairs=pairs, seed=seed)


def _versions() -> dict[str, str]:
    import cv2
    import numpy as np

    from lavin_deploy import __version__

    return {
        "lavin_deploy": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": str(cv2.__version__),
    }


def _heading(facts: Mapping[str, Any]) -> str:
    bundle, (height, width) = facts["bundle"], facts["size"]
    return (
        f"{bundle['path']} (sha256 {bundle['sha256'][:12]}), {facts['precision']} at "
        f"{height}x{width}, {facts['pairs']} pair(s), seed {facts['seed']}; {facts['backend']}"
    )


def _pace(speed: Speed) -> str:
    times = ", ".join(f"{name} {value:.1f}" for name, value in speed.stages.items())
    return f"median ms: {times}; a frame without setup {speed.frame:.1f}"
