"""What an export found, as a page for people and in short for the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.export.report.variant import by, label, variant_section
from lavin_deploy.page import (
    Cell,
    Html,
    code,
    error,
    folded,
    join,
    number,
    page,
    picture,
    size,
    table,
    tag,
    text,
    verdict,
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the variants answered to one query.

    Attributes:
        task: name of the task.
        query: (H, W, 3) uint8.
        truth: (H, W, 3) uint8; None where there is none.
        answers: (H, W, 3) uint8 by label, such as ``fp16 native``; the first is what the others
            are compared with.
    """

    task: str
    query: U8
    truth: U8 | None
    answers: Mapping[str, U8]


def short(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the manifest keeps of a report's variants.

    Returns:
        JSON data of each variant: ``precision``, ``dialect``, ``passed``, ``forced``, ``finite``,
        ``rel_l2`` (the largest of all checks; None where none was measured) and its ``limit``,
        ``ratio`` (speed against fp32; None where it was not timed), ``islands`` (the number of
        modules kept in fp32) and ``not_run`` (empty where every check ran).
    """
    return [
        {
            "precision": variant["precision"],
            "dialect": variant["dialect"],
            "passed": variant["gate"]["passed"],
            "forced": variant["gate"]["forced"],
            "finite": all(check["finite"] for check in variant["gate"]["checks"]),
            "rel_l2": _largest(variant["gate"]["checks"], "rel_l2"),
            "limit": variant["gate"]["limits"]["rel_l2"],
            "ratio": (variant["gate"]["speed"] or {}).get("ratio"),
            "islands": len(variant["islands"]),
            "not_run": variant["gate"]["not_run"],
        }
        for variant in report["variants"]
    ]


def render(report: Mapping[str, Any], pictures: Sequence[Comparison]) -> str:
    """Draw the page.

    Args:
        report: the exporter's JSON data, as written to ``report.json``.
        pictures: answers to show beside each other.

    Returns:
        An HTML document that refers to nothing outside itself and needs no script.
    """
    variants = report["variants"]
    sections: list[tuple[str, Html]] = [
        ("Variants", _variants(report)),
        ("Parity", _parity(report["parity"])),
        ("Operators", _operators(variants)),
        ("Timings", _timings(report["timings"])),
        ("Samples", _samples(pictures)),
        *((label(variant), join(variant_section(variant))) for variant in variants),
        ("Model", _pairs(_flat(report["model"]))),
    ]
    head = [
        tag("h1", f"Export of {report['name']}"),
        tag("p", join(_origin(report)), "faint"),
        tag(
            "nav", join(Html(f'<a href="#s{i}">{text(t)}</a>') for i, (t, _) in enumerate(sections))
        ),
    ]
    body = (Html(f'<h2 id="s{i}">{text(t)}</h2>\n{part}') for i, (t, part) in enumerate(sections))
    return page(f"Export of {report['name']}", join([*head, *body], "\n"))


def _origin(report: Mapping[str, Any]) -> Iterator[Html]:
    machine = report["machine"]
    yield text(f"Written by {report['created_by']} on {machine['cpu']}, {machine['cores']} cores")
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    yield text(f"; {versions}." if versions else ".")


def _variants(report: Mapping[str, Any]) -> Html:
    rows = []
    for variant, brief in zip(report["variants"], short(report), strict=True):
        speed = variant["gate"]["speed"] or {}
        rows.append(
            (
                tag("strong", label(variant)),
                verdict(brief["passed"], brief["forced"]),
                error(brief["rel_l2"]) if brief["finite"] else tag("span", "not finite", "bad"),
                error(brief["limit"]),
                _largest(variant["gate"]["tasks"], "drop"),
                speed.get("milliseconds"),
                None if brief["ratio"] is None else f"{brief['ratio']:.2f}×",
                size(variant["bytes"]),
                len(variant["graphs"]),
                sum(variant["wide"].values()),
                brief["islands"],
            )
        )
    heads = ("variant", "gate", "rel. L2", "limit", "task drop", "ms", "speed", "bytes", "graphs")
    return table((*heads, "nodes in fp32", "modules kept in fp32"), rows, "  nnnnnnnnn")


def _parity(rows: Sequence[Mapping[str, Any]]) -> Html:
    if not rows:
        return tag("p", "No graph was compared with torch.")
    ranked = sorted(rows, key=by("max"))
    intro = tag(
        "p",
        "fp32 graphs in the runtime against the plain model in torch, on inputs other than the "
        "traced ones; deviations are relative to the reference's largest value.",
        "faint",
    )
    cells = [
        (
            code(row["graph"]),
            row["seed"],
            error(row["max"]),
            error(row["mean"]),
            error(row["p99"]),
            ", ".join(str(i) for i in row["worst"]),
            row["reference_max"],
        )
        for row in ranked
    ]
    heads = ("graph : output", "seed", "max", "mean", "p99", "worst index", "reference max")
    return join([intro, folded(heads, cells, " nnnnnn", first=10)])


def _operators(variants: Sequence[Mapping[str, Any]]) -> Html:
    counts: list[dict[str, int]] = []
    for variant in variants:
        total: dict[str, int] = {}
        for graph in variant["graphs"]:
            for name, count in graph["operators"].items():
                total[name] = total.get(name, 0) + count
        counts.append(total)
    most = {n: max(c.get(n, 0) for c in counts) for c in counts for n in c}
    names = sorted(most, key=lambda name: (-most[name], name))
    rows: list[list[Cell]] = [[code(name), *(c.get(name) for c in counts)] for name in names]
    rows.append([tag("strong", "all"), *(sum(c.values()) for c in counts)])
    heads = ("operator", *(label(variant) for variant in variants))
    intro = tag("p", "Nodes in all graphs of a variant.", "faint")
    return join([intro, table(heads, rows, " ".ljust(len(heads), "n"))])


def _timings(timings: Mapping[str, Mapping[str, Any]]) -> Html:
    if not timings:
        return tag("p", "Nothing was timed.")
    stages = list(dict.fromkeys(stage for times in timings.values() for stage in times))
    rows = [(tag("strong", name), *map(times.get, stages)) for name, times in timings.items()]
    intro = tag("p", "Milliseconds of each stage.", "faint")
    return join([intro, table(("variant", *stages), rows, " ".ljust(len(stages) + 1, "n"))])


def _samples(pictures: Sequence[Comparison]) -> Html:
    if not pictures:
        return tag("p", "The bundle has no tasks to show answers of.")
    parts = [
        tag("p", "Below an answer: how far it is from the first one, in grey levels.", "faint")
    ]
    task = None
    for each in pictures:
        if each.task != task:
            parts.append(tag("h3", each.task))
            task = each.task
        sample = {"query": each.query, "truth": each.truth}
        figures = [picture(image, text(n)) for n, image in sample.items() if image is not None]
        first = next(iter(each.answers), None)
        for name, image in each.answers.items():
            caption = [tag("strong", name)]
            if name != first:
                caption.append(tag("span", _distance(image, each.answers[first or name]), "faint"))
            figures.append(picture(image, join(caption, "<br>")))
        parts.append(Html(f'<div class="shots">{join(figures)}</div>\n'))
    return join(parts)


def _distance(image: U8, other: U8) -> str:
    if image.shape != other.shape:
        return "of another size"
    levels = np.abs(image.astype(np.int16) - other.astype(np.int16))
    return f"mean {number(float(levels.mean()))}, max {int(levels.max())}"


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Cell]:
    """Turn nested JSON data into one level, with dots between the names."""
    flat: dict[str, Cell] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        elif isinstance(value, str | int | float) or value is None:
            flat[prefix + name] = value
        else:
            flat[prefix + name] = ", ".join(str(item) for item in value)
    return flat


def _pairs(data: Mapping[str, Cell]) -> Html:
    return table(("field", "value"), [(code(name), value) for name, value in data.items()])


def _largest(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    return max((float(row[key]) for row in rows if row[key] is not None), default=None)
