from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.outputs import (
    kept_folder,
    replacing,
    replacing_folder,
    require_folder,
    require_writable,
)

pytestmark = pytest.mark.unit


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_replaces_at_the_end_only(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as part:
        part.write_text("new")
        assert part.suffix == ".txt"
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def half_a_file() -> None:
        with replacing(target) as part:
            part.write_text("half")
            raise error

    def half_a_folder() -> None:
        with replacing_folder(tmp_path / "folder") as folder:
            (folder / "half").write_text("half")
            raise error

    with pytest.raises(error):
        half_a_file()
    with pytest.raises(error):
        half_a_folder()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with replacing(tmp_path / "link.txt") as part:
        part.write_text("new")
    assert (tmp_path / "real.txt").read_text() == "new"
    assert (tmp_path / "link.txt").is_symlink()


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("missing/a.txt", "the folder .*missing does not exist"),
        ("file/a.txt", "cannot be written"),
        ("", "is a folder"),
        ("pipe", "device or a pipe"),
    ],
)
def test_bad_places(tmp_path: Path, name: str, match: str) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=match):
        require_writable(tmp_path / name)
    with pytest.raises(InputError, match=match), replacing(tmp_path / name):
        pass
    assert names(tmp_path) == ["file", "pipe"]


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        require_folder(tmp_path / name, empty=True)
        with replacing_folder(tmp_path / name) as folder:
            (folder / "a").write_text("x")
        assert names(tmp_path / name) == ["a"]
    with pytest.raises(InputError, match="not empty"):
        require_folder(tmp_path / "new", empty=True)
    with pytest.raises(InputError, match="is a file"):
        require_folder(tmp_path / "new" / "a", empty=False)
    with pytest.raises(InputError, match="does not exist"):
        require_folder(tmp_path / "x" / "y", empty=False)


def test_a_folder_of_our_own_files_is_replaced(tmp_path: Path) -> None:
    ours = re.compile(r"\d+")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("1", "2", "3"):
        (folder / name).write_text("old")

    def rerun(error: Exception | None = None, intruder: str = "") -> None:
        with replacing_folder(folder, ours=ours) as part:
            (part / "1").write_text("new")
            if intruder:
                (folder / intruder).write_text("mine")
            if error:
                raise error

    with pytest.raises(RuntimeError):
        rerun(RuntimeError())
    assert names(folder) == ["1", "2", "3"]
    rerun()
    assert (names(folder), names(tmp_path)) == (["1"], ["folder"])
    assert (folder / "1").read_text() == "new"
    with pytest.raises(InputError, match="not empty"):
        rerun(intruder="letter")
    with pytest.raises(InputError, match="not empty"):
        rerun()
    (folder / "letter").unlink()
    (folder / "4").mkdir()
    with pytest.raises(InputError, match="not empty"):
        rerun()
    assert (names(folder), names(tmp_path)) == (["1", "4"], ["folder"])


def test_a_folder_made_for_nothing_goes_away(tmp_path: Path) -> None:
    def fail(after: str | None) -> None:
        with kept_folder(tmp_path / "a") as folder:
            if after:
                (folder / after).write_text("")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(None)
    assert not names(tmp_path)
    with pytest.raises(RuntimeError):
        fail("done")
    assert names(tmp_path / "a") == ["done"]
