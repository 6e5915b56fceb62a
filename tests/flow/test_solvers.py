"""Solvers against fields whose integrals are known."""

from __future__ import annotations

import numpy as np
import pytest

from lavin_deploy.flow.grids import linear_quadratic, uniform
from lavin_deploy.flow.solvers import Latents, Velocity, euler
from tests.helpers.second_order import heun, midpoint

pytestmark = pytest.mark.unit

SOLVERS = {"euler": euler, "midpoint": midpoint, "heun": heun}
ORDERS = {"euler": 1, "midpoint": 2, "heun": 2}
EVALUATIONS_PER_STEP = ORDERS


class Counting:
    def __init__(self, field: Velocity) -> None:
        self.field = field
        self.calls = 0

    def __call__(self, z: Latents, t: np.float32) -> Latents:
        self.calls += 1
        assert z.dtype == np.float32
        assert isinstance(t, np.float32)
        return self.field(z, t)


def cubic(z: Latents, t: np.float32) -> Latents:
    """v = 3 t^2, so z(1) = z(0) + 1."""
    return np.full_like(z, 3 * t * t)


def decay(z: Latents, t: np.float32) -> Latents:
    """v = -2 z, so z(1) = z(0) e^-2."""
    return np.float32(-2) * z


@pytest.mark.parametrize("name", SOLVERS)
def test_a_constant_field_is_integrated_exactly(name: str) -> None:
    z = np.array([[1.0, -2.0]], np.float32)
    direction = np.array([[0.5, 4.0]], np.float32)
    for grid in (uniform(1), uniform(4), linear_quadratic(20)):
        end = SOLVERS[name](lambda z, t: direction, z, grid)
        assert end.dtype == np.float32
        np.testing.assert_allclose(end, z + direction, rtol=5e-7)


def test_one_euler_step_lands_on_the_data() -> None:
    rng = np.random.default_rng(0)
    noise, data = rng.normal(size=(2, 1, 16, 1, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(
        euler(lambda z, t: data - noise, noise, uniform(1)), data, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "tolerance"), [("euler", 8e-3), ("midpoint", 1e-5), ("heun", 1e-5)]
)
def test_three_t_squared_gives_t_cubed(name: str, tolerance: float) -> None:
    z = np.zeros((2, 3), np.float32)
    end = SOLVERS[name](cubic, z, uniform(256))
    np.testing.assert_allclose(end, 1.0, atol=tolerance)
    assert not z.any()


def test_euler_of_three_t_squared_is_the_left_riemann_sum() -> None:
    n = 8
    left_sum = 3 * sum((i / n) ** 2 for i in range(n)) / n
    end = euler(cubic, np.zeros(1, np.float32), uniform(n))
    np.testing.assert_allclose(end, left_sum, rtol=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_order_of_convergence_on_a_linear_equation(name: str) -> None:
    start = np.ones(1, np.float32)
    errors = [
        abs(float(SOLVERS[name](decay, start, uniform(n))[0]) - np.exp(-2.0)) for n in (8, 16, 32)
    ]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    np.testing.assert_allclose(orders, ORDERS[name], atol=0.35)


@pytest.mark.parametrize("name", SOLVERS)
def test_evaluations_are_what_the_table_says(name: str) -> None:
    field = Counting(decay)
    SOLVERS[name](field, np.ones(1, np.float32), uniform(5))
    assert field.calls == 5 * EVALUATIONS_PER_STEP[name]
