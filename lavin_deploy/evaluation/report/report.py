"""What an evaluation found, for people (tables, a page, pictures) and for programs (JSON)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lavin_deploy.evaluation.report.table import heads, lines, sentences, title
from lavin_deploy.evaluation.suite import TaskResult


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
        **({"published": dict(result.published)} if result.published else {}),
        **({"note": result.note} if result.note else {}),
        **({} if result.kid is None else {"kid": asdict(result.kid)}),
    }


def _task_lines(result: TaskResult, settings: Mapping[str, Any]) -> list[str]:
    names = heads(result)
    widths = [max(len(name), 15) for name in names]
    printed = [
        title(result, settings),
        f"  {'':<27}" + "".join(f"  {h:>{w}}" for h, w in zip(names, widths, strict=True)),
    ]
    for line in lines(result):
        cells = zip(line.cells, widths, strict=True)
        printed.append(
            f"  {line.kind:<9} {line.name:<17}" + "".join(f"  {c:>{w}}" for c, w in cells)
        )
    return [*printed, *(f"  {each}" for each in sentences(result))]
