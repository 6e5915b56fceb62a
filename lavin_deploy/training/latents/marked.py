"""Where a target has what a mask marks: where it differs from most of itself, in latents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

APART = 0.5
"""Mean absolute difference of scaled latents from which on a place differs from another."""


def marked_places(targets: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where targets differ from their median.

    Args:
        targets: (Q, f, 16, h, w), scaled.

    Returns:
        (Q, 1, 1, h, w); of several frames the first decides. Nowhere where nothing is marked.
    """
    first = targets[:, :1]
    middle = np.median(first, axis=(3, 4), keepdims=True)
    return np.asarray(np.abs(first - middle).mean(axis=2, keepdims=True) > APART)


def foreground_weights(targets: NDArray[np.float32], more: float) -> NDArray[np.float32]:
    """Weights of latents whose mean is 1: 1 + ``more`` where something is marked.

    A thing that covers a tenth of the frame has a tenth of the square error; where it is in doubt,
    the best answer under that error does not show it.

    Args:
        targets: (Q, f, 16, h, w), scaled.
        more: 0 or more.

    Returns:
        (Q, 1, 1, h, w) float32.
    """
    if not more:
        return np.ones((len(targets), 1, 1, *targets.shape[-2:]), np.float32)
    weights = 1 + np.float32(more) * marked_places(targets)
    return np.asarray(weights / weights.mean(axis=(3, 4), keepdims=True), np.float32)
