"""What every back end does: run a bundle's graphs between ``activate`` and ``deactivate``.

No type of a vendor's library appears here, so that ONNX Runtime, TensorRT and a reference in torch
serve the same sampler. The contract follows NVIDIA Polygraphy's runners.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from lavin_deploy.arrays import F32, U8, Array
from lavin_deploy.bundle.manifest import Graph, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.errors import InputError
from lavin_deploy.flow.grids import Grid
from lavin_deploy.flow.solvers import Latents

Row = Callable[[np.float32], F32]
"""The (1, R) float32 row of precomputed modulation for a time."""


class Frames(Protocol):
    """Answers frames of one size under one context."""

    def answer(self, picture: U8) -> tuple[Latents, U8, Mapping[str, float]]:
        """Latents, the target and seconds by stage for a picture of the size; in seconds."""


class Backend(ABC):
    """Runs the graphs of one variant of an open bundle; one thread at a time.

    A context manager; graphs run only while it is active. Outputs are arrays of the caller's own
    and never alias memory of the back end.

    Attributes:
        name: what ``load(backend=...)`` calls it.
        bundle: where the graphs come from; it stays open and belongs to the caller.
        variant: the precision and dialect that is run.
        choice: what ``auto`` chose and why, in a line; empty where the back end was asked for.
    """

    name: str
    choice: str = ""

    def __init__(self, bundle: Bundle, variant: Variant) -> None:
        self.bundle = bundle
        self.variant = variant

    def __enter__(self) -> Self:
        self.activate()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.deactivate()

    @abstractmethod
    def activate(self) -> None:
        """Take what running needs; calling it twice does nothing."""

    @abstractmethod
    def deactivate(self) -> None:
        """Give everything back; calling it twice does nothing."""

    @abstractmethod
    def describe(self) -> str:
        """Return library, version, device and threads in one line for logs."""

    @abstractmethod
    def prepare(self, graph: Graph) -> None:
        """Load one graph now rather than when it first runs.

        Raises:
            BundleError: it cannot be loaded.
        """

    @abstractmethod
    def infer_impl(self, graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Compute; ``feed`` was validated and is contiguous."""

    def infer(self, graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one graph.

        Args:
            graph: one of ``variant.graphs``.
            feed: an array for each input, of exactly the dtype and shape of its specification.

        Returns:
            An array for each output, by name.

        Raises:
            InputError: a name, dtype or shape in ``feed`` is not the graph's.
            BundleError: the graph cannot be loaded.
            WorkError: the computation failed.
        """
        return self.infer_impl(graph, _validated(graph, feed))

    def resident(
        self,
        row: Row,
        *,
        size: tuple[int, int],
        pairs: Latents,
        noise: Latents,
        grid: Grid,
        guidance: float,
    ) -> Frames | None:
        """Return what answers pictures without leaving the device; None where nothing does.

        Args:
            row: gives the (1, R) float32 row of modulation of a time.
            size: (height, width) in pixels.
            pairs: (1, 16, 2 pairs, h, w) float32 scaled, the context without the query.
            noise: (1, 16, 1, h, w) float32.
            grid: (steps + 1,) float32 from 0 to 1.
            guidance: weight w.

        Raises:
            BundleError: an engine is missing or does not fit.
        """
        return None

    def infer_one(self, graph: Graph, **feed: Array) -> Array:
        """Run a graph with one output and return that output; errors as :meth:`infer`."""
        (output,) = self.infer(graph, feed).values()
        return output


def _validated(graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
    expected = {spec.name: spec for spec in graph.inputs}
    if feed.keys() != expected.keys():
        raise InputError(
            f"the graph {graph.name!r} takes the inputs {sorted(expected)}; given: {sorted(feed)}."
        )
    for name, spec in expected.items():
        array = feed[name]
        if array.dtype != np.dtype(spec.dtype) or array.shape != spec.shape:
            raise InputError(
                f"the input {name!r} of the graph {graph.name!r} is {spec.dtype} {spec.shape}; "
                f"given: {array.dtype} {array.shape}."
            )
    return {name: np.ascontiguousarray(feed[name]) for name in expected}
