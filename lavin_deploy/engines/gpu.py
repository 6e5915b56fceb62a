"""Is there a GPU that can run engines? Asked of the driver, before any library is touched.

Lean runtimes of TensorRT hand out pointers that crash the process where there is no driver, so
nothing of theirs is called before this says yes. Only the driver's own library is loaded.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lavin_deploy.errors import InputError

_OLDEST_DRIVER = (12, 6)
"""CUDA version that a driver must support: JetPack 6.2's."""
_OLDEST_CAPABILITY = (7, 5)
_MAJOR, _MINOR, _PROCESSORS = 75, 76, 16  # CUdevice_attribute
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU.

    Attributes:
        index: the driver's number of it.
        name: e.g. ``"NVIDIA H100"``.
        capability: compute capability (major, minor).
        memory: bytes.
        processors: multiprocessors.
        driver: CUDA version that the driver supports, (major, minor).
    """

    index: int
    name: str
    capability: tuple[int, int]
    memory: int
    processors: int
    driver: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name}, compute capability {self.capability[0]}.{self.capability[1]}"


def find_gpu(open_driver: Callable[[], Any] = lambda: ctypes.CDLL(_DRIVER)) -> Gpu:
    """Return the first GPU, or say what is missing.

    Args:
        open_driver: returns the driver's library, or raises OSError.

    Raises:
        InputError: no driver, one that is too old, no GPU, or one that is too old.
    """
    try:
        driver = open_driver()
    except OSError as error:
        raise InputError(
            f"no NVIDIA driver is installed here ({_DRIVER} cannot be loaded); install the "
            "driver, start the container with GPU access, or use the back end 'onnxruntime'."
        ) from error
    version = ctypes.c_int(0)
    _ask(driver, "cuDriverGetVersion", ctypes.byref(version))
    supported = version.value // 1000, version.value % 1000 // 10
    if supported < _OLDEST_DRIVER:
        raise InputError(
            f"the NVIDIA driver supports CUDA {supported[0]}.{supported[1]}; engines need "
            f"{_OLDEST_DRIVER[0]}.{_OLDEST_DRIVER[1]} or later: update the driver, or use "
            "the back end 'onnxruntime'."
        )
    _ask(driver, "cuInit", 0)
    count = ctypes.c_int(0)
    _ask(driver, "cuDeviceGetCount", ctypes.byref(count))
    if count.value < 1:
        raise InputError(
            "the NVIDIA driver finds no GPU (is CUDA_VISIBLE_DEVICES empty?); use the back end "
            "'onnxruntime'."
        )
    gpu = _describe(driver, 0, supported)
    if gpu.capability < _OLDEST_CAPABILITY:
        raise InputError(
            f"the GPU is {gpu}; engines need 7.5 (Turing) or later: use the back end 'onnxruntime'."
        )
    return gpu


def _describe(driver: Any, index: int, supported: tuple[int, int]) -> Gpu:
    device = ctypes.c_int(0)
    _ask(driver, "cuDeviceGet", ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    _ask(driver, "cuDeviceGetName", name, len(name), device)
    memory = ctypes.c_size_t(0)
    _ask(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    numbers = []
    for attribute in (_MAJOR, _MINOR, _PROCESSORS):
        number = ctypes.c_int(0)
        _ask(driver, "cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
        numbers.append(number.value)
    return Gpu(
        index=index,
        name=name.value.decode(errors="replace"),
        capability=(numbers[0], numbers[1]),
        memory=memory.value,
        processors=numbers[2],
        driver=supported,
    )


def _ask(driver: Any, function: str, *arguments: Any) -> None:
    try:
        status = int(getattr(driver, function)(*arguments))
    except AttributeError as error:
        raise InputError(
            f"the NVIDIA driver has no {function}; it is a stub or too old: install the driver of "
            "the GPU."
        ) from error
    if status:
        raise InputError(
            f"the NVIDIA driver is there but {function} failed with CUDA error {status}; is the "
            "GPU there, and does the driver's version match its kernel module (nvidia-smi)?"
        )
