"""From noise to latents: Euler over a time grid through a bundle's graphs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lavin_deploy.bundle import manifest
from lavin_deploy.flow.grids import Grid, check_grid
from lavin_deploy.flow.guidance import guided
from lavin_deploy.flow.solvers import Latents, euler
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.branch import Branch, FrozenBranch, JointBranch, RefreshBranch
from lavin_deploy.runtime.modulation import Modulation


class Sampler:
    """Runs the flow for one size and number of pairs.

    Args:
        backend: active back end.
        modulation: precomputed modulation for each timestep.
        height: pixels.
        width: pixels.
        pairs: example pairs in the context.

    Raises:
        BundleError: the variant has no step graphs for them.
    """

    def __init__(
        self, backend: Backend, modulation: Modulation, *, height: int, width: int, pairs: int
    ) -> None:
        self._backend, self._modulation = backend, modulation
        self._size, self._pairs = (height, width), pairs
        self._conditional = self._branch(null=False)
        self._null = self._branch(null=True)
        self._euler = self._euler_branch()

    def prepare(self, *, guidance: float = 1.0) -> None:
        """Load the graphs that sampling with that weight needs."""
        if guidance == 1.0 and self._euler is not None:
            self._euler.prepare()
            return
        self._conditional.prepare()
        if guidance != 1.0:
            self._null.prepare()

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
        grid = check_grid(grid)
        if guidance == 1.0 and self._euler is not None:
            self._euler.begin(context)
            z = noise
            for t0, t1 in pairwise(grid):
                z = self._euler.advance(z, t0, t1 - t0)
            return z
        self._conditional.begin(context)
        if guidance != 1.0:
            query = context[:, :, -1:]
            self._null.begin(np.concatenate([np.zeros_like(query), query], axis=2))
        field = guided(self._conditional.velocity, self._null.velocity, guidance)
        return euler(field, noise, grid)

    def _branch(self, *, null: bool) -> Branch:
        variant, (height, width) = self._backend.variant, self._size
        suffix, pairs = ("_null", None) if null else ("", self._pairs)

        def graph(name: str) -> manifest.Graph:
            return variant.graph(f"{name}{suffix}", height=height, width=width, pairs=pairs)

        common = (self._backend, self._modulation)
        if variant.context == "joint":
            return JointBranch(*common, graph("step"))
        if variant.refresh is not None:
            every = variant.refresh.every
            return RefreshBranch(*common, graph("refresh"), graph("step"), every=every)
        if variant.pairing == "merged":
            return FrozenBranch(*common, graph("context"), None, graph("step"))
        context = None if null else graph("context")
        return FrozenBranch(*common, context, graph("query"), graph("step"))

    def _euler_branch(self) -> JointBranch | None:
        bucket = (*self._size, self._pairs)
        for graph in self._backend.variant.graphs:
            if graph.name == "step_euler" and (graph.height, graph.width, graph.pairs) == bucket:
                return JointBranch(self._backend, self._modulation, graph)
        return None
