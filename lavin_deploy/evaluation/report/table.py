"""The table of one task in words: column heads, lines of cells, and sentences below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lavin_deploy.evaluation.kid import KernelDistance
from lavin_deploy.evaluation.paper.task_evals import PUBLISHED_BY
from lavin_deploy.evaluation.suite import Score, TaskResult


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a table: what kind of row it is, its name, and a cell for each head."""

    kind: str
    name: str
    cells: tuple[str, ...]


def title(result: TaskResult, settings: Mapping[str, Any]) -> str:
    """Return the task, how many samples it had and how it was sampled."""
    listed = ", ".join(f"{name} {value:g}" for name, value in settings.items())
    return f"{result.task}: {result.samples} held-out samples" + (f", {listed}" if listed else "")


def heads(result: TaskResult) -> list[str]:
    """Return a head for each metric, with its unit and an arrow to what is better."""
    headings = [
        f"{m.name}{f' ({m.unit})' if m.unit else ''} {'↑' if m.higher_is_better else '↓'}"
        for m in result.metrics
    ]
    return headings if result.kid is None else [*headings, "kid ↓"]


def lines(result: TaskResult) -> list[Line]:
    """Return a line for each row, for what was published, and for the floor of distances."""
    table = [
        Line(
            kind=row.kind,
            name=row.name,
            cells=tuple(cell(row.scores[metric.name]) for metric in result.metrics),
        )
        for row in result.rows
    ]
    if result.published:
        cells = tuple(cell(_published(result, metric.name)) for metric in result.metrics)
        published = [Line(kind="published", name=PUBLISHED_BY, cells=cells)]
    else:
        published = []
    if result.kid is None:
        return [*table, *published]
    kid = result.kid
    published = [replace(row, cells=(*row.cells, "-")) for row in published]
    table = [replace(row, cells=(*row.cells, _distance(kid.rows[row.name]))) for row in table]
    dashes = ("-",) * len(result.metrics)
    floor = Line(kind="floor", name="real/real", cells=(*dashes, _distance(kid.floor)))
    return [*table, *published, floor]


def sentences(result: TaskResult) -> list[str]:
    """Return what the swap test and the comparison with wrong prompts found."""
    notes = []
    if result.swap is not None:
        swap = result.swap
        notes.append(
            f"swapped pairs: the answer follows a new colour in {_percent(swap.colour)} of "
            f"{swap.colour_cases} cases, exchanged colours in {_percent(swap.polarity)} of "
            f"{swap.polarity_cases}"
        )
    if result.gain is not None:
        gain = result.gain
        notes.append(
            f"{result.metrics[0].name} better than with pairs of another task by {gain.mean:.3f} "
            f"(95 % interval {gain.low:.3f} to {gain.high:.3f}, {gain.count} samples)"
        )
    if result.kid is not None:
        notes.append(
            f"kid: {result.kid.features}, answers to one half of {result.kid.samples} samples "
            "against truths of the other, ± the spread over halvings; real/real has truths in both"
        )
    if result.note:
        notes.append(result.note)
    return notes


def cell(score: Score) -> str:
    """Write a mean and its standard error; a dash where there is none."""
    if score.mean is None:
        return "-"
    digits = 3 if abs(score.mean) < 10 else 2
    error = "" if score.error is None else f" ±{score.error:.{digits}f}"
    return f"{score.mean:.{digits}f}{error}"


def _published(result: TaskResult, metric: str) -> Score:
    return Score(mean=result.published.get(metric), error=None, count=0)


def _distance(distance: KernelDistance) -> str:
    return f"{distance.mean:.3f} ±{distance.spread:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"
