"""Optical flow painted in colours: hue is the direction, brightness the speed.

The saturation is full. Hue 0 (red) points right, 1/3 (green) a third of a turn on towards the
frame's bottom (rows grow downwards), 2/3 (blue) two thirds.
"""

from __future__ import annotations

import numpy as np

from lavin_deploy.arrays import F32, U8


def paint_flow(flow: F32, largest: float) -> U8:
    """Paint a flow field as HSV, in RGB (Smith, 1978).

    Args:
        flow: (H, W, 2) float32, pixels to the right and downwards.
        largest: speed in pixels, above 0, that is as bright as can be; faster is painted as that.

    Returns:
        (H, W, 3) uint8 RGB; black where nothing moves.
    """
    assert largest > 0, largest
    hue = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1 * 6
    value = np.clip(np.hypot(flow[..., 0], flow[..., 1]) / largest, 0, 1)
    wave = np.abs((hue[..., None] + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return np.asarray(np.round(255 * value[..., None] * np.clip(wave, 0, 1)), np.uint8)


def read_flow(image: U8, largest: float) -> F32:
    """Read what ``paint_flow`` painted; colours that are not fully saturated count by their hue.

    Args:
        image: (H, W, 3) uint8 RGB.
        largest: speed in pixels that the brightest pixels stand for.

    Returns:
        (H, W, 2) float32, pixels to the right and downwards; grey pixels, which have no hue,
        stand still. Of a painting it is the flow to within 1.5 % of ``largest``.
    """
    red, green, blue = np.moveaxis(image.astype(np.float32), -1, 0)
    top = image.max(axis=-1).astype(np.float32)
    chroma = top - image.min(axis=-1)
    span = np.maximum(chroma, 1)
    sector = np.select(
        [top == red, top == green],
        [(green - blue) / span, 2 + (blue - red) / span],
        4 + (red - green) / span,
    )
    angle = sector * (np.pi / 3)
    speed = np.where(chroma > 0, top / 255 * largest, 0)
    return np.stack([speed * np.cos(angle), speed * np.sin(angle)], axis=-1).astype(np.float32)


def end_point_error(answer: F32, truth: F32) -> float:
    """Return the mean length in pixels of the difference of two flows (Otte and Nagel, 1994).

    Args:
        answer: (H, W, 2) float32.
        truth: (H, W, 2) float32.
    """
    return float(np.linalg.norm(answer.astype(np.float64) - truth, axis=-1).mean())
