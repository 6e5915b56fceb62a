"""Engines of TensorRT or TensorRT-RTX on the driver's stream. Not run on a GPU yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavin_deploy.bundle.manifest import Tensor
from lavin_deploy.engines.gpu import Gpu
from lavin_deploy.engines.library import Library
from lavin_deploy.engines.store import StoredEngine
from lavin_deploy.errors import BundleError, WorkError
from lavin_deploy.runtime.device.cuda.driver import Driver
from lavin_deploy.runtime.device.device import Engine

_TYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT32": "int32"}


@dataclass(frozen=True)
class LoadedEngine:
    """An engine with its execution context; see :class:`Engine`."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    context: Any
    engine: Any


class CudaDevice(Driver):
    """See :class:`Device`.

    Args:
        gpu: checked by :func:`find_gpu`.
        library: that runs the engines.
    """

    def __init__(self, gpu: Gpu, library: Library) -> None:
        super().__init__(gpu.index)
        self._gpu, self._library = gpu, library
        trt = library.module
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._runtime.engine_host_code_allowed = True  # plugins lie inside the engine
        self._loaded: list[LoadedEngine] = []
        self._scratch, self._scratch_size = 0, 0

    def describe(self) -> str:
        """See :class:`Device`."""
        return f"{self._library.target} {self._library.version} on {self._gpu}"

    def load(self, stored: StoredEngine) -> LoadedEngine:
        """See :class:`Device`."""
        engine = self._runtime.deserialize_cuda_engine(stored.plan)
        if engine is None:
            raise BundleError(
                f"{self.describe()} does not load the engine; build it again with lavin-build."
            )
        if stored.weights is not None:
            self._put_weights(engine, stored.weights)
        trt = self._library.module
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = engine.create_execution_context(strategy)
        if context is None:
            raise WorkError(f"{self.describe()} has no room for an engine's context.")
        if needed := engine.device_memory_size_v2:
            context.set_device_memory(self._shared(needed), needed)
        specs_by_mode: dict[Any, list[Tensor]] = {
            trt.TensorIOMode.INPUT: [],
            trt.TensorIOMode.OUTPUT: [],
        }
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            kind = engine.get_tensor_dtype(name).name
            shape = tuple(engine.get_tensor_shape(name))
            spec = Tensor(name=name, dtype=_TYPES.get(kind, kind.lower()), shape=shape)
            specs_by_mode[engine.get_tensor_mode(name)].append(spec)
        inputs, outputs = (tuple(specs) for specs in specs_by_mode.values())
        loaded = LoadedEngine(inputs=inputs, outputs=outputs, context=context, engine=engine)
        self._loaded.append(loaded)
        return loaded

    def _shared(self, size: int) -> int:
        """Scratch memory for an engine: all share it, for they run one after another. What was
        given out stays where it is, because captured runs refer to it."""
        if size > self._scratch_size:
            self._scratch, self._scratch_size = self.allocate(size), size
        return self._scratch

    def _put_weights(self, engine: Any, file: Path) -> None:
        trt = self._library.module
        logger = trt.Logger(trt.Logger.ERROR)
        refitter = trt.Refitter(engine, logger)
        parsed = trt.OnnxParserRefitter(refitter, logger).refit_from_file(str(file))
        if not (parsed and refitter.refit_cuda_engine()):
            raise BundleError(
                f"{self.describe()} does not put the weights of {file.name!r} into its engine; "
                "build it again with lavin-build."
            )

    def run(self, engine: Engine, tensors: Mapping[str, int]) -> None:
        """See :class:`Device`."""
        assert isinstance(engine, LoadedEngine)
        for name, address in tensors.items():
            engine.context.set_tensor_address(name, address)
        if not engine.context.execute_async_v3(int(self.stream)):
            raise WorkError(f"{self.describe()} refused to run an engine.")

    def close(self) -> None:
        """See :class:`Device`."""
        self.enter()
        self.synchronize()
        self._loaded.clear()
        self._runtime = None
        super().close()
