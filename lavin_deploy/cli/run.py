"""``lavin-run``: a task's answer to an image, a video, or a folder of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lavin_deploy.cli.common import PARTLY, ProgressBar, command, counted, say_error, sentence
from lavin_deploy.errors import WorkError
from lavin_deploy.names import BACKENDS, VIEWS

if TYPE_CHECKING:
    from lavin_deploy.runtime.media.process import Report


@command()
@click.argument("input_", metavar="INPUT")
@click.option("--task", required=True, metavar="NAME", help="What to do; see lavin-task list.")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="File or folder to write; by default NAME.task.ext beside the input.",
)
@click.option("--bundle", metavar="DIR", help="Bundle to run; by default the one that ships.")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What runs the graphs.",
)
@click.option("--precision", metavar="NAME", help="Variant of the bundle; by default the bundle's.")
@click.option("--steps", type=click.IntRange(1), help="Model evaluations a frame.")
@click.option("--guidance", type=float, metavar="W", help="Guidance weight; 1 is none.")
@click.option("--pairs", type=click.IntRange(1), help="Use the task's first so many pairs.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the noise.")
@click.option(
    "--view",
    type=click.Choice(VIEWS),
    help="Answer over the input, alone, or beside it; by default the task's.",
)
@click.option(
    "--data",
    metavar="OUT.npz|DIR",
    type=click.Path(path_type=Path),
    help="Also write raw targets and latents: to one file for one input, or into a folder.",
)
@click.option(
    "--skip-existing", is_flag=True, help="Leave out inputs whose results are there already."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a line.")
def run(
    input_: str,
    task: str,
    output: Path | None,
    bundle: str | None,
    backend: str,
    precision: str | None,
    steps: int | None,
    guidance: float | None,
    pairs: int | None,
    seed: int,
    view: str | None,
    data: Path | None,
    skip_existing: bool,
    as_json: bool,
) -> int:
    """Run a task on INPUT: an image, a video, a folder of them, or a pattern in quotes.

    The result has the input's size, frame times and sound. Of a folder or pattern, every file that
    can be answered is; the others are named at the end, with exit code 3 (1 if none was answered).
    """
    import lavin_deploy
    from lavin_deploy.runtime.media.destinations import plan_outputs
    from lavin_deploy.runtime.media.inputs import find_inputs
    from lavin_deploy.runtime.media.process import process

    inputs = find_inputs(input_)
    plan = plan_outputs(inputs, task, output, data)
    if skip_existing:
        plan = plan.without_existing()
    there = len(inputs.files) - len(plan.items)
    with lavin_deploy.load(bundle, backend=backend, precision=precision) as model:
        stored = model.task(task)
        sampling = model.settings(task, steps, guidance)
        options = {**asdict(sampling), "seed": seed, "num_pairs": pairs}
        with ProgressBar("frame") as bar:
            report = process(
                model,
                task,
                plan,
                view=view or stored.view or "overlay",
                options=options,
                progress=bar,
                keep_going=inputs.folder is not None,
            )
            # Only now: where something goes wrong, stderr has that one sentence.
            if model.choice:
                bar.notice(model.choice)
            if inputs.skipped:
                bar.notice(f"{inputs.skipped} file(s) left out: neither image nor video by suffix.")
            if there:
                bar.notice(f"{there} file(s) left out: their results are there already.")
        used = sampling.steps
        backend, precision = model.backend, model.precision
    if as_json:
        click.echo(_to_json(report, backend=backend, precision=precision, steps=used, seed=seed))
    elif report.files:
        click.echo(
            f"{report.output}: {report.frames} frame(s) {report.width}x{report.height} in "
            f"{report.seconds:.2f} s, {report.frames_per_second:.2f} frames/s "
            f"({backend} {precision}, {counted(report.pairs, 'pair')}, {counted(used, 'step')})"
        )
    if not report.failures:
        return 0
    for path, error in report.failures:
        say_error(error, about=path)
    failed = len(report.failures)
    say_error(WorkError(f"{failed} of {counted(failed + report.files, 'file')} got no answer."))
    return PARTLY if report.files or there else WorkError.exit_code


def _to_json(report: Report, **settings: str | int) -> str:
    return json.dumps(
        {
            "output": str(report.output),
            "frames": report.frames,
            "width": report.width,
            "height": report.height,
            "seconds": round(report.seconds, 4),
            "frames_per_second": round(report.frames_per_second, 3),
            **settings,
            "pairs": report.pairs,
            "failed": [
                {"input": str(path), "error": sentence(error)} for path, error in report.failures
            ],
            "stages": {name: round(value, 3) for name, value in report.stages.items()},
        }
    )
