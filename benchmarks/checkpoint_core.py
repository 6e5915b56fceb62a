"""A suite of `lavin-eval` on checkpoint folders in torch, on the same samples one beside the other.

    python benchmarks/checkpoint_core.py checkpoints/edge-all MILESTONE --data DATA --json OUT.json

For models that have no bundle yet. Figures are those of `lavin-eval BUNDLE --data DATA` without the
ST-VAE's ceiling and the classical rows.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
from tqdm import tqdm

from lavin_deploy.evaluation.suite import TASK_EVALS, choose_tasks, evaluate_task
from lavin_deploy.training.tasks.heldout import HeldOut
from lavin_deploy.training.torch_answers import TorchAnswers


@click.command()
@click.argument("checkpoints", type=Path, nargs=-1, required=True)
@click.option("--data", type=Path, required=True)
@click.option("--suite", default="core", show_default=True)
@click.option("--task", "tasks", multiple=True)
@click.option("--samples", default=60, show_default=True)
@click.option("--pairs", default=1, show_default=True)
@click.option("--json", "out", type=Path)
def main(
    checkpoints: tuple[Path, ...],
    data: Path,
    suite: str,
    tasks: tuple[str, ...],
    samples: int,
    pairs: int,
    out: Path | None,
) -> None:
    """Print the headline of every task and what pairs of another task give."""
    answers = {str(folder): TorchAnswers(folder) for folder in checkpoints}
    size = min(next(iter(answers.values())).config.inference.size)
    source = HeldOut(data, size=size, pairs=pairs)
    found: dict[str, dict[str, object]] = {}
    for task in choose_tasks(suite, tasks, ()):
        for name, answer in answers.items():
            result = evaluate_task(task, source, answer, samples=samples, opencv=False)
            headline = TASK_EVALS[task].metrics[0].name
            rows = {row.name: asdict(row.scores[headline]) for row in result.rows}
            found.setdefault(task, {})[name] = {"metric": headline, **rows}
            model, copied = rows["model"], rows["copy input"]
            tqdm.write(
                f"{task:<16} {headline:<14} {model['mean']:.3f} +- {model['error']:.3f}"
                f"  copied input {copied['mean']:.3f}  {name}"
            )
    if out is not None:
        report = {"samples": samples, "pairs": pairs, "size": size, "tasks": found}
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
