"""What an evaluation found, for people (a table, contact sheets) and for programs (JSON)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lavin_deploy.bundle_io.atomic import replaced_file
from lavin_deploy.tasks.painting import U8
from lavin_deploy.tasks.suite import Score, TaskResult

CELL, GAP, HEAD = 128, 4, 14


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """The results of a run and what they were got with.

    Attributes:
        suite: its name.
        heading: a line on what was measured, for people.
        facts: JSON data about the run: bundle, back end, versions, seed, size, pairs.
        settings: JSON data by task, e.g. steps and guidance.
        results: one of each task.
        speed: JSON data; None where nothing was timed.
        closing: a line on the speed, for people; empty for none.
    """

    suite: str
    heading: str
    facts: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    results: tuple[TaskResult, ...]
    speed: Mapping[str, Any] | None = None
    closing: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON data: the facts, ``tasks`` by name and ``speed``."""
        return {
            "suite": self.suite,
            **self.facts,
            "tasks": {
                result.task: {**self.settings.get(result.task, {}), **_task_json(result)}
                for result in self.results
            },
            "speed": self.speed,
        }

    def text(self) -> str:
        """Return heading, a table of each task and closing, without a line break at the end."""
        tables = (
            "\n".join(_task_lines(result, self.settings.get(result.task, {})))
            for result in self.results
        )
        return "\n\n".join(part for part in (self.heading, *tables, self.closing) if part)

    def write(self, folder: Path) -> None:
        """Write ``report.json``, ``report.txt`` and ``<task>.png`` into a folder that is there."""
        from PIL import Image

        texts = {
            "report.json": json.dumps(self.to_json(), indent=1, allow_nan=False),
            "report.txt": self.text(),
        }
        for name, text in texts.items():
            with replaced_file(folder / name) as part:
                part.write_text(text + "\n", encoding="utf-8")
        for result in self.results:
            with replaced_file(folder / f"{result.task}.png") as part:
                Image.fromarray(contact_sheet(result)).save(part, format="PNG")


def contact_sheet(result: TaskResult) -> U8:
    """Draw a row for each sample that was kept: first pair, query, truth, and every answer.

    Returns:
        (H, W, 3) uint8; each picture enlarged or shrunk to about 128 pixels, names on top.
    """
    from PIL import Image, ImageDraw

    rows = [
        {
            "pair: input": shown.episode.pairs[0][0],
            "pair: target": shown.episode.pairs[0][1],
            "query": shown.episode.query,
            "truth": shown.episode.truth,
            **shown.answers,
        }
        for shown in result.shown
    ]
    names = list(rows[0]) if rows else []
    step = CELL + GAP
    size = (max(1, len(names) * step - GAP), HEAD + max(1, len(rows) * step - GAP))
    sheet = Image.new("RGB", size, (40, 40, 40))
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(names):
        pen.text((column * step + 2, 1), name, fill=(255, 255, 255))
    for line, row in enumerate(rows):
        for column, picture in enumerate(row.values()):
            small = max(picture.shape[:2]) <= CELL
            how = Image.Resampling.NEAREST if small else Image.Resampling.BOX
            cell = Image.fromarray(picture).resize((CELL, CELL), how)
            sheet.paste(cell, (column * step, HEAD + line * step))
    return np.asarray(sheet, np.uint8)


def _task_json(result: TaskResult) -> dict[str, Any]:
    return {
        "samples": result.samples,
        "headline": result.metrics[0].name,
        "metrics": {
            metric.name: {"unit": metric.unit, "higher_is_better": metric.higher_is_better}
            for metric in result.metrics
        },
        "rows": [
            {
                "name": row.name,
                "kind": row.kind,
                "scores": {name: asdict(score) for name, score in row.scores.items()},
            }
            for row in result.rows
        ],
        "swap": None if result.swap is None else asdict(result.swap),
        "gain_over_wrong_prompt": None if result.gain is None else asdict(result.gain),
    }


def _task_lines(result: TaskResult, settings: Mapping[str, Any]) -> list[str]:
    given = ", ".join(f"{name} {value:g}" for name, value in settings.items())
    title = f"{result.task}: {result.samples} held-out samples" + (f", {given}" if given else "")
    heads = [
        f"{m.name}{f' ({m.unit})' if m.unit else ''} {'↑' if m.higher_is_better else '↓'}"
        for m in result.metrics
    ]
    widths = [max(len(head), 15) for head in heads]
    lines = [
        title,
        f"  {'':<27}" + "".join(f"  {h:>{w}}" for h, w in zip(heads, widths, strict=True)),
    ]
    for row in result.rows:
        cells = [_cell(row.scores[metric.name]) for metric in result.metrics]
        lines.append(
            f"  {row.kind:<9} {row.name:<17}"
            + "".join(f"  {c:>{w}}" for c, w in zip(cells, widths, strict=True))
        )
    if result.swap is not None:
        swap = result.swap
        lines.append(
            f"  swapped pairs: the answer follows a new colour in {_percent(swap.colour)} of "
            f"{swap.colour_cases} cases, exchanged colours in {_percent(swap.polarity)} of "
            f"{swap.polarity_cases}"
        )
    if result.gain is not None:
        gain = result.gain
        lines.append(
            f"  {result.metrics[0].name} better than with pairs of another task by {gain.mean:.3f} "
            f"(95 % interval {gain.low:.3f} to {gain.high:.3f}, {gain.count} samples)"
        )
    return lines


def _cell(score: Score) -> str:
    if score.mean is None:
        return "-"
    digits = 3 if abs(score.mean) < 10 else 2
    error = "" if score.error is None else f" ±{score.error:.{digits}f}"
    return f"{score.mean:.{digits}f}{error}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"
