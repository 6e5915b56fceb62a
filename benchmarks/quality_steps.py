"""Quality of a bundle at several numbers of evaluations, on held-out samples.

    python benchmarks/quality_steps.py BUNDLE --data DATA [--samples 48] [--json FILE]

One line a task: the headline of the model at each number of evaluations of a uniform grid, of the
ST-VAE's reconstruction of the truth, and of pairs of another task.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

import lavin_deploy
from lavin_deploy.runtime.trial import Trial, pairs_for
from lavin_deploy.tasks.suite import CEILING, MODEL, WRONG_PROMPT, evaluate_task
from lavin_deploy.training.heldout import HeldOut


@click.command()
@click.argument("bundle")
@click.option("--data", type=Path, required=True, help="Folder made by lavin-data prepare.")
@click.option("--samples", default=48, show_default=True)
@click.option("--steps", multiple=True, type=int, default=(1, 2, 4, 8), show_default=True)
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(bundle: str, data: Path, samples: int, steps: tuple[int, ...], out: Path | None) -> None:
    """Print a table."""
    found: dict[str, dict[str, float | None]] = {}
    with lavin_deploy.load(bundle) as model:
        size = model.manifest.defaults.size
        source = HeldOut(data, size=min(size), pairs=pairs_for(model, size))
        for task in model.tasks:
            row: dict[str, float | None] = {}
            for count in steps:
                trial = Trial(model=model, size=size, steps=count)
                result = evaluate_task(
                    task,
                    source,
                    trial.answer(task),
                    samples=samples,
                    ceiling=trial.reconstruct,
                    shown=0,
                )
                row[str(count)] = result.score(MODEL).mean
                row[f"wrong prompt at {count}"] = result.score(WRONG_PROMPT).mean
            row["ceiling"] = result.score(CEILING).mean
            metric = result.metrics[0]
            found[f"{task} ({metric.name} {'↑' if metric.higher_is_better else '↓'})"] = row
            cells = [f"{name} {value:.3f}" for name, value in row.items() if value is not None]
            click.echo(f"{task:14} {metric.name:12} " + "  ".join(cells))
    if out is not None:
        report = {"bundle": bundle, "samples": samples, "tasks": found}
        out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
