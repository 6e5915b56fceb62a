"""From noise to latents: Euler over a time grid through a bundle's ``step`` graphs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.errors import BundleError
from lavin_deploy.flow.grids import Grid, check_grid
from lavin_deploy.flow.guidance import guided
from lavin_deploy.flow.solvers import Latents, euler
from lavin_deploy.manifest import Graph, Manifest
from lavin_deploy.runtime.backend import Backend

Row = NDArray[np.float32]


class Modulation:
    """Rows of the folded timestep: from the bundle's table, else from its ``modulation`` graph.

    A time that is in the table exactly (as float32) takes its row; any other time runs the graph
    once and is remembered.
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        """Read the table.

        Raises:
            BundleError: the table does not fit its grid or the graph.
        """
        self._backend = backend
        self._graph = backend.variant.graph("modulation")
        self._rows: dict[float, Row] = {}
        table = manifest.tables.get("modulation")
        if table is None:
            return
        rows = backend.bundle.array(table.file)
        shape = (len(table.grid), self._graph.outputs[0].shape[-1])
        if rows.shape != shape or rows.dtype != np.float32:
            raise BundleError(
                f"{table.file!r} is {rows.dtype} {rows.shape} where float32 {shape} belongs; "
                "export the bundle again."
            )
        for time, row in zip(table.grid, rows.astype(np.float32, copy=False), strict=True):
            self._rows[float(np.float32(time))] = row[None]

    def row(self, t: np.float32) -> Row:
        """Return the (1, R) float32 row of time t in [0, 1]."""
        key = float(t)
        if key not in self._rows:
            time = np.array([t], np.float32)
            self._rows[key] = self._backend.infer_one(self._graph, t=time)
        return self._rows[key]


class Sampler:
    """Runs the flow for one size and number of pairs.

    Args:
        backend: active back end.
        modulation: rows of the folded timestep.
        height: pixels.
        width: pixels.
        pairs: example pairs in the context.

    Raises:
        BundleError: the variant has no step graphs for them.
    """

    def __init__(
        self, backend: Backend, modulation: Modulation, *, height: int, width: int, pairs: int
    ) -> None:
        self._backend = backend
        self._modulation = modulation
        variant = backend.variant
        self._step = variant.graph("step", height=height, width=width, pairs=pairs)
        self._step_null = variant.graph("step_null", height=height, width=width)

    def prepare(self, *, guidance: float = 1.0) -> None:
        """Load the graphs that sampling with that weight needs."""
        self._backend.prepare(self._step)
        if guidance != 1.0:
            self._backend.prepare(self._step_null)

    def sample(
        self, noise: Latents, context: Latents, *, grid: Grid, guidance: float = 1.0
    ) -> Latents:
        """Integrate from t = 0 (noise) to t = 1 (data).

        Args:
            noise: (1, 16, 1, h, w) float32.
            context: (1, 16, 2 pairs + 1, h, w) float32 scaled; its last frame is the query.
            grid: (steps + 1,) float32 from 0 to 1.
            guidance: weight w; at 1 the null branch does not run.

        Returns:
            (1, 16, 1, h, w) float32, scaled.
        """
        query = context[:, :, -1:]
        null = np.concatenate([np.zeros_like(query), query], axis=2)

        def conditional(z: Latents, t: np.float32) -> Latents:
            return self._velocity(self._step, z, context, t)

        def unconditional(z: Latents, t: np.float32) -> Latents:
            return self._velocity(self._step_null, z, null, t)

        return euler(guided(conditional, unconditional, guidance), noise, check_grid(grid))

    def _velocity(self, graph: Graph, z: Latents, context: Latents, t: np.float32) -> Latents:
        velocity: Latents = self._backend.infer_one(
            graph, latent=z, context=context, modulation=self._modulation.row(t)
        )
        return velocity
