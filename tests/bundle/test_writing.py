from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from lavin_deploy.bundle.manifest import Manifest
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.bundle.writer import BundleWriter
from lavin_deploy.errors import BundleError, WorkError
from tests.helpers.toy_bundle import write_toy

pytestmark = pytest.mark.unit

TABLE = "tables/modulation.npy"


def test_a_failed_export_leaves_nothing_and_keeps_the_old_bundle(toy: Path) -> None:
    def interrupted() -> None:
        with BundleWriter(toy) as writer:
            writer.add_file("graphs/x.onnx", b"x")
            raise KeyboardInterrupt

    before = (toy / "manifest.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in toy.parent.iterdir()] == ["toy.lavin"]
    assert (toy / "manifest.json").read_bytes() == before


def test_a_new_bundle_replaces_the_old_one_whole(toy: Path) -> None:
    (toy / "left_over.txt").write_text("x")
    write_toy(toy, pairs=(1,))
    assert [p.name for p in toy.parent.iterdir()] == ["toy.lavin"]
    assert not (toy / "left_over.txt").exists()
    with open_bundle(toy) as bundle:
        assert bundle.manifest.pairs_at(32, 32) == (1,)
    assert stat.S_IMODE(toy.stat().st_mode) == 0o777 & ~_umask()


def test_replacing_works_where_names_cannot_be_swapped(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lavin_deploy.files._exchange", lambda first, second: False)
    write_toy(toy, pairs=(1,))
    assert [p.name for p in toy.parent.iterdir()] == ["toy.lavin"]
    with open_bundle(toy) as bundle:
        assert bundle.manifest.pairs_at(32, 32) == (1,)


def test_writer_refuses_to_replace_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="holds other files and no bundle"):
        write_toy(tmp_path / "folder")
    with pytest.raises(BundleError, match="no folder"):
        write_toy(tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def add_twice(writer: BundleWriter, manifest: Manifest) -> None:
    writer.add_file("a", b"1")
    writer.add_file("a", b"2")


def leave_a_stray(writer: BundleWriter, manifest: Manifest) -> None:
    (writer.folder / "stray").write_bytes(b"x")
    writer.finish(manifest)


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (add_twice, BundleError, "already in the bundle"),
        (leave_a_stray, BundleError, "never claimed"),
        (lambda w, manifest: w.finish(manifest), BundleError, "does not list"),
        (lambda w, _: w.add_file("../a", b"1"), BundleError, "not allowed"),
        (lambda w, _: w.add_file("a", Path("missing")), WorkError, "writing 'a' .* failed"),
        (lambda w, _: w.claim("a"), BundleError, "has no file"),
        (lambda w, _: None, AssertionError, "ended without finish"),
    ],
)
def test_writer_refuses(
    tmp_path: Path,
    original: Path,
    use: Callable[[BundleWriter, Manifest], object],
    error: type[Exception],
    message: str,
) -> None:
    with open_bundle(original) as bundle:
        manifest = bundle.manifest
    with pytest.raises(error, match=message), BundleWriter(tmp_path / "a.lavin") as writer:
        use(writer, manifest)
    assert not list(tmp_path.iterdir())


def test_claim_records_what_another_library_wrote(tmp_path: Path, original: Path) -> None:
    with open_bundle(original) as bundle, BundleWriter(tmp_path / "b.lavin") as writer:
        for path in bundle.manifest.files:
            target = writer.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.file(path), target)
            writer.claim(path)
        written = writer.finish(replace(bundle.manifest, files={}))
    assert written == bundle.manifest


KILLED = """
import sys, time
from pathlib import Path
from lavin_deploy.bundle import BundleWriter
with BundleWriter(Path(sys.argv[1])) as writer:
    writer.add_file("graphs/x.onnx", b"x" * 100_000)
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("older", [False, True])
def test_a_killed_writer_leaves_nothing_that_loads(
    original: Path, tmp_path: Path, older: bool
) -> None:
    target = tmp_path / "toy.lavin"
    if older:
        shutil.copytree(original, target)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    left = [p for p in tmp_path.iterdir() if p != target]
    assert len(left) == 1
    with pytest.raises(BundleError, match="unfinished export"):
        open_bundle(left[0])
    if older:
        open_bundle(target).close()
    else:
        with pytest.raises(BundleError, match="there is no bundle"):
            open_bundle(target)
    write_toy(target)
    open_bundle(target).close()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks")
def test_only_abandoned_folders_are_deleted(original: Path, tmp_path: Path) -> None:
    """Not those of living writers, nor what is not ours."""
    target = tmp_path / "a.lavin"
    abandoned = tmp_path / ".lavin-4567abcd.tmp"
    for folder in (abandoned, tmp_path / ".lavin-mine.tmp", tmp_path / "0123abcd.tmp"):
        folder.mkdir()
        (folder / "lock").touch()
    unlocked = tmp_path / ".lavin-0123abcd.tmp"
    unlocked.mkdir()
    with suppress(KeyboardInterrupt), BundleWriter(target) as living:
        write_toy(target)
        assert living.folder.is_dir()
        assert not abandoned.exists()
        write_toy(target)
        assert living.folder.is_dir()
        raise KeyboardInterrupt
    left = [".lavin-0123abcd.tmp", ".lavin-mine.tmp", "0123abcd.tmp", "a.lavin"]
    assert sorted(p.name for p in tmp_path.iterdir()) == left


def test_an_old_bundle_gets_its_name_back(original: Path, tmp_path: Path) -> None:
    """Where names cannot be swapped, a writer may be killed between its two renamings."""
    hidden = tmp_path / ".lavin-4567abcd.tmp"
    shutil.copytree(original, hidden / "old" / "a.lavin")
    (hidden / "lock").touch()
    write_toy(tmp_path / "b.lavin")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.lavin", "b.lavin"]
    open_bundle(tmp_path / "a.lavin").close()


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from tests.helpers.toy_bundle import write_toy
print("ready", flush=True)
while True:
    write_toy(Path(sys.argv[1]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux swaps names at once")
def test_a_reader_never_sees_half_of_a_replacement(toy: Path) -> None:
    """Kill a process that keeps replacing a bundle at some moments: it is whole every time."""
    for delay in (0.0, 0.013, 0.037, 0.05, 0.071):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(toy)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.05 + delay)
            process.kill()
            process.wait(30)
        open_bundle(toy).close()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
