from __future__ import annotations

import numpy as np
import pytest

from lavin_deploy.evaluation.kid import LEAST, compare, squared_mmd

pytestmark = pytest.mark.unit


def normal(seed: int, count: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, 8))


def test_the_estimate_equals_the_double_sums() -> None:
    first, second = normal(0, 6), normal(1, 9, 0.5)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (float(sum(a * b for a, b in zip(x, y, strict=True))) / 8 + 1) ** 3

    def within(each: np.ndarray) -> float:
        n = len(each)
        total = sum(k(each[i], each[j]) for i in range(n) for j in range(n) if i != j)
        return total / (n * (n - 1))

    across = sum(k(x, y) for x in first for y in second) / (6 * 9)
    expected = within(first) + within(second) - 2 * across
    assert squared_mmd(first, second) == pytest.approx(expected, rel=1e-12)


def test_sets_of_one_distribution_are_about_zero_apart_without_bias() -> None:
    small = [squared_mmd(normal(2 * i, 10), normal(2 * i + 1, 10)) for i in range(400)]
    error = np.std(small) / 20
    assert abs(np.mean(small)) < 3 * error < 0.1
    assert min(small) < 0
    assert abs(squared_mmd(normal(0, 2000), normal(1, 2000))) < 0.01
    assert squared_mmd(normal(0, 200), normal(1, 200, 0.5)) > 0.3


def test_perfect_answers_have_the_floor_and_worse_ones_more() -> None:
    truths = normal(0, 60)
    answers = {"perfect": truths.copy(), "near": normal(1, 60, 0.3), "far": normal(2, 60, 1.0)}
    result = compare("eight numbers", truths, answers)
    assert result is not None
    assert result.features == "eight numbers"
    assert result.samples == 60
    assert result.rows["perfect"] == result.floor
    assert abs(result.floor.mean) < result.floor.spread
    assert result.floor.mean < result.rows["near"].mean < result.rows["far"].mean
    assert compare("eight numbers", truths[: LEAST - 1], {}) is None
