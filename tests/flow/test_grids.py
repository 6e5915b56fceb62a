from __future__ import annotations

import numpy as np
import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.flow.grids import check_grid, grid_for, linear_quadratic, uniform

pytestmark = pytest.mark.unit

# The grid that the released implementation used for the golden vectors, as float32.
GOLDEN_20 = [
    *(0.0, 0.0056, 0.0111, 0.0167, 0.0222, 0.0278, 0.0333, 0.0389, 0.0444, 0.05),
    *(0.0524, 0.073, 0.1148, 0.1777, 0.2618, 0.3671, 0.4936, 0.6412, 0.81, 1.0),
]


def test_the_released_grid_is_bit_equal_to_the_golden_one() -> None:
    grid = linear_quadratic(20)
    assert grid.dtype == np.float32
    np.testing.assert_array_equal(grid, np.array(GOLDEN_20, np.float32))


@pytest.mark.parametrize("points", [4, 6, 20, 30, 40, 100])
def test_linear_quadratic_follows_its_formula(points: int) -> None:
    grid = linear_quadratic(points, released=False).astype(np.float64)
    half = points // 2
    u = np.linspace(1 / points, 1, half)
    np.testing.assert_allclose(grid[:half], np.linspace(0, 0.05, half), atol=1e-8)
    np.testing.assert_allclose(grid[half:], 0.05 + 0.95 * u**2, atol=1e-7)
    assert (np.diff(grid) > 0).all()


@pytest.mark.parametrize("points", [20, 30, 40])
def test_released_tables_have_four_decimals(points: int) -> None:
    exact = linear_quadratic(points, released=False)
    rounded = linear_quadratic(points)
    np.testing.assert_array_equal(rounded, np.round(exact.astype(np.float64), 4).astype(np.float32))
    assert (rounded != exact).any()
    assert (np.diff(rounded) > 0).all()


def test_other_sizes_are_never_rounded() -> None:
    np.testing.assert_array_equal(linear_quadratic(22), linear_quadratic(22, released=False))


@pytest.mark.parametrize("points", [0, 2, 3, 19])
def test_linear_quadratic_refuses_other_sizes(points: int) -> None:
    with pytest.raises(InputError, match="even number from 4"):
        linear_quadratic(points)


@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_uniform_steps_are_equal(steps: int) -> None:
    grid = uniform(steps)
    assert grid.shape == (steps + 1,)
    assert grid[0] == 0
    assert grid[-1] == 1
    np.testing.assert_allclose(np.diff(grid), 1 / steps, rtol=1e-5)


def test_grid_for_counts_evaluations() -> None:
    np.testing.assert_array_equal(grid_for(19, "linear-quadratic"), linear_quadratic(20))
    assert grid_for(3, "linear-quadratic").shape == (4,)
    np.testing.assert_array_equal(grid_for(1, "uniform"), [0, 1])


@pytest.mark.parametrize(
    ("steps", "nearest"), [(1, "nearest is 3"), (2, "nearest is 3"), (20, "nearest is 19 or 21")]
)
def test_even_linear_quadratic_steps_name_the_nearest(steps: int, nearest: str) -> None:
    with pytest.raises(InputError, match=nearest):
        grid_for(steps, "linear-quadratic")


def test_grid_for_refuses_unknown_kinds_and_counts() -> None:
    with pytest.raises(InputError, match="Did you mean 'uniform'"):
        grid_for(4, "unifrom")
    for steps in (0, -1, 2.5, True):
        with pytest.raises(InputError, match="at least 1"):
            grid_for(steps, "uniform")  # type: ignore[arg-type]


def test_check_grid_keeps_a_good_grid() -> None:
    np.testing.assert_array_equal(check_grid(GOLDEN_20), linear_quadratic(20))
    np.testing.assert_array_equal(check_grid([0, 1]), [0, 1])


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0], "at least two"),
        ([[0.0, 1.0]], "shape"),
        ([0.0, float("nan"), 1.0], "not finite"),
        ([0.1, 1.0], "runs from 0.1 to 1"),
        ([0.0, 0.9], "runs from 0 to 0.9"),
        ([0.0, 0.5, 0.5, 1.0], "points 1 and 2"),
        ([0.0, 0.5, 0.50000000001, 1.0], "in float32"),
        (["a", "b"], "list of numbers"),
        ([0.0, [1.0]], "list of numbers"),
    ],
)
def test_check_grid_says_what_is_wrong(times: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_grid(times)
