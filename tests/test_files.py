from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.files import (
    kept_folder,
    output_file,
    output_folder,
    replaced_folder,
    require_folder,
    require_writable,
)

pytestmark = pytest.mark.unit


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_replaces_at_the_end_only(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with output_file(target) as part:
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
        with output_file(target) as part:
            part.write_text("half")
            raise error

    def half_a_folder() -> None:
        with output_folder(tmp_path / "folder") as folder:
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
    with output_file(tmp_path / "link.txt") as part:
        part.write_text("new")
    assert (tmp_path / "real.txt").read_text() == "new"
    assert (tmp_path / "link.txt").is_symlink()


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with output_file(tmp_path / "a") as part:
            part.touch()
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
    with pytest.raises(InputError, match=match), output_file(tmp_path / name):
        pass
    assert names(tmp_path) == ["file", "pipe"]


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        require_folder(tmp_path / name, empty=True)
        with output_folder(tmp_path / name) as folder:
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
        with output_folder(folder, ours=ours) as part:
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


KILLED = """
import sys, time
from pathlib import Path
from lavin_deploy import files
folder = Path(sys.argv[2])
with getattr(files, sys.argv[1])(folder / sys.argv[3]) as part:
    (part / "half" if part.is_dir() else part).write_text("half")
    print("written", flush=True)
    time.sleep(60)
"""
WRITERS = ["replaced_file", "replaced_folder", "output_file", "output_folder"]


def start(program: str, *words: str) -> subprocess.Popen[str]:
    """A process that has printed its first line."""
    command = [sys.executable, "-c", program, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks and SIGKILL")
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", ["a", "old", "new", "lock"])
def test_what_a_killed_writer_left_goes_with_the_next_run(
    tmp_path: Path, writer: str, name: str
) -> None:
    """It stays while its writer lives, whoever else writes there."""
    with start(KILLED, writer, str(tmp_path), name) as process:
        (hidden,) = tmp_path.iterdir()
        with output_folder(tmp_path / "b"):
            pass
        assert names(tmp_path) == sorted([hidden.name, "b"])
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert hidden.is_dir()
    again = KILLED.replace("time.sleep(60)", "")
    for _ in range(2 if writer.startswith("replaced") else 1):  # the second replaces the first
        with start(again, writer, str(tmp_path), name) as process:
            assert process.wait(30) == 0
    assert names(tmp_path) == sorted([name, "b"])
    target = tmp_path / name
    assert "half" in (target.read_text() if "file" in writer else names(target))


@pytest.mark.parametrize("error", [OSError(5, "no"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_the_old_folder_outlives_a_failure_between_two_renamings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Where names cannot be swapped at once."""
    monkeypatch.setattr("lavin_deploy.files._exchange", lambda first, second: False)
    with replaced_folder(tmp_path / "a") as part:
        (part / "x").write_text("old")
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if Path(source).parent.name == "new" and Path(target).parent == tmp_path:
            raise error
        rename(source, target)

    def replace() -> None:
        with replaced_folder(tmp_path / "a") as part:
            (part / "x").write_text("new")

    monkeypatch.setattr("lavin_deploy.files.os.rename", failing)
    with pytest.raises(type(error)):
        replace()
    monkeypatch.undo()
    assert (names(tmp_path), (tmp_path / "a" / "x").read_text()) == (["a"], "old")
    replace()
    assert (names(tmp_path), (tmp_path / "a" / "x").read_text()) == (["a"], "new")
