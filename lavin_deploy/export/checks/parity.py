"""Does a graph in ONNX Runtime compute what the plain PyTorch model computes?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lavin_deploy.bundle.manifest import Graph
from lavin_deploy.errors import WorkError
from lavin_deploy.export.graphs.spec import Arrays, GraphSpec
from lavin_deploy.runtime.backends.base import Backend

SEEDS = (1, 2)
"""Seeds of the checked inputs; tracing used 0."""
TOLERANCE = 1e-4
"""Largest deviation at fp32, relative to the largest value of the reference."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Inputs of a graph in float32, and its outputs in float32 by name."""

    feed: Arrays
    expected: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Deviation of one output from its reference, relative to the reference's largest value.

    Attributes:
        graph: file of the graph, or ``end-to-end``.
        seed: seed of the inputs.
        max: largest deviation.
        mean: mean deviation.
        p99: 99th percentile.
        rel_l2: norm of the deviation over the norm of the reference.
        worst: index of the largest deviation.
        reference_max: largest absolute value of the reference.
    """

    graph: str
    seed: int
    max: float
    mean: float
    p99: float
    rel_l2: float
    worst: tuple[int, ...]
    reference_max: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)


def compare(graph: str, seed: int, output: NDArray[Any], reference: NDArray[Any]) -> Parity:
    """Measure a deviation.

    Raises:
        WorkError: an output is not finite, has another shape, or deviates by more than allowed.
    """
    if output.shape != reference.shape or not np.isfinite(output).all():
        raise WorkError(
            f"{graph} gave {output.shape} with finite={bool(np.isfinite(output).all())} where the "
            f"model gives {reference.shape}; nothing was exported."
        )
    scale = float(np.abs(reference).max())
    error = np.abs(output.astype(np.float64) - reference) / max(scale, 1e-12)
    worst = np.unravel_index(int(error.argmax()), error.shape)
    row = Parity(
        graph=graph,
        seed=seed,
        max=float(error.max()),
        mean=float(error.mean()),
        p99=float(np.percentile(error, 99)),
        rel_l2=float(np.linalg.norm(error)) * scale / max(float(np.linalg.norm(reference)), 1e-12),
        worst=tuple(int(i) for i in worst),
        reference_max=scale,
    )
    if row.max > TOLERANCE:
        raise WorkError(
            f"{graph} deviates from the model by {row.max:.2e} of its largest value at index "
            f"{row.worst} (seed {seed}); at most {TOLERANCE:.0e} is allowed, nothing was exported."
        )
    return row


def check_graph(backend: Backend, graph: Graph, cases: Sequence[Case]) -> Iterator[Parity]:
    """Compare a float32 graph with what the plain model gave.

    Raises:
        WorkError: it deviates by more than allowed.
    """
    for seed, case in zip(SEEDS, cases, strict=True):
        outputs = backend.infer(graph, case.feed)
        for name, expected in case.expected.items():
            yield compare(f"{graph.file}:{name}", seed, outputs[name], expected)


def cases_of(spec: GraphSpec) -> list[Case]:
    """Seeded inputs other than those of the tracing, and what the plain model makes of them."""
    cases = []
    for seed in SEEDS:
        example = spec.example(seed)
        with torch.no_grad():
            outputs = spec.reference(**example.model_inputs)
        expected = {n: o.numpy() for n, o in zip(spec.outputs, outputs, strict=True)}
        cases.append(Case(feed=example.feed, expected=expected))
    return cases
