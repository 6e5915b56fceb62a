"""Solvers of ``dz/dt = v(z, t)`` from t = 0 (noise) to t = 1 (data) over a given grid.

Cost in evaluations of the velocity for a grid of n intervals: ``euler`` n (first order),
``midpoint`` 2 n and ``heun`` 2 n (both second order). All arithmetic is float32.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.flow.grids import Grid

Latents = NDArray[np.float32]
Velocity = Callable[[Latents, np.float32], Latents]
"""``velocity(z, t) -> v``: z and v of one shape, float32; t is the float32 instant."""

EVALUATIONS_PER_STEP = {"euler": 1, "midpoint": 2, "heun": 2}
"""Evaluations of the velocity for one interval of the grid, by solver."""


def euler(velocity: Velocity, z: Latents, grid: Grid) -> Latents:
    """Integrate with one evaluation for each interval: ``z += (t1 - t0) v(z, t0)``.

    Args:
        velocity: the field.
        z: float32 of any shape, the state at ``grid[0]``; it is not changed.
        grid: (n + 1,) float32, increasing.

    Returns:
        The state at ``grid[-1]``, shape of z, float32.
    """
    for t0, t1 in pairwise(grid):
        z = z + (t1 - t0) * velocity(z, t0)
    return z


def midpoint(velocity: Velocity, z: Latents, grid: Grid) -> Latents:
    """Integrate with two evaluations for each interval, the second in its middle.

    Arguments and result are those of :func:`euler`.
    """
    half = np.float32(0.5)
    for t0, t1 in pairwise(grid):
        dt = t1 - t0
        middle = z + half * dt * velocity(z, t0)
        z = z + dt * velocity(middle, t0 + half * dt)
    return z


def heun(velocity: Velocity, z: Latents, grid: Grid) -> Latents:
    """Integrate with two evaluations for each interval, averaged over its two ends.

    Arguments and result are those of :func:`euler`. The field is evaluated at t = 1 too, which a
    model that never saw the end of the path may not know well.
    """
    half = np.float32(0.5)
    for t0, t1 in pairwise(grid):
        dt = t1 - t0
        v0 = velocity(z, t0)
        v1 = velocity(z + dt * v0, t1)
        z = z + half * dt * (v0 + v1)
    return z
