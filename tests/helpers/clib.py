"""liblavin's C ABI by ctypes, as a program in another language calls it."""

from __future__ import annotations

import ctypes as c
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lavin_deploy.arrays import F32, U8


def onnxruntime_library() -> Path:
    """ONNX Runtime's shared library in the Python package onnxruntime."""
    import onnxruntime

    (file,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    return file


class _Options(c.Structure):
    _fields_ = [
        ("struct_size", c.c_size_t),
        ("backend", c.c_char_p),
        ("precision", c.c_char_p),
        ("dialect", c.c_char_p),
        ("threads", c.c_int32),
        ("library", c.c_char_p),
    ]


class _Image(c.Structure):
    _fields_ = [
        ("struct_size", c.c_size_t),
        ("width", c.c_uint32),
        ("height", c.c_uint32),
        ("stride", c.c_size_t),
        ("data", c.c_void_p),
    ]


class _Pair(c.Structure):
    _fields_ = [("input", _Image), ("target", _Image)]


class _Request(c.Structure):
    _fields_ = [
        ("struct_size", c.c_size_t),
        ("task", c.c_char_p),
        ("pairs", c.POINTER(_Pair)),
        ("pair_count", c.c_size_t),
        ("steps", c.c_int32),
        ("has_guidance", c.c_int32),
        ("guidance", c.c_double),
        ("seed", c.c_uint64),
        ("noise", c.POINTER(c.c_float)),
        ("noise_count", c.c_size_t),
        ("num_pairs", c.c_int32),
        ("width", c.c_uint32),
        ("height", c.c_uint32),
        ("reserved", c.c_uint32),
    ]


class _Result(c.Structure):
    _fields_ = [
        ("struct_size", c.c_size_t),
        ("target", _Image),
        ("latents", c.POINTER(c.c_float)),
        ("latents_count", c.c_size_t),
        ("seconds", c.c_double * 6),
        ("pairs", c.c_int32),
        ("reserved", c.c_uint32),
    ]


class LavinError(Exception):
    """A call failed; ``status`` is what it returned."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Library:
    """The shared library at a path."""

    def __init__(self, path: Path) -> None:
        self.c = c.CDLL(str(path))
        self.c.lavin_last_error.restype = c.c_char_p
        self.c.lavin_describe.restype = c.c_char_p
        self.c.lavin_free.argtypes = [c.c_void_p]
        self.c.lavin_describe.argtypes = [c.c_void_p]

    def check(self, status: int) -> None:
        if status:
            raise LavinError(status, self.c.lavin_last_error(None).decode())

    def load(self, bundle: str | os.PathLike[str], **options: Any) -> Model:
        """Open a bundle; options are those of ``lavin_options``."""
        fields = {k: v.encode() if isinstance(v, str) else v for k, v in options.items()}
        chosen = _Options(struct_size=c.sizeof(_Options), **fields)
        handle = c.c_void_p()
        self.check(self.c.lavin_load(os.fspath(bundle).encode(), c.byref(chosen), c.byref(handle)))
        return Model(self, handle)


class Model:
    """An open bundle; a context manager."""

    def __init__(self, library: Library, handle: c.c_void_p) -> None:
        self._library, self._handle = library, handle

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.c.lavin_free(self._handle)

    def describe(self) -> str:
        return str(self._library.c.lavin_describe(self._handle).decode())

    def run(
        self,
        task: str | None,
        frame: U8,
        *,
        pairs: Sequence[tuple[U8, U8]] = (),
        guidance: float | None = None,
        noise: F32 | None = None,
        **fields: Any,
    ) -> tuple[U8, U8, F32]:
        """Return image, target and latents (flat); fields are those of ``lavin_request``."""
        request = _Request(struct_size=c.sizeof(_Request), **fields)
        request.task = None if task is None else task.encode()
        held = [(np.ascontiguousarray(a), np.ascontiguousarray(b)) for a, b in pairs]
        array = (_Pair * len(held))(*((_image(a), _image(b)) for a, b in held))
        if held:
            request.pairs, request.pair_count = array, len(held)
        if guidance is not None:
            request.has_guidance, request.guidance = 1, guidance
        if noise is not None:
            noise = np.ascontiguousarray(noise)
            request.noise = noise.ctypes.data_as(c.POINTER(c.c_float))
            request.noise_count = noise.size
        frame = np.ascontiguousarray(frame)
        answer = np.empty_like(frame)
        image, out = _image(frame), _image(answer)
        result = _Result(struct_size=c.sizeof(_Result))
        self._library.check(
            self._library.c.lavin_run_request(
                self._handle, c.byref(request), c.byref(image), c.byref(out), c.byref(result)
            )
        )
        target = np.empty((result.target.height, result.target.width, 3), np.uint8)
        c.memmove(target.ctypes.data, result.target.data, target.nbytes)
        latents = np.ctypeslib.as_array(result.latents, (result.latents_count,)).copy()
        return answer, target, latents


def _image(array: U8) -> _Image:
    return _Image(
        struct_size=c.sizeof(_Image),
        width=array.shape[1],
        height=array.shape[0],
        data=array.ctypes.data,
    )
