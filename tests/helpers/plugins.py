"""The kernels, built from their sources, and their C functions on numpy arrays."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "plugins"
TYPES = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}
_CODES = {np.dtype(dtype): code for code, dtype in enumerate(TYPES.values())}
_P, _I = ctypes.c_void_p, ctypes.c_int


class RopeArgs(ctypes.Structure):
    _fields_ = [
        *((name, _P) for name in ("q", "k", "q_weight", "k_weight", "cos", "sin")),
        *((name, _P) for name in ("q_out", "k_out")),
        *((name, _I) for name in ("tokens", "heads", "kv_heads", "head_dim")),
        ("epsilon", ctypes.c_float),
    ]


class AttentionArgs(ctypes.Structure):
    _fields_ = [
        *((name, _P) for name in ("q", "k", "v", "past_k", "past_v", "out")),
        *((name, _I) for name in ("queries", "keys", "past", "heads", "kv_heads", "head_dim")),
        ("scale", ctypes.c_float),
    ]


@functools.cache
def built() -> Path:
    """Build what can be built here and return the folder; make keeps what is up to date."""
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


@functools.cache
def reference() -> Any:
    """The kernels on the CPU."""
    return ctypes.CDLL(str(built() / "liblavin_reference.so"))


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
    status = reference().lavin_attention_reference(ctypes.byref(args), _CODES[q.dtype], int(tall))
    assert status == 0
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
    assert reference().lavin_rope3d_reference(ctypes.byref(args), _CODES[k.dtype]) == 0
    assert outs[1] is not None
    return outs[0], outs[1]
