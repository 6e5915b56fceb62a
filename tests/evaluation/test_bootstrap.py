"""Intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from lavin_deploy.evaluation.bootstrap import interval

pytestmark = pytest.mark.unit


def test_the_interval_of_a_normal_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = interval(values)
    assert found is not None
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert interval(values) == found


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        found = interval(rng.exponential(1.0, 60))
        assert found is not None
        covered += found.low <= 1.0 <= found.high
    assert 85 <= covered <= 99


def test_what_cannot_be_resampled() -> None:
    assert interval([]) is None
    assert interval([1.0, float("nan")]) is None
    found = interval([1.0, float("nan"), 3.0])
    assert found is not None
    assert (found.mean, found.count) == (2.0, 2)
