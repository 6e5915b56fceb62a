"""Intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from lavin_deploy.evaluation.bootstrap import interval

pytestmark = pytest.mark.unit


def test_the_interval_of_a_normal_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    estimate = interval(values)
    assert estimate is not None
    assert estimate.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert interval(values) == estimate


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        estimate = interval(rng.exponential(1.0, 60))
        assert estimate is not None
        covered += estimate.low <= 1.0 <= estimate.high
    assert 85 <= covered <= 99


def test_what_cannot_be_resampled() -> None:
    assert interval([]) is None
    assert interval([1.0, float("nan")]) is None
    estimate = interval([1.0, float("nan"), 3.0])
    assert estimate is not None
    assert (estimate.mean, estimate.count) == (2.0, 2)
