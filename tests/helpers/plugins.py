"""The kernels, built from their sources, and their C functions on numpy arrays."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from filelock import FileLock

from lavin_deploy.engines.plugins.functions import AttentionArgs, PluginKernels, RopeArgs

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "plugins"
TYPES = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}


@functools.cache
def built() -> Path:
    """Build what can be built here and return the folder; make keeps what is up to date."""
    BUILD.parent.mkdir(exist_ok=True)
    with FileLock(BUILD.parent / "plugins.lock"):  # of several processes of pytest one builds
        done = subprocess.run(
            [ROOT / "scripts" / "build_plugins.sh"],
            env={**os.environ, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout + done.stderr
    return BUILD


def plugin_library() -> Path:
    """The library with the plugins."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    return built() / "liblavin_plugins.so"


def reference(*, tall: bool = False) -> PluginKernels:
    """The kernels on the CPU."""
    return PluginKernels(built() / "liblavin_reference.so", tall=tall)


def address(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    past: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    tall: bool = False,
) -> np.ndarray:
    """(N, Lq, E), (K, L, E) -> (Lq, N E), scale 1 / sqrt(E)."""
    (heads, queries, width), (kv_heads, keys, _) = q.shape, k.shape
    out = np.full((queries, heads * width), np.nan, q.dtype)
    before = past or (None, None)
    args = AttentionArgs(
        *map(address, (q, k, v, *before, out)),
        *(queries, keys, 0 if past is None else past[0].shape[1], heads, kv_heads, width),
        width**-0.5,
    )
    reference(tall=tall).attention(args, q.dtype.name)
    return out


def rope3d(
    q: np.ndarray | None,
    k: np.ndarray,
    q_weight: np.ndarray | None,
    k_weight: np.ndarray,
    cos: np.ndarray,
    sin: np.ndarray,
    epsilon: float = 1e-6,
) -> tuple[np.ndarray | None, np.ndarray]:
    """(L, N E), (L, K E) -> (N, L, E), (K, L, E)."""
    tokens, width = cos.shape[0], 2 * cos.shape[1]

    def room(x: np.ndarray | None) -> np.ndarray | None:
        return None if x is None else np.full((x.shape[1] // width, tokens, width), np.nan, x.dtype)

    outs = room(q), room(k)
    heads = 0 if q is None else q.shape[1] // width
    args = RopeArgs(
        *map(address, (q, k, q_weight, k_weight, cos, sin, *outs)),
        *(tokens, heads, k.shape[1] // width, width),
        epsilon,
    )
    reference().rope3d(args, k.dtype.name)
    assert outs[1] is not None
    return outs[0], outs[1]
