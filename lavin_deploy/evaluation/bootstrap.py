"""How sure a mean is: intervals by resampling (Efron, 1979, percentile method)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 5000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean, and the bounds between which 95 % of the means of resamples lie.

    Attributes:
        mean: of the values.
        low: 2.5th percentile.
        high: 97.5th percentile.
        count: number of values.
    """

    mean: float
    low: float
    high: float
    count: int


def interval(values: Sequence[float]) -> Interval | None:
    """Resample values with replacement, always by the same draw; NaN are left out.

    Returns:
        None for fewer than two values.
    """
    numbers = np.array([value for value in values if not np.isnan(value)], np.float64)
    if len(numbers) < 2:
        return None
    drawn = np.random.default_rng(0).integers(0, len(numbers), (RESAMPLES, len(numbers)))
    low, high = np.percentile(numbers[drawn].mean(axis=1), (2.5, 97.5))
    return Interval(
        mean=float(numbers.mean()), low=float(low), high=float(high), count=len(numbers)
    )
