"""One branch of guidance: the velocity under a context, by whatever graphs a variant has for it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lavin_deploy.arrays import Array
from lavin_deploy.bundle.manifest import Graph
from lavin_deploy.flow.grids import CLEAN
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.modulation import Modulation


class Branch(Protocol):
    """The velocity field of one target at a time."""

    def prepare(self) -> None:
        """Load the graphs."""

    def begin(self, context: Latents) -> None:
        """Take the context (1, 16, Tc, h, w) float32 scaled, of the target that is solved next."""

    def velocity(self, z: Latents, t: np.float32) -> Latents:
        """Return dz/dt, (1, 16, 1, h, w) float32."""


class JointBranch:
    """Whole steps: the context's latents go into each.

    Args:
        backend: active back end.
        modulation: precomputed modulation for each timestep.
        graph: ``step`` or ``step_null``, or one of them with the update inside.
    """

    def __init__(self, backend: Backend, modulation: Modulation, graph: Graph) -> None:
        self._backend, self._modulation, self._graph = backend, modulation, graph
        self._folded = any(spec.name == "modulation" for spec in graph.inputs)
        self._context: Latents

    def prepare(self) -> None:
        """See :class:`Branch`."""
        self._backend.prepare(self._graph)

    def begin(self, context: Latents) -> None:
        """See :class:`Branch`."""
        self._context = context

    def velocity(self, z: Latents, t: np.float32) -> Latents:
        """See :class:`Branch`."""
        velocity: Latents = self._backend.infer_one(self._graph, **self._feed(z, t))
        return velocity

    def advance(self, z: Latents, t: np.float32, dt: np.float32) -> Latents:
        """Return the next latents, by a graph with the update inside."""
        span = np.array([dt], np.float32)
        following: Latents = self._backend.infer_one(self._graph, dt=span, **self._feed(z, t))
        return following

    def _feed(self, z: Latents, t: np.float32) -> dict[str, Array]:
        time = (
            {"modulation": self._modulation.row(t)}
            if self._folded
            else {"t": np.array([t], np.float32)}
        )
        return {"latent": z, "context": self._context, **time}


class RefreshBranch:
    """Whole steps that also give keys and values, which the steps between them go on with.

    Args:
        backend: active back end.
        modulation: precomputed modulation for each timestep.
        refresh: ``refresh`` or ``refresh_null``.
        step: ``step`` or ``step_null``, which takes keys and values.
        every: N, for a ``refresh`` every N evaluations.
    """

    def __init__(
        self, backend: Backend, modulation: Modulation, refresh: Graph, step: Graph, *, every: int
    ) -> None:
        self._backend, self._modulation = backend, modulation
        self._refresh, self._step, self._every = refresh, step, every
        self._context: Latents
        self._keys_values: dict[str, Array] = {}
        self._count = 0

    def prepare(self) -> None:
        """See :class:`Branch`."""
        self._backend.prepare(self._refresh)
        self._backend.prepare(self._step)

    def begin(self, context: Latents) -> None:
        """See :class:`Branch`."""
        self._context, self._count = context, 0

    def velocity(self, z: Latents, t: np.float32) -> Latents:
        """See :class:`Branch`."""
        row = self._modulation.row(t)
        stale = self._count % self._every == 0
        self._count += 1
        if stale:
            feed = {"latent": z, "context": self._context, "modulation": row}
            self._keys_values = self._backend.infer(self._refresh, feed)
            velocity: Latents = self._keys_values.pop("velocity")
            self._keys_values |= query_of(self._step, self._context)
            return velocity
        velocity = self._backend.infer_one(
            self._step, latent=z, modulation=row, **self._keys_values
        )
        return velocity


class FrozenBranch:
    """Keys and values of the pairs once for a task, of the query once for a frame.

    Args:
        backend: active back end.
        modulation: precomputed modulation for each timestep.
        context: the graph of the pairs; None for the null condition of a sequence, which has none.
        query: ``query`` or ``query_null``; None for merged pairs, whose steps take the query.
        step: ``step`` or ``step_null``, which takes keys and values.
    """

    def __init__(
        self,
        backend: Backend,
        modulation: Modulation,
        context: Graph | None,
        query: Graph | None,
        step: Graph,
    ) -> None:
        self._backend, self._modulation = backend, modulation
        self._context, self._query, self._step = context, query, step
        self._pairs: Latents | None = None
        self._of_pairs: dict[str, Array] = {}
        self._keys_values: dict[str, Array] = {}

    def prepare(self) -> None:
        """See :class:`Branch`."""
        for graph in (self._context, self._query, self._step):
            if graph is not None:
                self._backend.prepare(graph)

    def begin(self, context: Latents) -> None:
        """See :class:`Branch`; pairs that are those of the last call are not computed again."""
        row = self._modulation.row(CLEAN)
        pairs, query = context[:, :, :-1], context[:, :, -1:]
        same_pairs = self._pairs is not None and np.array_equal(pairs, self._pairs)
        if self._context is not None and not same_pairs:
            keys_values = self._backend.infer(self._context, {"context": pairs, "modulation": row})
            prefix = "" if self._query is None else "pair_"
            self._of_pairs = {f"{prefix}{name}": array for name, array in keys_values.items()}
            self._pairs = pairs.copy()
        if self._query is None:
            self._keys_values = {"query": query, **self._of_pairs}
            return
        feed = {"query": query, "modulation": row, **self._of_pairs}
        self._keys_values = self._backend.infer(self._query, feed)

    def velocity(self, z: Latents, t: np.float32) -> Latents:
        """See :class:`Branch`."""
        velocity: Latents = self._backend.infer_one(
            self._step, latent=z, modulation=self._modulation.row(t), **self._keys_values
        )
        return velocity


def query_of(step: Graph, context: Latents) -> dict[str, Array]:
    """The query's latents where a step on keys and values takes them: with merged pairs."""
    takes = any(spec.name == "query" for spec in step.inputs)
    return {"query": context[:, :, -1:]} if takes else {}
