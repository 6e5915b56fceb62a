from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from lavin_deploy import locks
from lavin_deploy.locks import only_writer, reader, share, without_readers
from tests.helpers.processes import at_once, started

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(sys.platform == "win32", reason="needs locks"),
]

IMPORTS = """
import sys, time
from pathlib import Path
from lavin_deploy.locks import only_writer
"""
HOLD = """
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_no_change_of_several_writers_is_lost(tmp_path: Path, kind: str) -> None:
    place = tmp_path / kind
    if kind == "folder":
        place.mkdir()
    code = """
counter = Path(sys.argv[2])
for _ in range(50):
    with only_writer(Path(sys.argv[1])):
        number = int(counter.read_text())
        time.sleep(0.0005)
        counter.write_text(str(number + 1))
"""
    (tmp_path / "counter").write_text("0")
    at_once(IMPORTS, code, [(place, tmp_path / "counter")] * 4)
    assert (tmp_path / "counter").read_text() == "200"


def test_a_lock_goes_with_its_process_however_that_ends(tmp_path: Path) -> None:
    holder = started(IMPORTS + HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError), only_writer(tmp_path, wait=False):
        pass
    holder.kill()
    holder.communicate()
    with only_writer(tmp_path, wait=False):
        assert not list(tmp_path.iterdir())


def test_one_notice_says_what_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    holder = started(IMPORTS + HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    timer = threading.Timer(0.4, holder.kill)
    timer.start()
    with caplog.at_level(logging.WARNING), only_writer(tmp_path):
        pass
    timer.join()
    holder.communicate()
    assert caplog.messages == [f"another process writes to {tmp_path}: waiting until it ends."]


def test_a_folder_that_took_the_name_meanwhile_is_locked(tmp_path: Path) -> None:
    """Whoever waited for the one of before must not write to it, nor beside a new writer."""
    place = tmp_path / "place"
    place.mkdir()
    locked: list[int] = []

    def wait() -> None:
        with only_writer(place):
            locked.append(os.stat(place).st_ino)
            with pytest.raises(BlockingIOError), only_writer(place, wait=False):
                pass

    with only_writer(place):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.05)
        place.rename(tmp_path / "before")
        place.mkdir()
    waiting.join(10)
    assert locked == [place.stat().st_ino]
    shutil.rmtree(tmp_path / "before")


def test_readers_share_and_are_noticed(tmp_path: Path) -> None:
    with without_readers(tmp_path) as alone:
        assert alone
    with reader(tmp_path):
        handle = share(tmp_path)
        assert handle is not None
        os.close(handle)
        with without_readers(tmp_path) as alone:
            assert not alone
    with without_readers(tmp_path) as alone:
        assert alone
    assert share(tmp_path / "missing") is None
