"""The page of an evaluation: tables and pictures in one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavin_deploy.evaluation.paper.task_evals import PUBLISHED_BY
from lavin_deploy.evaluation.report.contact_sheet import contact_sheet
from lavin_deploy.evaluation.report.report import SuiteReport
from lavin_deploy.evaluation.report.table import cell, heads, lines, sentences, title
from lavin_deploy.evaluation.suite import CEILING, MODEL, WRONG_PROMPT, TaskResult
from lavin_deploy.files import replaced_file
from lavin_deploy.page import Cell, Html, code, join, page, sheet, table, tag, text

EXPLAINED = (
    "Means over the samples, ± their standard errors. wrong prompt: pairs of another task. "
    "mismatched pairs: pairs whose targets belong to other inputs. ST-VAE of truth: what the "
    "autoencoder makes of the right answer, hardly to be beaten. baseline: classical methods."
)


def render(report: SuiteReport) -> str:
    """Return an HTML document without scripts; all pictures are inside it."""
    parts = [
        tag("h1", f"Evaluation: suite {report.suite}"),
        *(tag("p", line, "faint") for line in report.heading.splitlines()),
        _overview(report.results),
        tag("p", EXPLAINED, "faint"),
    ]
    for result in report.results:
        parts += _section(result, report.settings.get(result.task, {}))
    if report.closing:
        parts += [tag("h2", "Speed"), tag("p", report.closing)]
    parts += [tag("h2", "The run"), _facts(report.facts)]
    return page(f"Evaluation: {report.suite}", join(parts, "\n"))


def write_report(report: SuiteReport, folder: Path) -> None:
    """Write ``report.html``, ``.json`` and ``.txt``, and ``<task>.png``, into a folder."""
    from PIL import Image

    texts = {
        "report.html": render(report),
        "report.json": json.dumps(report.to_json(), indent=1, allow_nan=False),
        "report.txt": report.text(),
    }
    for name, content in texts.items():
        with replaced_file(folder / name) as part:
            part.write_text(content + "\n", encoding="utf-8")
    for result in report.results:
        with replaced_file(folder / f"{result.task}.png") as part:
            Image.fromarray(contact_sheet(result)).save(part, format="PNG")


def _overview(results: tuple[TaskResult, ...]) -> Html:
    """A line for each task: its headline beside what it is to be compared with."""
    published = any(result.published for result in results)
    columns = (MODEL, WRONG_PROMPT, CEILING)
    rows: list[list[Cell]] = []
    for result in results:
        by_row = {row.name: cell(row.scores[result.metrics[0].name]) for row in result.rows}
        gain = result.gain
        over = None if gain is None else f"{gain.mean:.3f} ({gain.low:.3f} to {gain.high:.3f})"
        link = Html(f'<a href="#{text(result.task)}">{text(result.task)}</a>')
        rows.append([link, heads(result)[0], *map(by_row.get, columns), over])
        if published:
            rows[-1].append(result.published.get(result.metrics[0].name))
    names = ["task", "headline", *columns, "gain over wrong prompt (95 %)"]
    if published:
        names.append(f"published, {PUBLISHED_BY}")
    return table(names, rows, "  nnnnn"[: len(names)])


def _section(result: TaskResult, settings: Mapping[str, Any]) -> list[Html]:
    rows: list[list[Cell]] = [
        [line.kind, tag("strong", line.name) if line.kind == "model" else line.name, *line.cells]
        for line in lines(result)
    ]
    names = heads(result)
    parts = [
        Html(f'<h2 id="{text(result.task)}">{text(title(result, settings))}</h2>'),
        table(("", "answer", *names), rows, "  " + "n" * len(names)),
        *(tag("p", sentence) for sentence in sentences(result)),
    ]
    if result.pictures:
        parts.append(sheet(contact_sheet(result), f"answers to {result.task}, a row a sample"))
    return parts


def _facts(facts: Mapping[str, Any]) -> Html:
    rows: list[list[Cell]] = [
        [code(name), value if isinstance(value, str) else json.dumps(value)]
        for name, value in facts.items()
    ]
    return table(("field", "value"), rows)
