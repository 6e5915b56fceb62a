"""Answers painted in two colours: drawing a share of foreground, and reading it back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import F32, U8

Colour = tuple[int, int, int]


def paint(share: NDArray[np.floating], foreground: Colour, background: Colour) -> U8:
    """Mix two colours.

    Args:
        share: (..., H, W) in [0, 1], how much of each pixel is foreground.
        foreground: RGB, 0-255.
        background: RGB, 0-255.

    Returns:
        (..., H, W, 3) uint8.
    """
    front, back = np.array(foreground, np.float32), np.array(background, np.float32)
    mixed = back + (front - back) * np.asarray(share, np.float32)[..., None]
    return np.round(mixed).astype(np.uint8)


def share_from_colours(image: U8, foreground: Colour, background: Colour) -> F32:
    """Read a painting: project each pixel onto the line between the two colours.

    Args:
        image: (H, W, 3) uint8.
        foreground: RGB, 0-255; other than the background.
        background: RGB, 0-255.

    Returns:
        (H, W) float32 in [0, 1]: 0 at the background or beyond, 1 at the foreground or beyond.
        Of an image that ``paint`` drew it is the share to within half a grey level.
    """
    front, back = np.array(foreground, np.float32), np.array(background, np.float32)
    axis = front - back
    assert axis.any(), "two equal colours tell nothing"
    return np.clip((image - back) @ axis / (axis @ axis), 0, 1).astype(np.float32)
