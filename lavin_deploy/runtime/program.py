"""An answer as a list of operations on named buffers: what a device does, decided without one.

One program serves one size, number of pairs, time grid and guidance weight. Constants (the rows of
the folded timestep, the noise, the latents of the pairs) are uploaded once; ``once`` runs after
that, ``encode``, ``sample`` and ``decode`` for every frame. Nothing but the picture goes up and
nothing but the picture and the latents come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np

from lavin_deploy.errors import BundleError
from lavin_deploy.flow.grids import Grid
from lavin_deploy.manifest import Graph, Latent, Tensor, Variant
from lavin_deploy.runtime.velocity import CLEAN

ALIGNMENT = 256
"""Bytes: TensorRT wants the addresses of its tensors so."""

ROWS, NOISE, LATENT, MEAN, PIXELS, ANSWER = "rows", "noise", "latent", "mean", "pixels", "answer"
CONTEXT, NULL_CONTEXT, QUERY, UNSCALED = "context", "null_context", "query", "unscaled"
VELOCITY, NULL_VELOCITY = "velocity", "null_velocity"


@dataclass(frozen=True)
class Place:
    """Bytes from ``offset`` on in a buffer."""

    buffer: str
    offset: int = 0


@dataclass(frozen=True)
class Run:
    """An engine, and where its inputs and outputs are."""

    graph: Graph
    tensors: Mapping[str, Place]


@dataclass(frozen=True)
class Copy:
    """A copy of so many bytes."""

    target: Place
    source: Place
    size: int


@dataclass(frozen=True, kw_only=True)
class Affine:
    """``(x + add) * factor + shift``; see :meth:`Device.affine`."""

    target: Place
    source: Place
    channels: int
    length: int
    stride: int
    add: float = 0.0
    factor: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Update:
    """An Euler step; see :meth:`Device.update`."""

    z: Place
    velocity: Place
    null: Place
    weight: float
    span: float
    length: int


Operation = Run | Copy | Affine | Update
Places = Mapping[str, str | Place]
"""Of tensors by name: the beginning of a buffer, or a place."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a device does for one answer after the other.

    Attributes:
        buffers: bytes of each.
        times: (steps,) float32, the times whose rows ``rows`` holds, one every ``row_stride``
            bytes; after them, for a frozen context, the row of the clean time.
        row_stride: bytes between rows.
        once: after the constants are there: what the pairs alone decide.
        encode: from ``pixels`` to the query's latent.
        sample: from ``noise`` to ``latent``.
        decode: from ``latent`` to ``answer``.
    """

    buffers: Mapping[str, int]
    times: tuple[np.float32, ...]
    row_stride: int
    once: tuple[Operation, ...]
    encode: tuple[Operation, ...]
    sample: tuple[Operation, ...]
    decode: tuple[Operation, ...]

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """Every graph that is run, each once."""
        found = {}
        for operation in (*self.once, *self.encode, *self.sample, *self.decode):
            if isinstance(operation, Run):
                found[operation.graph.file] = operation.graph
        return tuple(found.values())

    def offsets(self) -> tuple[dict[str, int], int]:
        """Lay the buffers one behind the other: each one's offset, and the bytes of all."""
        found, end = {}, 0
        for name, size in self.buffers.items():
            found[name] = end
            end += aligned(size)
        return found, end


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
        self._size, self._pairs = (height, width), pairs
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
        encoder, decoder = self._graph("encoder"), self._graph("decoder")
        inputs = {tensor.name: tensor for tensor in self._graph("step", pairs=True).inputs}
        if "modulation" not in inputs:
            raise BundleError(
                "the step graph takes the time itself, not a row of the folded timestep, which a "
                "loop on the device needs; export without --without."
            )
        self._row_stride = aligned(tensor_bytes(inputs["modulation"]))
        times = (*(np.float32(t) for t in grid[:-1]), CLEAN)
        self._need(ROWS, self._row_stride * len(times))
        self._need(NOISE, self._latent_bytes(1))
        self._need(LATENT, self._latent_bytes(1))
        branches = [self._branch(null=False)]
        if guidance != 1.0:
            branches.append(self._branch(null=True))
        once = tuple(branches[0].once(len(times) - 1))
        encode: list[Operation] = [
            self._run(encoder, {"pixels": PIXELS}, {"mean": MEAN}),
            *(operation for branch in branches for operation in branch.place_query()),
        ]
        sample: list[Operation] = [Copy(Place(LATENT), Place(NOISE), self._latent_bytes(1))]
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
            self._affine(
                Place(UNSCALED),
                Place(LATENT),
                factor=1.0 / self._latent.scale,
                shift=self._latent.shift,
            ),
            self._run(decoder, {"latents": UNSCALED}, {"pixels": ANSWER}),
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
        return _Frozen(self, null=null)

    def _graph(self, name: str, *, pairs: bool = False) -> Graph:
        height, width = self._size
        return self._variant.graph(
            name, height=height, width=width, pairs=self._pairs if pairs else None
        )

    def _need(self, name: str, size: int) -> Place:
        assert self._buffers.setdefault(name, size) == size, f"{name} is used in two sizes"
        return Place(name)

    def _run(self, graph: Graph, inputs: Places, outputs: Mapping[str, str]) -> Run:
        """A run with its tensors in buffers of the right sizes; a Place is taken as it is."""
        tensors = {}
        for spec in (*graph.inputs, *graph.outputs):
            where = (inputs if spec in graph.inputs else outputs)[spec.name]
            tensors[spec.name] = (
                where if isinstance(where, Place) else self._need(where, tensor_bytes(spec))
            )
        return Run(graph, tensors)

    def _row(self, step: int) -> Place:
        return Place(ROWS, step * self._row_stride)

    def _latent_bytes(self, frames: int) -> int:
        return 4 * self._latent.channels * frames * self._cells

    def _affine(self, target: Place, source: Place, *, frames: int = 1, **numbers: float) -> Affine:
        """Into one frame of a tensor (1, 16, frames, h, w), the one at ``target``."""
        self._need(target.buffer, self._latent_bytes(frames))
        return Affine(
            target=target,
            source=source,
            channels=self._latent.channels,
            length=self._cells,
            stride=frames * self._cells,
            **numbers,
        )

    def _scaled_query(self, buffer: str, frames: int) -> Affine:
        """The encoder's mean, scaled, as the last frame of a context."""
        place = Place(buffer, 4 * (frames - 1) * self._cells)
        add, factor = -self._latent.shift, self._latent.scale
        return self._affine(place, Place(MEAN), frames=frames, add=add, factor=factor)


class _Branch:
    """One branch of guidance, as operations."""

    def __init__(self, planner: Planner, *, null: bool) -> None:
        self._planner, self._null = planner, null
        self._suffix = "_null" if null else ""
        self._out = NULL_VELOCITY if null else VELOCITY

    def graph(self, name: str) -> Graph:
        return self._planner._graph(name + self._suffix, pairs=not self._null)

    def once(self, clean: int) -> Sequence[Operation]:
        return ()

    def place_query(self) -> Sequence[Operation]:
        raise NotImplementedError

    def begin(self, clean: int) -> Sequence[Operation]:
        return ()

    def velocity(self, step: int) -> Run:
        raise NotImplementedError

    def known(self, graph: Graph, prefix: str = "") -> dict[str, str]:
        """Keys and values of a graph's inputs or outputs, by buffers of this branch."""
        names = [spec.name for spec in (*graph.inputs, *graph.outputs)]
        return {name: f"{prefix}{name}{self._suffix}" for name in names if name[:2] in ("k.", "v.")}


class _Joint(_Branch):
    def place_query(self) -> Sequence[Operation]:
        frames = 2 if self._null else 2 * self._planner._pairs + 1
        return [self._planner._scaled_query(NULL_CONTEXT if self._null else CONTEXT, frames)]

    def velocity(self, step: int) -> Run:
        context = NULL_CONTEXT if self._null else CONTEXT
        row = self._planner._row(step)
        given: Places = {"latent": LATENT, "context": context, "modulation": row}
        return self._planner._run(self.graph("step"), given, {"velocity": self._out})


class _Refresh(_Joint):
    def __init__(self, planner: Planner, *, null: bool, every: int) -> None:
        super().__init__(planner, null=null)
        self._every = every

    def velocity(self, step: int) -> Run:
        planner, row = self._planner, self._planner._row(step)
        if step % self._every == 0:
            graph = self.graph("refresh")
            context = NULL_CONTEXT if self._null else CONTEXT
            given: Places = {"latent": LATENT, "context": context, "modulation": row}
            return planner._run(graph, given, {"velocity": self._out, **self.known(graph)})
        graph = self.graph("step")
        given = {"latent": LATENT, "modulation": row, **self.known(graph)}
        return planner._run(graph, given, {"velocity": self._out})


class _Frozen(_Branch):
    def once(self, clean: int) -> Sequence[Operation]:
        graph = self.graph("context")
        given: Places = {"context": CONTEXT, "modulation": self._planner._row(clean)}
        return [self._planner._run(graph, given, self.known(graph, "pair_"))]

    def place_query(self) -> Sequence[Operation]:
        return [] if self._null else [self._planner._scaled_query(QUERY, 1)]

    def begin(self, clean: int) -> Sequence[Operation]:
        graph = self.graph("query")
        pairs = {f"pair_{name}": f"pair_{name}" for name in self.known(graph)}
        given: Places = {"query": QUERY, "modulation": self._planner._row(clean), **pairs}
        return [self._planner._run(graph, given, self.known(graph))]

    def velocity(self, step: int) -> Run:
        graph = self.graph("step")
        row = self._planner._row(step)
        given: Places = {"latent": LATENT, "modulation": row, **self.known(graph)}
        return self._planner._run(graph, given, {"velocity": self._out})


def tensor_bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor."""
    return prod(tensor.shape) * (
        2 if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype).itemsize
    )


def aligned(size: int) -> int:
    """Round bytes up to ``ALIGNMENT``."""
    return -(-size // ALIGNMENT) * ALIGNMENT
