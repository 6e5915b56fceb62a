"""Writes the program of one size, number of pairs, time grid and guidance weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from lavin_deploy.bundle.manifest import Graph, Latent, Variant
from lavin_deploy.errors import BundleError
from lavin_deploy.flow.grids import CLEAN, Grid
from lavin_deploy.runtime.device.program import (
    ANSWER,
    CONTEXT,
    LATENT,
    MEAN,
    NOISE,
    NULL_CONTEXT,
    NULL_VELOCITY,
    PIXELS,
    QUERY,
    ROWS,
    UNSCALED,
    VELOCITY,
    Affine,
    Copy,
    Operation,
    Place,
    Places,
    Program,
    Run,
    Update,
    aligned,
    tensor_bytes,
)


class Planner:
    """Writes the program of one size and number of pairs.

    Args:
        variant: whose graphs are run.
        latent: of the manifest.
        height: pixels.
        width: pixels.
        pairs: example pairs in the context.

    Raises:
        BundleError: the variant has no graphs for them.
    """

    def __init__(
        self, variant: Variant, latent: Latent, *, height: int, width: int, pairs: int
    ) -> None:
        self._variant, self._latent = variant, latent
        self._size, self.pairs = (height, width), pairs
        self._cells = height * width // latent.downsample**2
        self._buffers: dict[str, int] = {}
        self._row_stride = 0

    def program(self, grid: Grid, guidance: float) -> Program:
        """Return the program for a time grid, 0 to 1, and a guidance weight.

        Args:
            grid: (steps + 1,) float32, checked.
            guidance: weight w; at 1 nothing of the null branch is run.

        Raises:
            BundleError: the graphs lack the folded timestep.
        """
        self._buffers = {}
        encoder, decoder = self.graph("encoder"), self.graph("decoder")
        inputs = {tensor.name: tensor for tensor in self.graph("step", pairs=True).inputs}
        if "modulation" not in inputs:
            raise BundleError(
                "the step graph takes the time itself, not a row of the folded timestep, which a "
                "loop on the device needs; export without --without."
            )
        self._row_stride = aligned(tensor_bytes(inputs["modulation"]))
        times = (*(np.float32(t) for t in grid[:-1]), CLEAN)
        self.need(ROWS, self._row_stride * len(times))
        self.need(NOISE, self.latent_bytes(1))
        self.need(LATENT, self.latent_bytes(1))
        branches = [self._branch(null=False)]
        if guidance != 1.0:
            branches.append(self._branch(null=True))
        once = tuple(each for branch in branches for each in branch.once(len(times) - 1))
        encode: list[Operation] = [
            self.run(encoder, {"pixels": PIXELS}, {"mean": MEAN}),
            *(operation for branch in branches for operation in branch.place_query()),
        ]
        sample: list[Operation] = [Copy(Place(LATENT), Place(NOISE), self.latent_bytes(1))]
        for branch in branches:
            sample += branch.begin(len(times) - 1)
        for step, (t0, t1) in enumerate(pairwise(grid)):
            for branch in branches:
                sample.append(branch.velocity(step))
            sample.append(
                Update(
                    z=Place(LATENT),
                    velocity=Place(VELOCITY),
                    null=Place(NULL_VELOCITY if guidance != 1.0 else VELOCITY),
                    weight=float(guidance),
                    span=float(np.float32(t1 - t0)),
                    length=self._latent.channels * self._cells,
                )
            )
        decode: list[Operation] = [
            self.affine(
                Place(UNSCALED),
                Place(LATENT),
                factor=1.0 / self._latent.scale,
                shift=self._latent.shift,
            ),
            self.run(decoder, {"latents": UNSCALED}, {"pixels": ANSWER}),
        ]
        return Program(
            buffers=dict(self._buffers),
            times=times,
            row_stride=self._row_stride,
            once=once,
            encode=tuple(encode),
            sample=tuple(sample),
            decode=tuple(decode),
        )

    def _branch(self, *, null: bool) -> _Branch:
        if self._variant.context == "joint":
            return _Joint(self, null=null)
        if self._variant.refresh is not None:
            return _Refresh(self, null=null, every=self._variant.refresh.every)
        return (_Merged if self.merged else _Frozen)(self, null=null)

    @property
    def merged(self) -> bool:
        """Whether a step on keys and values takes the query too."""
        return self._variant.pairing == "merged"

    def graph(self, name: str, *, pairs: bool = False) -> Graph:
        """The graph of that name for the size, and for the number of pairs where it has one."""
        height, width = self._size
        return self._variant.graph(
            name, height=height, width=width, pairs=self.pairs if pairs else None
        )

    def need(self, name: str, size: int) -> Place:
        """A buffer of so many bytes."""
        assert self._buffers.setdefault(name, size) == size, f"{name} is used in two sizes"
        return Place(name)

    def run(self, graph: Graph, inputs: Places, outputs: Mapping[str, str]) -> Run:
        """A run with its tensors in buffers of the right sizes; a Place is taken as it is."""
        tensors = {}
        for spec in (*graph.inputs, *graph.outputs):
            where = (inputs if spec in graph.inputs else outputs)[spec.name]
            tensors[spec.name] = (
                where if isinstance(where, Place) else self.need(where, tensor_bytes(spec))
            )
        return Run(graph, tensors)

    def row(self, step: int) -> Place:
        """Where the row of a step's time is."""
        return Place(ROWS, step * self._row_stride)

    def latent_bytes(self, frames: int) -> int:
        """Bytes of a latent (1, 16, frames, h, w) float32."""
        return 4 * self._latent.channels * frames * self._cells

    def affine(self, target: Place, source: Place, *, frames: int = 1, **numbers: float) -> Affine:
        """Into one frame of a tensor (1, 16, frames, h, w), the one at ``target``."""
        self.need(target.buffer, self.latent_bytes(frames))
        return Affine(
            target=target,
            source=source,
            channels=self._latent.channels,
            length=self._cells,
            stride=frames * self._cells,
            **numbers,
        )

    def scaled_query(self, buffer: str, frames: int) -> Affine:
        """The encoder's mean, scaled, as the last frame of a context."""
        place = Place(buffer, 4 * (frames - 1) * self._cells)
        add, factor = -self._latent.shift, self._latent.scale
        return self.affine(place, Place(MEAN), frames=frames, add=add, factor=factor)


class _Branch:
    """One branch of guidance, as operations."""

    def __init__(self, planner: Planner, *, null: bool) -> None:
        self._planner, self._null = planner, null
        self._suffix = "_null" if null else ""
        self._out = NULL_VELOCITY if null else VELOCITY

    def graph(self, name: str) -> Graph:
        return self._planner.graph(name + self._suffix, pairs=not self._null)

    def once(self, clean: int) -> Sequence[Operation]:
        return ()

    def place_query(self) -> Sequence[Operation]:
        raise NotImplementedError

    def begin(self, clean: int) -> Sequence[Operation]:
        return ()

    def velocity(self, step: int) -> Run:
        raise NotImplementedError

    def step(self, row: Place) -> Run:
        """A step on this branch's keys and values, and on the query where it takes it."""
        graph = self.graph("step")
        query = {"query": QUERY} if self._planner.merged else {}
        feed: Places = {"latent": LATENT, "modulation": row, **query, **self.keys_values(graph)}
        return self._planner.run(graph, feed, {"velocity": self._out})

    def keys_values(self, graph: Graph, prefix: str = "") -> dict[str, str]:
        """Keys and values of a graph's inputs or outputs, by buffers of this branch."""
        names = [spec.name for spec in (*graph.inputs, *graph.outputs)]
        return {name: f"{prefix}{name}{self._suffix}" for name in names if name[:2] in ("k.", "v.")}


class _Joint(_Branch):
    def place_query(self) -> Sequence[Operation]:
        frames = 2 if self._null else 2 * self._planner.pairs + 1
        return [self._planner.scaled_query(NULL_CONTEXT if self._null else CONTEXT, frames)]

    def velocity(self, step: int) -> Run:
        context = NULL_CONTEXT if self._null else CONTEXT
        row = self._planner.row(step)
        feed: Places = {"latent": LATENT, "context": context, "modulation": row}
        return self._planner.run(self.graph("step"), feed, {"velocity": self._out})


class _Refresh(_Joint):
    def __init__(self, planner: Planner, *, null: bool, every: int) -> None:
        super().__init__(planner, null=null)
        self._every = every

    def place_query(self) -> Sequence[Operation]:
        # Apart too, for the steps that take it beside keys and values; one for both branches.
        apart = self._planner.merged and not self._null
        query = [self._planner.scaled_query(QUERY, 1)] if apart else []
        return [*super().place_query(), *query]

    def velocity(self, step: int) -> Run:
        planner, row = self._planner, self._planner.row(step)
        if step % self._every == 0:
            graph = self.graph("refresh")
            context = NULL_CONTEXT if self._null else CONTEXT
            feed: Places = {"latent": LATENT, "context": context, "modulation": row}
            return planner.run(graph, feed, {"velocity": self._out, **self.keys_values(graph)})
        return self.step(row)


class _Frozen(_Branch):
    def once(self, clean: int) -> Sequence[Operation]:
        if self._null:
            return []
        graph = self.graph("context")
        feed: Places = {"context": CONTEXT, "modulation": self._planner.row(clean)}
        return [self._planner.run(graph, feed, self.keys_values(graph, "pair_"))]

    def place_query(self) -> Sequence[Operation]:
        return [] if self._null else [self._planner.scaled_query(QUERY, 1)]

    def begin(self, clean: int) -> Sequence[Operation]:
        graph = self.graph("query")
        pairs = {f"pair_{name}": f"pair_{name}" for name in self.keys_values(graph)}
        feed: Places = {"query": QUERY, "modulation": self._planner.row(clean), **pairs}
        return [self._planner.run(graph, feed, self.keys_values(graph))]

    def velocity(self, step: int) -> Run:
        return self.step(self._planner.row(step))


class _Merged(_Frozen):
    def once(self, clean: int) -> Sequence[Operation]:
        graph = self.graph("context")
        context = NULL_CONTEXT if self._null else CONTEXT
        feed: Places = {"context": context, "modulation": self._planner.row(clean)}
        return [self._planner.run(graph, feed, self.keys_values(graph))]

    def begin(self, clean: int) -> Sequence[Operation]:
        return []  # the query goes into each step
