"""Exports that are killed or run out of disk: the bundle that was there stays as it was."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.errors import BundleError
from tests.export.checks.test_gate import SMALL
from tests.helpers.checkpoints import write_released
from tests.helpers.small_disk import small_disk

pytestmark = pytest.mark.parity

CALL = "from lavin_deploy.cli.export import export; export()"
MiB = 1 << 20


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint; its bundle has 3 MB of weights."""
    folder = tmp_path_factory.mktemp("interrupted")
    write_released(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A complete export of it, by path."""
    out = tmp_path_factory.mktemp("exported") / "m.lavin"
    subprocess.run(command(checkpoint, out), check=True, capture_output=True)
    return content(out)


def command(checkpoint: Path, out: Path, before: str = "") -> list[str]:
    """The export as a process of its own, with statements to run before it."""
    words = ["--ckpt", str(checkpoint), "--out", str(out), "--size", "32x32", "--pairs", "1"]
    return [sys.executable, "-c", before + CALL, *words]


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by path."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def lay(files: dict[str, bytes], folder: Path) -> None:
    """Write such files."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_export_leaves_nothing_that_loads(
    checkpoint: Path, exported: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "m.lavin"
    lay(exported, out)
    with subprocess.Popen(command(checkpoint, out), stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(
            tmp_path.glob(".lavin-*.tmp/new/*/graphs/*.onnx")
        ):
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".lavin-*.tmp")
    assert names(tmp_path) == sorted([left.name, "m.lavin"])
    with pytest.raises(BundleError, match="unfinished export"):
        open_bundle(left)
    assert content(out) == exported
    open_bundle(out).close()
    subprocess.run(command(checkpoint, out), check=True, capture_output=True)
    assert names(tmp_path) == ["m.lavin"]
    open_bundle(out).close()


@pytest.fixture
def full_disk(tmp_path: Path, exported: dict[str, bytes]) -> Iterator[Path]:
    """A real file system with room for one bundle and half of another."""
    room = sum(-(-len(data) // 4096) * 4096 for data in exported.values()) * 3 // 2
    with small_disk(tmp_path / "full", room) as place:
        yield place


def refused(checkpoint: Path, out: Path, before: str, reason: str) -> None:
    """Export over a bundle where the disk ends in the weight file, and see that it stays."""
    older = content(out)
    done = subprocess.run(command(checkpoint, out, before), capture_output=True, text=True)
    assert done.returncode == 1
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "'graphs/fp32.weights'" in said
    assert reason in said
    assert "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith(said)
    assert names(out.parent) == [out.name]
    assert content(out) == older
    open_bundle(out).close()


def test_a_full_disk_keeps_the_older_bundle(
    checkpoint: Path, exported: dict[str, bytes], full_disk: Path
) -> None:
    out = full_disk / "m.lavin"
    lay(exported, out)
    refused(checkpoint, out, "", "No space left on device")


def test_a_file_that_may_not_grow_keeps_the_older_bundle(
    checkpoint: Path, exported: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "m.lavin"
    lay(exported, out)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({MiB}, {hard})); "
    refused(checkpoint, out, limit, "File too large")
