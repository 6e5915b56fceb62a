"""cpp/README.md is true: its table of files, the direction of its folders, and CMake's list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.unit

CPP = ROOT / "cpp"
SRC = CPP / "src"
README = (CPP / "README.md").read_text()

Includes = Mapping[str, list[str]]


def sources(*suffixes: str) -> set[str]:
    """Paths of files below ``cpp/src``."""
    return {str(path.relative_to(SRC)) for suffix in suffixes for path in SRC.rglob(f"*{suffix}")}


def table() -> list[tuple[list[str], list[str]]]:
    """Each row's C++ files and Python files."""
    rows = re.findall(r"^\| (`\w+/\w.*?) \| (`[\w/]+\.py`.*?) \|$", README, re.MULTILINE)
    return [(re.findall(r"`(.+?)`", cpp), re.findall(r"`(.+?)`", python)) for cpp, python in rows]


def cpp_alone() -> list[str]:
    return re.findall(r"`(.+?)`", README[README.index("C++ alone") :])


def direction() -> list[str]:
    """Folders, those that are included first."""
    (line,) = re.findall(r"^    (\w+(?: <- \w+)+)$", README, re.MULTILINE)
    return line.split(" <- ")


def includes() -> Includes:
    """Which of their own files the files of ``cpp/src`` include, in quotes."""
    return {
        name: re.findall(r'^#include "(.+?)"', (SRC / name).read_text(), re.MULTILINE)
        for name in sources(".h", ".cpp", ".in")
    }


def against(order: Iterable[str], files: Includes) -> list[str]:
    """Each include that names no folder, or one after the file's own."""
    rank = {folder: index for index, folder in enumerate(order)}
    return [
        f"{name} includes {other}"
        for name, others in files.items()
        for other in others
        if other != "lavin/lavin.h"
        and rank.get(other.split("/")[0], len(rank)) > rank[name.split("/")[0]]
    ]


def circle(files: Includes) -> list[str]:
    """The files of a circle of includes, or nothing."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for other in files.get(name, []):
            if closed := visit(other, [*path, name]):
                return closed
        done.add(name)
        return []

    return next((closed for name in files if (closed := visit(name, []))), [])


def test_cmake_lists_every_source() -> None:
    listed = re.findall(r"\bsrc/([\w/]+\.cpp)\b(?!\.in)", (CPP / "CMakeLists.txt").read_text())
    assert set(listed) == sources(".cpp")


def test_every_source_stands_in_the_table_once() -> None:
    named = [name for cpp, _ in table() for name in cpp] + cpp_alone()
    assert sorted(named) == sorted(set(named))
    assert {name for name in named if name.endswith(".cpp")} == sources(".cpp")
    assert all((SRC / name).is_file() for name in named)


def test_the_python_files_exist() -> None:
    named = {name for _, python in table() for name in python}
    assert len(named) > 30
    assert not [name for name in sorted(named) if not (ROOT / "lavin_deploy" / name).is_file()]


def test_includes_follow_the_direction() -> None:
    assert set(direction()) == {path.name for path in SRC.iterdir()}
    assert against(direction(), includes()) == []


def test_includes_make_no_circle() -> None:
    files = includes()
    elsewhere = {"base/limits.h", "lavin/lavin.h"}  # the first is made by CMake
    assert {other for others in files.values() for other in others} <= files.keys() | elsewhere
    assert circle(files) == []


def test_violations_are_seen() -> None:
    """The checks themselves fail where they must."""
    order = ["base", "bundle"]
    good = {"base/a.h": [], "bundle/b.cpp": ["base/a.h", "bundle/b.h"], "bundle/b.h": ["base/a.h"]}
    assert against(order, good) == []
    assert circle(good) == []
    assert against(order, {"base/a.h": ["bundle/b.h"]}) == ["base/a.h includes bundle/b.h"]
    assert against(order, {"base/a.h": ["b.h"]}) == ["base/a.h includes b.h"]
    assert against(order, {"base/a.h": ["other/b.h"]}) == ["base/a.h includes other/b.h"]
    assert circle(good | {"base/a.h": ["bundle/b.h"]}) == ["base/a.h", "bundle/b.h"]
