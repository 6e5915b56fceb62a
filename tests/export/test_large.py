"""The full size on a small machine: ``pytest -m large``; it needs 37 GB of free disk."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lavin_deploy.bundle.manifest import Manifest
from lavin_deploy.config import preset
from tests.helpers.checkpoints import stream_released

pytestmark = pytest.mark.large

GIB = 1 << 30
MEMORY = 20 * GIB
DISK = 25e9
"""What the export itself writes at most, beside the checkpoint that it reads: the bundle, and the
float32 graphs that it is checked against."""

STEP = """
import json, sys
import numpy as np, onnx, onnxruntime as ort
onnx.checker.check_model(sys.argv[1], full_check=True)
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.add_session_config_entry("session.disable_prepacking", "1")
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
rng = np.random.default_rng(0)
feed = {i.name: rng.standard_normal(i.shape, np.float32) for i in session.get_inputs()}
(velocity,) = session.run(None, feed)
print(json.dumps([list(velocity.shape), bool(np.isfinite(velocity).all())]))
"""


BUILD = """
import sys
from pathlib import Path
from lavin_deploy.engines.build import build_engine
from lavin_deploy.engines.identity import BuildOptions
from lavin_deploy.engines.library import load_library
library, options = load_library("tensorrt-rtx"), BuildOptions(capabilities=("8.9",))
print(len(build_engine(library, Path(sys.argv[1]), options).plan))
"""


def watch(command: Sequence[str], folder: Path) -> tuple[str, int, int]:
    """Run a command.

    Returns:
        What it printed, its largest anonymous memory, and what it wrote into ``folder`` at most.
    """
    memory = disk = 0
    before = size_of(folder)
    with (folder / "errors").open("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        while process.poll() is None:
            memory = max(memory, anonymous(process.pid))
            disk = max(disk, size_of(folder) - before)
            time.sleep(0.1)
        assert process.stdout is not None
        printed = process.stdout.read()
        process.stdout.close()
        errors.seek(0)
        assert process.returncode == 0, errors.read()[-2000:]
    return printed, memory, disk


def anonymous(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0  # it has just ended


def size_of(folder: Path) -> int:
    sizes = []
    for path in folder.rglob("*"):
        try:
            sizes.append(path.stat().st_size if path.is_file() else 0)
        except FileNotFoundError:  # renamed meanwhile
            continue
    return sum(sizes)


def export_and_run(folder: Path) -> None:
    """Export ``folder/ckpt`` at fp16, check the step, run it, build it; print what was needed."""
    command = [sys.executable, "-c", "from lavin_deploy.cli.export import export; export()"]
    command += ["--precision", "fp16"]
    command += ["--ckpt", str(folder / "ckpt"), "--vae", str(folder / "ckpt" / "stvae.pt")]
    command += ["--out", str(folder / "large.lavin"), "--size", "64x64", "--pairs", "1"]
    command += ["--steps", "3", "--guidance", "1"]
    start = time.monotonic()
    printed, memory, disk = watch(command, folder)
    print(printed)
    print(f"export: {memory / GIB:.2f} GiB anonymous, {disk / 1e9:.1f} GB of disk", end=", ")
    print(f"{time.monotonic() - start:.0f} s")
    assert memory <= MEMORY
    manifest = Manifest.from_text((folder / "large.lavin" / "manifest.json").read_text())
    (variant,) = manifest.variants
    assert variant.precision == "fp16"
    step = next(graph for graph in variant.graphs if graph.name == "step")
    start = time.monotonic()
    command = [sys.executable, "-c", STEP, str(folder / "large.lavin" / step.file)]
    printed, memory, _ = watch(command, folder)
    print(f"check and step: {memory / GIB:.2f} GiB anonymous, {time.monotonic() - start:.0f} s")
    assert json.loads(printed) == [[1, 16, 1, 8, 8], True]
    assert memory <= MEMORY
    assert disk <= DISK, f"{disk / 1e9:.1f} GB of disk"
    start = time.monotonic()
    command = [sys.executable, "-c", BUILD, str(folder / "large.lavin" / step.file)]
    printed, memory, _ = watch(command, folder)
    print(f"engine of the step: {int(printed) / 1e9:.2f} GB", end=", ")
    print(f"{memory / GIB:.2f} GiB anonymous, {time.monotonic() - start:.0f} s")
    assert memory <= MEMORY


@pytest.mark.timeout(3 * 3600)
def test_full_size_in_20_gib(tmp_path: Path) -> None:
    stream_released(tmp_path / "ckpt", preset("3.4b"))
    export_and_run(tmp_path)
