"""Time grids: the instants between which a solver steps, from t = 0 (noise) to t = 1 (data).

A grid is a float32 array of n points, which makes n - 1 steps. ``steps`` counts model evaluations
of the Euler solver, as everywhere in the public interfaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.limits import LIMITS

Grid = NDArray[np.float32]
GridKind = Literal["linear-quadratic", "uniform"]
GRID_KINDS: tuple[GridKind, ...] = get_args(GridKind)

RELEASED_POINTS = (20, 30, 40)
"""Sizes that the published release holds as tables rounded to four decimals."""

LINEAR_END = 0.05
"""Time at which the linear half of the linear-quadratic grid ends."""


def linear_quadratic(points: int, *, released: bool = True) -> Grid:
    """Return the release's grid: half of the points below t = 0.05, then quadratic up to 1.

    The first n/2 points are ``linspace(0, 0.05, n/2)``, the last n/2 are ``0.05 + 0.95 u^2`` with
    ``u = linspace(1/n, 1, n/2)``.

    Args:
        points: n, even and at least 4.
        released: for 20, 30 and 40 points return the release's own tables, which are rounded to
            four decimals; False gives the formula's values. Other sizes are never rounded.

    Returns:
        (n,) float32, strictly increasing from 0 to 1.

    Raises:
        InputError: ``points`` is odd or below 4.
    """
    if points < 4 or points % 2:
        raise InputError(
            f"a linear-quadratic grid cannot have {points} points; it needs an even number from 4 "
            "on (an odd number of steps from 3 on)."
        )
    half = points // 2
    linear = np.linspace(0.0, LINEAR_END, half)
    u = np.linspace(1.0 / points, 1.0, half)
    grid = np.concatenate([linear, LINEAR_END + (1.0 - LINEAR_END) * u**2])
    if released and points in RELEASED_POINTS:
        grid = np.round(grid, 4)
    return grid.astype(np.float32)


def uniform(steps: int) -> Grid:
    """Return ``steps`` equal intervals.

    Args:
        steps: number of intervals, at least 1.

    Returns:
        (steps + 1,) float32 from 0 to 1.

    Raises:
        InputError: ``steps`` is below 1 or above ``LIMITS.steps``.
    """
    _check_steps(steps)
    return np.linspace(0.0, 1.0, steps + 1).astype(np.float32)


def check_grid(times: Sequence[float] | NDArray[np.floating]) -> Grid:
    """Check a grid that a user or a manifest gave.

    Args:
        times: at least two instants, strictly increasing from exactly 0 to exactly 1.

    Returns:
        (n,) float32 copy of it.

    Raises:
        InputError: the grid is anything else; the message says where.
    """
    try:
        grid = np.array(times, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"a time grid is a list of numbers from 0 to 1; got {times!r}.") from error
    if grid.ndim != 1 or grid.size < 2:
        raise InputError(
            f"a time grid is a list of at least two numbers; got an array of shape {grid.shape}."
        )
    if not np.isfinite(grid).all():
        raise InputError("the time grid holds a value that is not finite; give numbers in [0, 1].")
    if grid[0] != 0.0 or grid[-1] != 1.0:
        raise InputError(
            f"a time grid runs from 0 (noise) to 1 (data); this one runs from {grid[0]:g} to "
            f"{grid[-1]:g}."
        )
    falls = np.flatnonzero(np.diff(grid) <= 0)
    if falls.size:
        at = int(falls[0])
        raise InputError(
            f"a time grid must increase at every step; points {at} and {at + 1} are "
            f"{grid[at]:g} and {grid[at + 1]:g} in float32."
        )
    return grid


def grid_for(steps: int, kind: str) -> Grid:
    """Return the grid of that kind that costs ``steps`` Euler evaluations.

    Args:
        steps: model evaluations, at least 1; odd and at least 3 for ``"linear-quadratic"``.
        kind: ``"linear-quadratic"`` (the release's tables where it has them) or ``"uniform"``.

    Returns:
        (steps + 1,) float32 from 0 to 1.

    Raises:
        InputError: an unknown kind, or a number of steps that the kind does not have.
    """
    _check_steps(steps)
    if kind == "uniform":
        return uniform(steps)
    if kind != "linear-quadratic":
        raise unknown_name("time grid", kind, GRID_KINDS)
    if steps < 3 or steps % 2 == 0:
        nearest = "3" if steps < 3 else f"{steps - 1} or {steps + 1}"
        raise InputError(
            f"the linear-quadratic grid has no {steps} steps: it exists for odd numbers from 3 on; "
            f"the nearest is {nearest}."
        )
    return linear_quadratic(steps + 1)


def _check_steps(steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise InputError(f"steps is {steps!r}; it counts model evaluations and is at least 1.")
    if steps > LIMITS.steps:
        raise InputError(f"steps is {steps}; at most {LIMITS.steps} are taken.")


CLEAN = np.float32(1.0)
"""The time whose row modulates a frozen context."""
