"""Engines of TensorRT-RTX, built ahead of time on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavin_deploy.engines.engine import build_engine
from lavin_deploy.engines.identity import BuildOptions
from lavin_deploy.engines.library import load_library


def build(file: Path) -> int:
    """Build an ONNX file for Ada; return the engine's bytes."""
    pytest.importorskip("tensorrt_rtx")
    library = load_library("tensorrt-rtx")
    return len(build_engine(library, file, BuildOptions(capabilities=("8.9",))).plan)
