"""The C++ runtime, built once for all tests of this folder into ``build/cpp``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import ROOT
from tests.helpers.clib import Library, onnxruntime_library

BUILD = ROOT / "build" / "cpp"
_NEEDS = (
    Path("/usr/include/nlohmann/json.hpp"),
    Path("/usr/src/googletest"),
    Path("/usr/include/png.h"),
    Path("/usr/include/jpeglib.h"),
    Path("/usr/include/lcms2.h"),
)


def missing(reason: str) -> None:
    """Skip, or fail where everything must run (``LAVIN_REQUIRE_CPP=1``, as CI sets it)."""
    if os.environ.get("LAVIN_REQUIRE_CPP"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def onnxruntime_file() -> str:
    """The shared library in the Python package onnxruntime."""
    return str(onnxruntime_library())


@pytest.fixture(scope="session")
def cpp(onnxruntime_file: str) -> Path:
    """The folder of the build, with its tests, examples and, where it can be, GStreamer element."""
    absent = [str(path) for path in _NEEDS if not path.exists()]
    if absent or shutil.which("cmake") is None:
        missing(f"cmake or {absent} is missing; scripts/cpp_packages.sh names the packages")
    BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILD.parent / "cpp.lock"):  # of several processes of pytest one builds
        build()
    os.environ["LAVIN_ONNXRUNTIME"] = onnxruntime_file
    return BUILD


def build() -> None:
    """Configure and build; where nothing changed since, this takes a second."""
    gstreamer = subprocess.run(["pkg-config", "--exists", "gstreamer-video-1.0"]).returncode == 0
    words = ["cmake", "-S", str(ROOT / "cpp"), "-B", str(BUILD), "-DLAVIN_TESTS=ON"]
    words += [f"-DLAVIN_GSTREAMER={'ON' if gstreamer else 'OFF'}", "-DLAVIN_EXAMPLES=ON"]
    words.append("-DLAVIN_WERROR=ON")
    if shutil.which("nvcc") is not None:  # CUDA's headers are there too
        environment = dict(os.environ, PYTHON=sys.executable)
        script = [str(ROOT / "scripts" / "tensorrt_headers.sh")]
        headers = subprocess.run(script, capture_output=True, text=True, env=environment)
        assert headers.returncode == 0, headers.stderr
        words.append(f"-DLAVIN_TENSORRT_INCLUDE={headers.stdout.strip()}")
    for command in (words, ["cmake", "--build", str(BUILD), "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.fixture(scope="session")
def library(cpp: Path) -> Library:
    """The shared library by ctypes."""
    return Library(cpp / "liblavin.so")
