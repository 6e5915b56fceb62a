"""Classifier-free guidance: push the velocity away from what the model says without the pairs.

``v = v_null + w (v_cond - v_null)``. The null condition is two frames, an all-zero scaled latent
and then the query's latent, with frame positions counted anew; who supplies ``null`` builds it.
"""

from __future__ import annotations

import numpy as np

from lavin_deploy.errors import InputError
from lavin_deploy.flow.solvers import Latents, Velocity
from lavin_deploy.limits import LIMITS


def guided(conditional: Velocity, null: Velocity, weight: float) -> Velocity:
    """Combine two velocity fields.

    Args:
        conditional: the field given the task's pairs and the query.
        null: the field given the query alone; never called when ``weight`` is 1.
        weight: w, see :func:`check_weight`; 1 is no guidance, the release's command line uses 1.5.

    Returns:
        The guided field; ``conditional`` itself when ``weight`` is 1.

    Raises:
        InputError: ``weight`` is no number, or too large.
    """
    check_weight(weight)
    if weight == 1.0:
        return conditional
    w = np.float32(weight)

    def velocity(z: Latents, t: np.float32) -> Latents:
        v_null = null(z, t)
        return v_null + w * (conditional(z, t) - v_null)

    return velocity


def check_weight(weight: float) -> None:
    """Raise InputError unless ``weight`` is a number within ``LIMITS.guidance`` of 0."""
    is_number = isinstance(weight, int | float | np.integer | np.floating)
    if not is_number or not abs(weight) <= LIMITS.guidance:
        raise InputError(
            f"guidance is {weight!r}; it is a finite number from {-LIMITS.guidance} to "
            f"{LIMITS.guidance}, 1 for no guidance."
        )
