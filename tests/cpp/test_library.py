"""The library itself: what it needs, what it shows, how large it is, what it takes to run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from lavin_deploy.limits import LIMITS
from lavin_deploy.runtime.pipeline import DEFAULT_BUNDLE
from tests.conftest import ROOT
from tests.cpp.test_install import output

pytestmark = pytest.mark.cli

FRAME = ROOT / "examples" / "tasks" / "segmentation"


def test_gtest(cpp: Path) -> None:
    done = subprocess.run([cpp / "tests" / "lavin_tests"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    skipped = [line for line in done.stdout.splitlines() if line.startswith("[  SKIPPED ]")]
    assert not [line for line in skipped if "OnnxRuntime" in line or "CApi" in line], skipped


def test_tensorrt_on_a_stub(cpp: Path) -> None:
    """The driver and TensorRT's part over libraries that only remember what was asked of them."""
    output(cpp / "tests" / "lavin_stub_tests")


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no headers of CUDA")
def test_tensorrt_module(cpp: Path) -> None:
    """TensorRT's part is compiled, and needs none of its libraries before it is asked to run."""
    lines = output("readelf", "-d", cpp / "liblavin_tensorrt10.so").splitlines()
    needed = {line.split("[")[1].split(".so")[0] for line in lines if "(NEEDED)" in line}
    assert not {name for name in needed if "nv" in name or "cuda" in name}, needed


def test_needs_the_standard_libraries_alone(cpp: Path) -> None:
    lines = output("readelf", "-d", cpp / "liblavin.so").splitlines()
    needed = {line.split("[")[1].split(".so")[0] for line in lines if "(NEEDED)" in line}
    assert needed <= {"libstdc++", "libm", "libgcc_s", "libc", "ld-linux-x86-64"}, needed


def test_shows_the_abi_alone(cpp: Path) -> None:
    lines = output("nm", "-D", "--defined-only", cpp / "liblavin.so").splitlines()
    shown = {line.split()[-1].split("@")[0] for line in lines} - {"LAVIN_0"}
    header = (ROOT / "cpp" / "include" / "lavin" / "lavin.h").read_text()
    declared = set(re.findall(r"\b(lavin_\w+)\(", header[header.index("LAVIN_API const char") :]))
    assert shown == declared


def test_is_below_a_megabyte(cpp: Path, tmp_path: Path) -> None:
    output("strip", "-o", tmp_path / "liblavin.so", cpp / "liblavin.so")
    assert (tmp_path / "liblavin.so").stat().st_size < 1_000_000


def test_limits_are_those_of_python(cpp: Path) -> None:
    header = (cpp / "generated" / "base" / "limits.h").read_text()
    numbers = {name: int(number) for name, number in re.findall(r"(\w+) = (\d+);", header)}
    assert numbers == asdict(LIMITS)


def resident_kib(*command: object) -> int:
    """The most memory that a command held, in KiB, by a child process of its own."""
    program = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    return int(output(sys.executable, "-c", program, *command).split()[-1])


def test_takes_less_memory_than_python(cpp: Path, tmp_path: Path) -> None:
    picture = sorted(FRAME.glob("*_input.*"))[0]
    words = ["--task", "segmentation", "--bundle", DEFAULT_BUNDLE]
    mine = resident_kib(cpp / "lavin_cli", *words, picture, tmp_path / "a.png")
    program = (
        "import sys, lavin_deploy\n"
        "from pathlib import Path\n"
        "from lavin_deploy.runtime.media.images import read_image, write_image\n"
        "with lavin_deploy.load(sys.argv[1], backend='onnxruntime') as model:\n"
        "    image = model.run('segmentation', read_image(Path(sys.argv[2]))).image\n"
        "    write_image(Path(sys.argv[3]), image)"
    )
    python = resident_kib(
        sys.executable, "-c", program, DEFAULT_BUNDLE, picture, tmp_path / "b.png"
    )
    assert python - mine >= 60_000_000 // 1024, (python, mine)


def test_examples(cpp: Path, tmp_path: Path) -> None:
    from PIL import Image

    picture = sorted(FRAME.glob("*_input.*"))[0]
    with Image.open(picture) as image:
        rgb = image.convert("RGB").resize((96, 64))
    rgb.save(tmp_path / "in.ppm")
    (tmp_path / "in.rgb").write_bytes(rgb.tobytes() * 3)
    bundle, examples = str(DEFAULT_BUNDLE), cpp / "examples"
    output(examples / "c_only", bundle, "segmentation", tmp_path / "in.ppm", tmp_path / "c.ppm")
    with Image.open(tmp_path / "c.ppm") as image:
        alone = image.convert("RGB").tobytes()
    words = [bundle, "segmentation", "--frames", tmp_path / "in.rgb", "96x64", "--every"]
    done = subprocess.run(
        [examples / "camera_loop", *words, "-o", tmp_path / "out.rgb"],
        capture_output=True, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3 answers" in done.stderr
    assert (tmp_path / "out.rgb").read_bytes() == alone * 3
    pair = [tmp_path / "in.ppm", tmp_path / "c.ppm"]
    output(examples / "in_context", bundle, tmp_path / "in.ppm", tmp_path / "d.ppm", *pair)
    with Image.open(tmp_path / "d.ppm") as image:
        assert image.size == (96, 64)
