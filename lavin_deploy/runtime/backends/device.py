"""The back end for a device: whole answers stay there, single graphs go up and down."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lavin_deploy.arrays import Array
from lavin_deploy.bundle.manifest import Graph, Tensor, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.engines.store import StoredEngine
from lavin_deploy.errors import BundleError
from lavin_deploy.flow.grids import Grid
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.runtime.backends.base import Backend, Row
from lavin_deploy.runtime.device.device import Address, Device, Engine
from lavin_deploy.runtime.device.planner import Planner
from lavin_deploy.runtime.device.program import aligned, tensor_bytes
from lavin_deploy.runtime.device.resident import Resident


class DeviceBackend(Backend):
    """Engines of a bundle on one device.

    Args:
        bundle: open bundle.
        variant: the variant to run.
        open_device: makes the device when the back end is activated.
        find_engine: gives the engine for a graph; raises BundleError where there is none.
    """

    name = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        *,
        open_device: Callable[[], Device],
        find_engine: Callable[[Graph], StoredEngine],
    ) -> None:
        super().__init__(bundle, variant)
        self._open_device, self._find_engine = open_device, find_engine
        self._device: Device | None = None
        self._engines: dict[str, Engine] = {}
        self._buffers: dict[str, dict[str, Address]] = {}

    def activate(self) -> None:
        """Open the device.

        Raises:
            InputError: there is none that fits, or its libraries are missing.
        """
        if self._device is None:
            self._device = self._open_device()

    def deactivate(self) -> None:
        """Release all memory and engines."""
        device, self._device = self._device, None
        self._engines.clear()
        self._buffers.clear()
        if device is not None:
            device.close()

    def describe(self) -> str:
        """See :class:`Backend`."""
        return self._active().describe()

    def prepare(self, graph: Graph) -> None:
        """See :class:`Backend`."""
        self._engine(graph)

    def infer_impl(self, graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
        """See :class:`Backend`."""
        device, engine = self._active(), self._engine(graph)
        if graph.file not in self._buffers:
            self._buffers[graph.file] = {
                spec.name: device.allocate(aligned(tensor_bytes(spec)))
                for spec in (*graph.inputs, *graph.outputs)
            }
        places = self._buffers[graph.file]
        for name, array in feed.items():
            device.upload(places[name], array)
        device.run(engine, places)
        outputs = {spec.name: np.empty(spec.shape, spec.dtype) for spec in graph.outputs}
        for name, array in outputs.items():
            device.download(places[name], array)
        device.synchronize()
        return outputs

    def resident(
        self,
        row: Row,
        *,
        size: tuple[int, int],
        pairs: Latents,
        noise: Latents,
        grid: Grid,
        guidance: float,
    ) -> Resident:
        """See :class:`Backend`."""
        planner = Planner(
            self.variant,
            self.bundle.manifest.latent,
            height=size[0],
            width=size[1],
            pairs=pairs.shape[2] // 2,
        )
        return Resident(
            self._active(),
            planner.program(grid, guidance),
            engine=self._engine,
            row=row,
            noise=noise,
            pairs=pairs,
        )

    def _active(self) -> Device:
        if self._device is None:
            raise RuntimeError("the back end is not active; use it in a with block")
        self._device.enter()
        return self._device

    def _engine(self, graph: Graph) -> Engine:
        device = self._active()
        if graph.file not in self._engines:
            engine = device.load(self._find_engine(graph))
            for mine, its in ((graph.inputs, engine.inputs), (graph.outputs, engine.outputs)):
                if {spec.name: spec for spec in mine} != {spec.name: spec for spec in its}:
                    raise BundleError(
                        f"the engine of {graph.file!r} takes or gives {[*map(_text, its)]} where "
                        f"the manifest says {[*map(_text, mine)]}; build it again with lavin-build."
                    )
            self._engines[graph.file] = engine
        return self._engines[graph.file]


def _text(spec: Tensor) -> str:
    return f"{spec.name} {spec.dtype} {spec.shape}"
