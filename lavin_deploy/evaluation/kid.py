"""KID: how far apart two sets of pictures are in the features of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lavin_deploy.arrays import F64, U8

SPLITS = 20
LEAST = 4
"""Samples from which on there are two of each half."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """What pictures are compared by.

    Attributes:
        name: of network and layer, as it stands in reports.
        extract: from a picture (H, W, 3) uint8 to its features (D,) float64.
    """

    name: str
    extract: Callable[[U8], F64]


@dataclass(frozen=True, kw_only=True)
class KernelDistance:
    """Mean and standard deviation of the distance over the splits."""

    mean: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class KidResult:
    """Distances of sets of answers from truths.

    Attributes:
        features: their name.
        samples: number N of each set.
        floor: of the truths of one half of the samples from those of the other.
        rows: by row, of its answers to the first half from the truths of the second, over the
            same halves; perfect answers have the floor.
    """

    features: str
    samples: int
    floor: KernelDistance
    rows: Mapping[str, KernelDistance]


def squared_mmd(first: F64, second: F64) -> float:
    """Estimate the squared maximum mean discrepancy without bias (Binkowski et al., 2018, eq. 4).

    The kernel is k(x, y) = (x . y / D + 1)^3. The estimate can be below zero.

    Args:
        first: (M, D) features of M pictures, two or more.
        second: (N, D), of other pictures.
    """
    (m, width), n = first.shape, len(second)
    own, other, both = (
        (a @ b.T / width + 1) ** 3 for a, b in ((first, first), (second, second), (first, second))
    )
    within = (own.sum() - own.trace()) / (m * (m - 1))
    within += (other.sum() - other.trace()) / (n * (n - 1))
    return float(within - 2 * both.mean())


def compare(name: str, truths: F64, answers: Mapping[str, F64]) -> KidResult | None:
    """Measure sets of answers to the same queries.

    Answers are never compared with their own truths, which would favour them: each of ``SPLITS``
    random halvings takes the answers of one half and the truths of the other.

    Args:
        name: of the features.
        truths: (N, D) features.
        answers: by row, (N, D) features in the same order.

    Returns:
        None for fewer than ``LEAST`` samples.
    """
    count = len(truths)
    if count < LEAST:
        return None
    rng = np.random.default_rng(0)
    halves = [np.split(rng.permutation(count), [count // 2]) for _ in range(SPLITS)]

    def distance(features: F64) -> KernelDistance:
        estimates = [squared_mmd(features[one], truths[two]) for one, two in halves]
        return KernelDistance(mean=float(np.mean(estimates)), spread=float(np.std(estimates)))

    return KidResult(
        features=name,
        samples=count,
        floor=distance(truths),
        rows={row: distance(features) for row, features in answers.items()},
    )
