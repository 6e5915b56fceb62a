"""The solver of ``dz/dt = v(z, t)`` from t = 0 (noise) to t = 1 (data) over a given grid.

Euler's: n evaluations of the velocity for a grid of n intervals. All arithmetic is float32.
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
