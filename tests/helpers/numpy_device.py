"""A device in numpy: the same programs, with ONNX Runtime for engines.

It is strict where CUDA is: addresses are 256-aligned, only arithmetic, copies and engines can be
captured, what is captured does not run, and an engine must have run once before it is captured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from lavin_deploy.arrays import Array
from lavin_deploy.bundle.manifest import Graph, Tensor, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.engines.store import StoredEngine
from lavin_deploy.runtime.backends.device import DeviceBackend
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend

START = 1 << 20
Work = Callable[[], None]


@dataclass
class NumpyEngine:
    graph: Graph
    runs: int = 0

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self.graph.outputs


@dataclass
class NumpyDevice:
    backend: OnnxRuntimeBackend
    memory: bytearray = field(default_factory=bytearray)
    recording: list[Work] | None = None
    returns: list[tuple[int, Array]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    closed: bool = False

    def describe(self) -> str:
        return "numpy"

    def enter(self) -> None:
        assert not self.closed

    def allocate(self, size: int) -> int:
        assert self.recording is None
        assert size > 0
        address = START + len(self.memory)
        self.memory = bytearray(self.memory) + bytearray(b"\x7f" * (-(-size // 256) * 256))
        return address

    def load(self, stored: StoredEngine) -> NumpyEngine:
        assert stored.weights is None
        graphs = self.backend.variant.graphs
        return NumpyEngine(next(g for g in graphs if g.file == stored.plan.decode()))

    def upload(self, target: int, array: Array) -> None:
        assert self.recording is None, "an upload cannot be captured"
        self.calls.append("upload")
        self.write(target, array)

    def download(self, source: int, array: Array) -> None:
        assert self.recording is None, "a download cannot be captured"
        self.calls.append("download")
        array[...] = np.nan  # nothing is there before synchronize
        self.returns.append((source, array))

    def run(self, engine: Any, tensors: Mapping[str, int]) -> None:
        names = {spec.name for spec in (*engine.inputs, *engine.outputs)}
        assert tensors.keys() == names
        assert all(address % 256 == 0 for address in tensors.values())
        assert self.recording is None or engine.runs, "an engine sets itself up when it first runs"

        def work() -> None:
            feed = {spec.name: self.read(tensors[spec.name], spec) for spec in engine.inputs}
            for name, array in self.backend.infer(engine.graph, feed).items():
                self.write(tensors[name], array)

        engine.runs += 1
        self.queue("run", work)

    def copy(self, target: int, source: int, size: int) -> None:
        self.queue("copy", lambda: self.write(target, self.floats(source, size // 4).copy()))

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
        def work() -> None:
            x = self.floats(source, channels * length).reshape(channels, length)
            y = (x + np.float32(add)) * np.float32(factor) + np.float32(shift)
            for channel in range(channels):
                self.write(target + 4 * channel * stride, y[channel])

        self.queue("affine", work)

    def update(
        self, z: int, velocity: int, null: int, *, weight: float, span: float, length: int
    ) -> None:
        def work() -> None:
            v, state = self.floats(velocity, length), self.floats(z, length)
            if weight != 1.0:
                u = self.floats(null, length)
                v = u + np.float32(weight) * (v - u)
            self.write(z, state + np.float32(span) * v)

        self.queue("update", work)

    def capture(self, work: Work) -> list[Work]:
        self.calls.append("capture")
        self.recording = []
        try:
            work()
            return self.recording
        finally:
            self.recording = None

    def launch(self, captured_graph: list[Work]) -> None:
        self.calls.append("launch")
        for work in captured_graph:
            work()

    def mark(self, event: int | None = None) -> int:
        self.calls.append("mark")
        return 0 if event is None else event

    def between(self, first: int, last: int) -> float:
        return 0.001

    def synchronize(self) -> None:
        assert self.recording is None
        for source, array in self.returns:
            size = array.nbytes
            start = source - START
            flat = np.frombuffer(self.memory, array.dtype, size // array.itemsize, start)
            array[...] = flat.reshape(array.shape)
        self.returns.clear()

    def close(self) -> None:
        self.closed = True

    def queue(self, name: str, work: Work) -> None:
        if self.recording is not None:
            self.recording.append(work)
        else:
            self.calls.append(name)
            work()

    def floats(self, address: int, count: int) -> np.ndarray:
        return np.frombuffer(self.memory, np.float32, count, address - START)

    def read(self, address: int, spec: Tensor) -> np.ndarray:
        count, dtype = prod(spec.shape), np.dtype(spec.dtype)
        return np.frombuffer(self.memory, dtype, count, address - START).reshape(spec.shape)

    def write(self, address: int, array: Array) -> None:
        data, start = np.ascontiguousarray(array).tobytes(), address - START
        assert start >= 0
        assert start + len(data) <= len(self.memory), "a write beyond what was allocated"
        self.memory[start : start + len(data)] = data


def numpy_backend(bundle: Bundle, variant: Variant) -> tuple[DeviceBackend, NumpyDevice]:
    """The back end of TensorRT on such a device; an engine's plan is its graph's path."""
    onnxruntime = OnnxRuntimeBackend(bundle, variant, threads=1)
    onnxruntime.activate()
    device = NumpyDevice(onnxruntime)
    backend = DeviceBackend(
        bundle,
        variant,
        open_device=lambda: device,
        find_engine=lambda graph: StoredEngine(plan=graph.file.encode(), weights=None),
    )
    return backend, device
