"""Quality of a bundle at several numbers of evaluations and of pairs, on held-out samples.

    python benchmarks/quality_steps.py BUNDLE --data DATA [--samples 48] [--steps 1,2,4,8,19]
        [--pairs 1,2,4,8] [--task NAME]... [--plot FILE.svg] [--json FILE]

Two tables in Markdown, a line a task: the headline of the model at each number of evaluations of a
uniform grid, with as many pairs as the bundle shows by default; and at each number of pairs that
it has graphs for, with each task's own number of evaluations. The queries are the same throughout.
Beside them stand the ST-VAE's reconstruction of the truth and the answers to pairs of another
task.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path

import click

import lavin_deploy
from lavin_deploy.arrays import U8
from lavin_deploy.evaluation.suite import CEILING, MODEL, WRONG_PROMPT, TaskResult, evaluate_task
from lavin_deploy.evaluation.timed_model import TimedModel, pairs_for
from lavin_deploy.runtime.pipeline import Model
from lavin_deploy.tasks.samples import Episode, SampleSource, Style
from lavin_deploy.training.tasks.heldout import HeldOut

WIDTH, HEIGHT, LEFT, TOP = 250, 120, 60, 34
COLOURS = {MODEL: "#2166ac", WRONG_PROMPT: "#b2182b", CEILING: "#888888"}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The headline of a task over a number: by row, a mean for each of ``numbers``."""

    task: str
    metric: str
    numbers: Sequence[int]
    rows: Mapping[str, list[float | None]]


class FirstPairs:
    """Shows the first few of the pairs of another source."""

    def __init__(self, source: SampleSource, pairs: int) -> None:
        self._source, self._pairs = source, pairs

    @property
    def tasks(self) -> Sequence[str]:
        return self._source.tasks

    def episode(self, task: str, index: int) -> Episode:
        episode = self._source.episode(task, index)
        return replace(episode, pairs=episode.pairs[: self._pairs])

    def training_targets(self, task: str, count: int) -> Iterator[tuple[U8, Style]]:
        return self._source.training_targets(task, count)


def whole_numbers(_: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Read "1,2,4"."""
    parts = [part for part in text.split(",") if part]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{text!r} is not a list like 1,2,4", param=option)
    return tuple(sorted({int(part) for part in parts}))


def curve(task: str, numbers: Sequence[int], measure: Callable[[int], TaskResult]) -> Curve:
    """Measure a task at each number."""
    results = []
    for number in numbers:
        click.echo(f"measuring {task} at {number}", err=True)
        results.append(measure(number))
    metric = results[0].metrics[0]
    unit = f" ({metric.unit})" if metric.unit else ""
    return Curve(
        task=task,
        metric=f"{metric.name}{unit} {'↑' if metric.higher_is_better else '↓'}",
        numbers=numbers,
        rows={name: [result.score(name).mean for result in results] for name in COLOURS},
    )


def markdown(curves: Sequence[Curve], what: str) -> str:
    """Return a table: each number's mean, with that of pairs of another task in brackets."""
    numbers = curves[0].numbers
    heads = ["task", "headline", *(f"{number} {what}" for number in numbers), CEILING]
    lines = [heads, ["---", "---", *("---:" for _ in heads[2:])]]
    for each in curves:
        both = zip(each.rows[MODEL], each.rows[WRONG_PROMPT], strict=True)
        cells = [f"{short(right)} ({short(wrong)})" for right, wrong in both]
        lines.append([each.task, each.metric, *cells, short(each.rows[CEILING][0])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def draw(columns: Mapping[str, Sequence[Curve]]) -> str:
    """Return an SVG: a row of panels a task, a column for what was varied, one line a row."""
    step_x, step_y = WIDTH + LEFT + 20, HEIGHT + TOP + 26
    panels = [
        f'<g transform="translate({x * step_x} {y * step_y + 20})">{panel(each, what)}</g>'
        for x, (what, curves) in enumerate(columns.items())
        for y, each in enumerate(curves)
    ]
    legend = "".join(
        f'<text x="{LEFT + 130 * place}" y="14" fill="{colour}">{escape(name)}</text>'
        for place, (name, colour) in enumerate(COLOURS.items())
    )
    width = max(len(columns) * step_x, LEFT + 130 * len(COLOURS))
    height = max(len(curves) for curves in columns.values()) * step_y + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{legend}\n" + "\n".join(panels) + "\n</svg>\n"
    )


def panel(curve: Curve, what: str) -> str:
    """Draw one task: numbers evenly spaced from left to right, values on a linear axis."""
    values = [value for row in curve.rows.values() for value in row if value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = (high - low) or 1.0
    steps = max(len(curve.numbers) - 1, 1)
    places = [LEFT + WIDTH * index / steps for index in range(len(curve.numbers))]

    def level(value: float) -> float:
        return TOP + HEIGHT * (1 - (value - low) / span)

    title = f"{curve.task}, {curve.metric} over {what}"
    parts = [
        f'<text x="{LEFT}" y="{TOP - 10}">{escape(title)}</text>',
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>',
    ]
    for value in (low, high):
        y = level(value) + 4
        parts.append(f'<text x="{LEFT - 6}" y="{y:.1f}" text-anchor="end">{short(value)}</text>')
    for number, x in zip(curve.numbers, places, strict=True):
        parts.append(
            f'<text x="{x:.1f}" y="{TOP + HEIGHT + 14}" text-anchor="middle">{number}</text>'
        )
    for name, row in curve.rows.items():
        points = [(x, level(y)) for x, y in zip(places, row, strict=True) if y is not None]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = COLOURS[name]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
    return "".join(parts)


def measure(
    model: Model,
    data: Path,
    tasks: Sequence[str],
    samples: int,
    steps: Sequence[int],
    pairs: Sequence[int],
) -> dict[str, list[Curve]]:
    """Return the curves over evaluations and over pairs; without numbers of pairs only those."""
    size = model.manifest.defaults.size
    default_pairs = pairs_for(model, size)
    held_out = HeldOut(data, size=min(size), pairs=max(default_pairs, *pairs, 1))

    def result(task: str, count: int | None, number: int) -> TaskResult:
        timed_model = TimedModel(model=model, size=size, steps=count)
        return evaluate_task(
            task,
            FirstPairs(held_out, number),
            timed_model.answer(task),
            samples=samples,
            ceiling=timed_model.reconstruct,
            keep_pictures=0,
        )

    curves = {
        "evaluations": [
            curve(task, steps, lambda count, task=task: result(task, count, default_pairs))
            for task in tasks
        ]
    }
    if pairs:
        curves["pairs"] = [
            curve(task, pairs, lambda number, task=task: result(task, None, number))
            for task in tasks
        ]
    return curves


@click.command()
@click.argument("bundle")
@click.option("--data", type=Path, required=True, help="Folder made by lavin-data prepare.")
@click.option("--samples", type=click.IntRange(1), default=48, show_default=True)
@click.option("--steps", default="1,2,4,8,19", show_default=True, callback=whole_numbers)
@click.option("--pairs", default="", callback=whole_numbers, help="Also these, e.g. 1,2,4,8.")
@click.option("--task", "tasks", multiple=True, help="Only this one; repeatable.")
@click.option("--plot", type=Path, help="Draw the curves there, as SVG.")
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(
    bundle: str,
    data: Path,
    samples: int,
    steps: tuple[int, ...],
    pairs: tuple[int, ...],
    tasks: tuple[str, ...],
    plot: Path | None,
    out: Path | None,
) -> None:
    """Print tables."""
    if plot is not None and plot.suffix != ".svg":
        raise click.BadParameter(f"{plot} is not an .svg file", param_hint="--plot")
    with lavin_deploy.load(bundle) as model:
        supported = model.manifest.pairs_at(*model.manifest.defaults.size)
        lost = [number for number in pairs if number not in supported]
        if lost:
            click.echo(f"left out, for the bundle has no graphs for them: {lost} pairs", err=True)
        measured = measure(
            model, data, tasks or model.tasks, samples, steps, [n for n in pairs if n in supported]
        )
    click.echo(f"{bundle}, {samples} samples; in brackets with pairs of another task")
    for what, curves in measured.items():
        click.echo(f"\n{markdown(curves, what)}")
    if plot is not None:
        plot.write_text(draw(measured), encoding="utf-8")
    if out is not None:
        report = {what: [asdict(each) for each in curves] for what, curves in measured.items()}
        report = {"bundle": Path(bundle).name, "samples": samples, **report}
        out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
