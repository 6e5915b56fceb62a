"""Precomputed modulation for each timestep."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.bundle.manifest import Manifest
from lavin_deploy.errors import BundleError
from lavin_deploy.runtime.backends.base import Backend

Row = NDArray[np.float32]


class Modulation:
    """One row per timestep: from the bundle's table, else from its ``modulation`` graph.

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
