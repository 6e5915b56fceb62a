"""One variant in an export's page: its gate, the error of its modules, its graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lavin_deploy.page import (
    Bar,
    Cell,
    Html,
    bars,
    code,
    error,
    folded,
    join,
    near_one,
    size,
    table,
    tag,
    text,
    unfold,
    verdict,
)

BARS = 25
NAMES = {"islands": "modules kept in fp32"}
"""What the page calls a key of the JSON data."""
LIMITS = {
    "rel_l2": "relative L2 distance from fp32, at most",
    "cosine": "cosine with fp32, at least",
    "p99": "99th percentile of the deviation, at most",
    "range": "largest value (range), at most",
    "factor": "multiple of torch's own error at this precision, at most",
    "task_drop": "a task's metric may fall by, at most",
    "speedup": "speed against fp32, at least",
}


def label(variant: Mapping[str, Any]) -> str:
    """Return how people call a variant: precision, dialect, and the context unless joint."""
    context = "" if variant["context"] == "joint" else f", {variant['context']} context"
    return f"{variant['precision']} {variant['dialect']}{context}"


def variant_section(variant: Mapping[str, Any]) -> Iterator[Html]:
    """Yield the parts of one variant's section: gate, modules, float32 nodes, graphs."""
    gate = variant["gate"]
    yield tag("p", join([text("Gate: "), verdict(gate["passed"], gate["forced"]), text(".")]))
    if gate["not_run"]:
        yield tag("p", tag("span", gate["not_run"], "bad"))
    yield from _gate(gate)
    yield from _modules(variant)
    yield tag("h3", "Nodes in float32")
    kept = ", ".join(code(name) for name in variant["islands"])
    yield tag("p", Html(f"Modules kept in fp32: {kept or 'none'}."))
    if variant["wide"]:
        wide = sorted(variant["wide"].items(), key=lambda item: -item[1])
        yield folded(
            ("rule or module", "nodes"), [(code(NAMES.get(n, n)), c) for n, c in wide], " n"
        )
    if variant["calibration"] is not None:
        calibration = variant["calibration"]
        yield tag("h3", "Calibration")
        count, digest = text(calibration["samples"]), code(calibration["sha256"])
        yield tag("p", join([count, text(" samples, sha256 "), digest]))
    yield tag("h3", "Graphs")
    rows = [
        (
            code(graph["file"]),
            size(graph["bytes"]),
            graph["nodes"],
            ", ".join(f"{n} {c}" for n, c in sorted(graph["operators"].items(), key=_by_count)),
        )
        for graph in variant["graphs"]
    ]
    graphs = folded(("file", "bytes", "nodes", "operators"), rows, " nn ")
    yield unfold(f"{len(rows)} graphs, {size(variant['bytes'])} with weights", graphs)


def _gate(gate: Mapping[str, Any]) -> Iterator[Html]:
    limits = [(LIMITS.get(name, name), value) for name, value in gate["limits"].items()]
    yield unfold("limits", table(("limit", "value"), limits, " n"))
    ranked = sorted(gate["checks"], key=lambda check: (check["passed"], *by("rel_l2")(check)))
    rows: list[tuple[Cell, ...]] = [
        (
            code(check["graph"]),
            code(check["output"]),
            check["runtime"],
            error(check["rel_l2"]),
            error(check["torch_rel_l2"]),
            near_one(check["cosine"]),
            error(check["p99"]),
            check["largest"],
            text("yes") if check["finite"] else tag("span", "no", "bad"),
            verdict(check["passed"]),
            check["why"],
        )
        for check in ranked
    ]
    if rows:
        numbers = ("rel. L2", "torch's own", "cosine", "p99", "largest")
        heads = ("graph", "output", "runtime", *numbers, "finite", "gate", "why")
        columns = len(heads) - (not any(check["why"] for check in ranked))
        rows = [row[:columns] for row in rows]
        yield folded(heads[:columns], rows, "   nnnnn".ljust(columns))
    tasks = [
        (
            task["task"],
            task["metric"],
            task["base"],
            task["value"],
            task["drop"],
            verdict(task["passed"]),
        )
        for task in gate["tasks"]
    ]
    if tasks:
        yield tag("h3", "Tasks")
        yield table(("task", "metric", "fp32", "variant", "drop", "gate"), tasks, "  nnn ")
    speed = gate["speed"]
    if speed is not None:
        yield tag("h3", "Speed")
        row = (
            speed["backend"],
            speed["base_milliseconds"],
            speed["milliseconds"],
            None if speed["ratio"] is None else f"{speed['ratio']:.2f}×",
            verdict(speed["passed"]),
        )
        yield table(("back end", "fp32 ms", "variant ms", "speed", "gate"), [row], " nnn ")


def _modules(variant: Mapping[str, Any]) -> Iterator[Html]:
    graphs: dict[str, list[Mapping[str, Any]]] = {}
    for row in variant["modules"]:
        graphs.setdefault(row["graph"], []).append(row)
    if not graphs:
        return
    kept = set(variant["islands"])
    yield tag("h3", "Error of each module")
    yield tag(
        "p",
        "What each PyTorch module contributes to the relative L2 error of its graph, over a "
        "logarithmic axis; modules kept in fp32 have the other colour.",
        "faint",
    )
    for graph, rows in graphs.items():
        ranked = [
            Bar(name=row["module"], value=row["rel_l2"], marked=row["module"] in kept)
            for row in sorted(rows, key=by("rel_l2"))
        ]
        yield tag("p", code(graph))
        if len(ranked) <= BARS + 3:
            yield bars(ranked)
        else:
            yield bars(ranked[:BARS])
            yield unfold(f"{len(ranked) - BARS} more modules", bars(ranked[BARS:]))


def by(key: str) -> Callable[[Mapping[str, Any]], tuple[bool, float]]:
    """Return a sort key: the largest first, what was not measured last."""
    return lambda row: (row[key] is None, -(row[key] or 0.0))


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
