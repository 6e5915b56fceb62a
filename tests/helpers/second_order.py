"""Solvers of second order, beside which Euler's is held; no command samples with them.

Cost in evaluations of the velocity for a grid of n intervals: 2 n each.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lavin_deploy.flow.grids import Grid
from lavin_deploy.flow.solvers import Latents, Velocity


def midpoint(velocity: Velocity, z: Latents, grid: Grid) -> Latents:
    """Integrate with two evaluations for each interval, the second in its middle.

    Arguments and result are those of ``flow.solvers.euler``.
    """
    half = np.float32(0.5)
    for t0, t1 in pairwise(grid):
        dt = t1 - t0
        middle = z + half * dt * velocity(z, t0)
        z = z + dt * velocity(middle, t0 + half * dt)
    return z


def heun(velocity: Velocity, z: Latents, grid: Grid) -> Latents:
    """Integrate with two evaluations for each interval, averaged over its two ends.

    Arguments and result are those of ``flow.solvers.euler``. The field is evaluated at t = 1 too,
    which a model that never saw the end of the path may not know well.
    """
    half = np.float32(0.5)
    for t0, t1 in pairwise(grid):
        dt = t1 - t0
        v0 = velocity(z, t0)
        v1 = velocity(z + dt * v0, t1)
        z = z + half * dt * (v0 + v1)
    return z
