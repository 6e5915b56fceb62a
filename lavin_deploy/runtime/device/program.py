"""An answer as a list of operations on named buffers: what a device does, decided without one.

One program serves one size, number of pairs, time grid and guidance weight. Constants (the
precomputed modulation for each timestep, the noise, the latents of the pairs) are uploaded once;
``once`` runs after that, ``encode``, ``sample`` and ``decode`` for every frame. Nothing but the
picture goes up and nothing but the picture and the latents come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from lavin_deploy.bundle.manifest import Graph, Tensor

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
        graphs = {}
        for operation in (*self.once, *self.encode, *self.sample, *self.decode):
            if isinstance(operation, Run):
                graphs[operation.graph.file] = operation.graph
        return tuple(graphs.values())

    def offsets(self) -> tuple[dict[str, int], int]:
        """Lay the buffers one behind the other: each one's offset, and the bytes of all."""
        offsets, end = {}, 0
        for name, size in self.buffers.items():
            offsets[name] = end
            end += aligned(size)
        return offsets, end


def tensor_bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor."""
    return prod(tensor.shape) * (
        2 if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype).itemsize
    )


def aligned(size: int) -> int:
    """Round bytes up to ``ALIGNMENT``."""
    return -(-size // ALIGNMENT) * ALIGNMENT
