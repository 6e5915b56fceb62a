"""Names in a bundle, with made-up names of every kind."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lavin_deploy.bundle.paths import check_path, check_paths, check_task_name
from lavin_deploy.errors import BundleError, InputError

pytestmark = pytest.mark.unit

PARTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["..", ".", "", "a", "con", "~", "C:", "a.", "..\\x", "\0", "graphs", "A"]),
)
PATHS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)


def accepted(path: str) -> bool:
    try:
        return check_path(path) == path
    except BundleError:
        return False


@given(PATHS)
@example("a/../../b")
@example("/a")
@example("a\\..\\..\\b")
@example("aux.txt")
def test_an_accepted_path_stays_inside_on_every_system(path: str) -> None:
    if not accepted(path):
        return
    root = "/bundle"
    assert os.path.normpath(f"{root}/{path}") == f"{root}/{path}"
    for kind in (PurePosixPath, PureWindowsPath):
        pure = kind(path)
        assert not pure.is_absolute()
        assert not pure.drive
        assert not pure.root
        assert ".." not in pure.parts
        assert pure.as_posix() == path
    assert path.isascii()
    assert path.isprintable()


@given(
    st.from_regex(r"[a-z0-9_][a-z0-9_+@-]{4,8}(/[a-z0-9_][a-z0-9_+@-]{4,8}){0,3}", fullmatch=True)
)
def test_ordinary_paths_are_accepted(path: str) -> None:
    assert accepted(path)


@given(st.lists(PATHS, max_size=6))
def test_accepted_lists_can_be_written_side_by_side(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str]
) -> None:
    try:
        check_paths(paths)
    except BundleError:
        return
    root = tmp_path_factory.mktemp("paths")
    for path in paths:
        Path(root, path).parent.mkdir(parents=True, exist_ok=True)
        Path(root, path).open("x").close()
    assert sum(p.is_file() for p in root.rglob("*")) == len(paths)


def test_very_long_paths_are_refused() -> None:
    assert accepted("a" * 240)
    assert not accepted("a" * 241)


@given(st.text(max_size=70))
@example("con")
def test_task_names_are_paths_and_shell_words(name: str) -> None:
    try:
        check_task_name(name)
    except InputError:
        return
    assert accepted(name)
    assert not name.startswith("-")
    assert name == name.lower()
