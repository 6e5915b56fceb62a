"""The kernels' C functions through ctypes: addresses and numbers in, no array library needed."""

from __future__ import annotations

import ctypes
from pathlib import Path

from lavin_deploy.errors import WorkError

TYPES = ("float32", "float16", "bfloat16")
"""Of data, in the order of ``enum lavin_type`` in ``kernels.h``."""

_pointer, _whole = ctypes.c_void_p, ctypes.c_int


class RopeArgs(ctypes.Structure):
    """``struct lavin_rope3d_args``; shapes are told in ``kernels.h``."""

    _fields_ = (
        *((name, _pointer) for name in ("q", "k", "q_weight", "k_weight", "cos", "sin")),
        *((name, _pointer) for name in ("q_out", "k_out")),
        *((name, _whole) for name in ("tokens", "heads", "kv_heads", "head_dim")),
        ("epsilon", ctypes.c_float),
    )


class AttentionArgs(ctypes.Structure):
    """``struct lavin_attention_args``; shapes are told in ``kernels.h``."""

    _fields_ = (
        *((name, _pointer) for name in ("q", "k", "v", "past_k", "past_v", "out")),
        *((name, _whole) for name in ("queries", "keys", "past", "heads", "kv_heads", "head_dim")),
        ("scale", ctypes.c_float),
    )


class PluginKernels:
    """One of the two libraries that CMake builds.

    Args:
        file: ``liblavin_plugins.so``, whose functions queue work on a GPU, or
            ``liblavin_reference.so``, whose functions compute on the CPU at once.
        tall: of the reference: tiles of 128 rows where there are some, as on a busy GPU.
    """

    def __init__(self, file: Path, *, tall: bool = False) -> None:
        self._library = ctypes.CDLL(str(file))
        self._reference = hasattr(self._library, "lavin_attention_reference")
        self._tall = tall

    def rope3d(self, args: RopeArgs, dtype: str, stream: int = 0) -> None:
        """QK-Norm and rotation.

        Args:
            args: addresses and sizes.
            dtype: of data, one of ``TYPES``.
            stream: a cudaStream_t; the reference takes none.

        Raises:
            WorkError: the arguments are out of range, or the launch failed.
        """
        self._call("lavin_rope3d", args, dtype, stream)

    def attention(self, args: AttentionArgs, dtype: str, stream: int = 0) -> None:
        """Grouped-query attention; arguments and errors as :meth:`rope3d`."""
        self._call("lavin_attention", args, dtype, stream, int(self._tall))

    def _call(
        self, name: str, args: ctypes.Structure, dtype: str, stream: int, *of_reference: int
    ) -> None:
        common = ctypes.byref(args), TYPES.index(dtype)
        if self._reference:
            code = getattr(self._library, f"{name}_reference")(*common, *of_reference)
        else:
            code = getattr(self._library, name)(*common, _pointer(stream))
        if code:
            raise WorkError(f"{name} failed with CUDA error {code} (1: arguments out of range).")
