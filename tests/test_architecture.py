"""ARCHITECTURE.md's table of imports is true, and there is no circle, read off the source."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.unit

PACKAGE = ROOT / "lavin_deploy"
LARGEST_FOLDER = 20
ROW = re.compile(r"\| `([\w/]+)` \|[^|]*\|([^|]*)\|")


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    files = sorted((root / "lavin_deploy").rglob("*.py"))
    return {".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): f
            for f in files}  # fmt: skip


@cache
def imports(root: Path = ROOT) -> dict[str, set[str]]:
    """The modules of the package that each of them imports, also inside functions."""
    files = modules(root)
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & files.keys()
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{file} imports by a relative name"
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    graph[name] |= {whole if whole in files else str(node.module)} & files.keys()
        graph[name].discard(name)
    return graph


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Some circle of a graph, or nothing."""
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def contracted(graph: Mapping[str, set[str]], folder: str) -> dict[str, set[str]]:
    """The graph of a folder's own modules and subfolders, each subfolder as one."""

    def child(name: str) -> str | None:
        inside = name.startswith(f"{folder}.")
        return name.removeprefix(f"{folder}.").partition(".")[0] if inside else None

    small: dict[str, set[str]] = {}
    for name, targets in graph.items():
        here = child(name)
        if here is not None:
            found = {child(target) for target in targets} - {None, here}
            small.setdefault(here, set()).update(str(each) for each in found)
    return small


def table(text: str) -> dict[str, set[str]]:
    """Room -> rooms that it may import, of the table in ARCHITECTURE.md."""
    rows = ROW.findall(text)
    return {room: {e.strip() for e in may.split(",") if e.strip()} for room, may in rows}


def room_of(module: str, rooms: Mapping[str, set[str]]) -> str:
    """The innermost room that a module is in; the package's ``__init__`` is ``lavin_deploy``."""
    parts = module.split(".")[1:] or ["lavin_deploy"]
    for length in range(len(parts), 0, -1):
        if "/".join(parts[:length]) in rooms:
            return "/".join(parts[:length])
    raise AssertionError(f"{module} is in no room of ARCHITECTURE.md's table")


def violations(graph: Mapping[str, set[str]], rooms: Mapping[str, set[str]]) -> list[str]:
    """Imports against the table."""
    return [
        f"{module} imports {target}: {here} may not import {there}"
        for module, targets in graph.items()
        for target in sorted(targets)
        if (here := room_of(module, rooms)) != (there := room_of(target, rooms))
        and there not in rooms[here]
    ]


def test_no_circle_among_modules_or_folders() -> None:
    graph = imports()
    assert circle(graph) == []
    for folder in {name.rpartition(".")[0] for name in graph} - {""}:
        assert circle(contracted(graph, folder)) == [], folder


def test_every_import_is_allowed_by_the_table() -> None:
    rooms = table((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert len(rooms) >= 15
    for room, may in rooms.items():
        assert may <= rooms.keys(), f"{room} may import rooms that the table lacks"
    assert violations(imports(), rooms) == []


def test_the_table_promises_nothing_unused_and_has_no_circle() -> None:
    rooms = table((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    used: dict[str, set[str]] = {room: set() for room in rooms}
    for module, targets in imports().items():
        used[room_of(module, rooms)] |= {room_of(target, rooms) for target in targets}
    for room in rooms:
        assert rooms[room] == used[room] - {room}, room
    assert circle(rooms) == []


def test_a_wrong_import_and_a_circle_are_noticed(tmp_path: Path) -> None:
    for name, text in {
        "__init__": "",
        "low": "def f():\n    from lavin_deploy.high import g\n",
        "high": "from lavin_deploy import low\n",
    }.items():
        (tmp_path / "lavin_deploy").mkdir(exist_ok=True)
        (tmp_path / "lavin_deploy" / f"{name}.py").write_text(text)
    graph = imports(tmp_path)
    assert set(circle(graph)) == {"lavin_deploy.low", "lavin_deploy.high"}
    rooms = table("| `lavin_deploy` | x | |\n| `low` | x | |\n| `high` | x | low |\n")
    assert violations(graph, rooms) == [
        "lavin_deploy.low imports lavin_deploy.high: low may not import high"
    ]


def test_no_folder_is_crowded() -> None:
    counts = Counter(file.parent for file in modules().values())
    assert max(counts.values()) <= LARGEST_FOLDER, counts.most_common(1)
