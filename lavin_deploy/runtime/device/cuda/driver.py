"""Memory, a stream, CUDA graphs and two kernels by the CUDA driver's API (cuda-python).

Not run on a GPU yet.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lavin_deploy.arrays import Array
from lavin_deploy.errors import InputError, WorkError

KERNELS = Path(__file__).with_name("elementwise.ptx")
THREADS = 256


class Driver:
    """The primary context of one GPU, a stream of its own, and what was allocated by it.

    Args:
        index: the driver's number of the GPU.

    Raises:
        InputError: cuda-python is not installed.
        WorkError: the driver refuses.
    """

    def __init__(self, index: int) -> None:
        try:
            self._cuda: Any = importlib.import_module("cuda.bindings.driver")
        except ImportError as error:
            raise InputError(
                f"the back end 'tensorrt' needs cuda-python's cuda-bindings, which cannot be "
                f"imported ({error}); install it with: pip install cuda-bindings."
            ) from error
        self._memory: list[Any] = []
        self._pinned: list[Any] = []
        self._graphs: list[Any] = []
        self._events: list[Any] = []
        self._staging: dict[int, tuple[Any, int]] = {}
        self._returns: list[tuple[Array, Any, int]] = []
        self.ask("cuInit", 0)
        self._device = self.ask("cuDeviceGet", index)
        self._context = self.ask("cuDevicePrimaryCtxRetain", self._device)
        self.enter()
        flags = self._cuda.CUstream_flags.CU_STREAM_NON_BLOCKING
        self.stream: Any = self.ask("cuStreamCreate", flags)
        self._module = self.ask("cuModuleLoadData", KERNELS.read_bytes() + b"\0")
        self._affine = self.ask("cuModuleGetFunction", self._module, b"affine")
        self._update = self.ask("cuModuleGetFunction", self._module, b"update")

    def ask(self, function: str, *arguments: Any) -> Any:
        """Call a function of the driver and return its one result, if it has one.

        Raises:
            WorkError: it failed; the message has the driver's name of the error.
        """
        status, *results = getattr(self._cuda, function)(*arguments)
        if status != self._cuda.CUresult.CUDA_SUCCESS:
            raise WorkError(f"{function} failed on the GPU: {status.name}.")
        return results[0] if results else None

    def enter(self) -> None:
        """See :class:`Device`."""
        self.ask("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """See :class:`Device`."""
        pointer = self.ask("cuMemAlloc", size)
        self._memory.append(pointer)
        return int(pointer)

    def upload(self, target: int, array: Array) -> None:
        """See :class:`Device`; by way of pinned memory of this target, waiting for its last use."""
        data = np.ascontiguousarray(array)
        if target in self._staging and self._staging[target][1] >= data.nbytes:
            self.ask("cuStreamSynchronize", self.stream)  # the copy before may still read it
        else:
            self._staging[target] = (self._pin(data.nbytes), data.nbytes)
        place = self._staging[target][0]
        ctypes.memmove(int(place), data.ctypes.data, data.nbytes)
        self.ask("cuMemcpyHtoDAsync", target, place, data.nbytes, self.stream)

    def download(self, source: int, array: Array) -> None:
        """See :class:`Device`; by way of pinned memory of this source."""
        if source not in self._staging or self._staging[source][1] < array.nbytes:
            self._staging[source] = (self._pin(array.nbytes), array.nbytes)
        place = self._staging[source][0]
        self.ask("cuMemcpyDtoHAsync", place, source, array.nbytes, self.stream)
        self._returns.append((array, place, array.nbytes))

    def copy(self, target: int, source: int, size: int) -> None:
        """See :class:`Device`."""
        self.ask("cuMemcpyDtoDAsync", target, source, size, self.stream)

    def affine(
        self,
        target: int,
        source: int,
        *,
        channels: int,
        length: int,
        stride: int,
        add: float,
        factor: float,
        shift: float,
    ) -> None:
        """See :class:`Device`."""
        values = (source, target, channels, length, stride, add, factor, shift)
        pointer, whole, long, real = (
            ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong, ctypes.c_float,
        )  # fmt: skip
        kinds = (pointer, pointer, whole, whole, long, real, real, real)
        self._launch(self._affine, channels * length, values, kinds)

    def update(
        self,
        z: int,
        velocity: int,
        null: int,
        *,
        weight: float,
        span: float,
        length: int,
    ) -> None:
        """See :class:`Device`."""
        kinds = (*(ctypes.c_void_p,) * 3, ctypes.c_float, ctypes.c_float, ctypes.c_int)
        self._launch(self._update, length, (z, velocity, null, weight, span, length), kinds)

    def capture(self, work: Callable[[], None]) -> Any:
        """See :class:`Device`."""
        mode = self._cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self.ask("cuStreamBeginCapture", self.stream, mode)
        try:
            work()
        except BaseException:
            self._cuda.cuStreamEndCapture(self.stream)  # the error that ended it says more
            raise
        graph = self.ask("cuStreamEndCapture", self.stream)
        try:
            captured_graph = self.ask("cuGraphInstantiate", graph, 0)
        finally:
            self.ask("cuGraphDestroy", graph)
        self._graphs.append(captured_graph)
        return captured_graph

    def launch(self, captured_graph: Any) -> None:
        """See :class:`Device`."""
        self.ask("cuGraphLaunch", captured_graph, self.stream)

    def mark(self, event: Any = None) -> Any:
        """See :class:`Device`."""
        if event is None:
            event = self.ask("cuEventCreate", self._cuda.CUevent_flags.CU_EVENT_DEFAULT)
            self._events.append(event)
        self.ask("cuEventRecord", event, self.stream)
        return event

    def between(self, first: Any, last: Any) -> float:
        """See :class:`Device`."""
        return float(self.ask("cuEventElapsedTime", first, last)) / 1e3

    def synchronize(self) -> None:
        """See :class:`Device`."""
        self.ask("cuStreamSynchronize", self.stream)
        for array, place, size in self._returns:
            ctypes.memmove(array.ctypes.data, int(place), size)
        self._returns.clear()

    def close(self) -> None:
        """See :class:`Device`; the primary context stays, for libraries that go on using it."""
        self.enter()
        self.ask("cuStreamSynchronize", self.stream)
        for graph in self._graphs:
            self.ask("cuGraphExecDestroy", graph)
        for event in self._events:
            self.ask("cuEventDestroy", event)
        for pointer in self._memory:
            self.ask("cuMemFree", pointer)
        for pointer in self._pinned:
            self.ask("cuMemFreeHost", pointer)
        self.ask("cuModuleUnload", self._module)
        self.ask("cuStreamDestroy", self.stream)

    def _pin(self, size: int) -> Any:
        pointer = self.ask("cuMemHostAlloc", size, 0)
        self._pinned.append(pointer)
        return pointer

    def _launch(
        self, kernel: Any, count: int, values: tuple[float, ...], kinds: tuple[Any, ...]
    ) -> None:
        blocks = -(-count // THREADS)
        self.ask(
            "cuLaunchKernel",
            *(kernel, blocks, 1, 1, THREADS, 1, 1, 0, self.stream),
            (values, kinds),
            0,
        )
