"""Photographs and cut-outs made from noise, for when no real ones can be fetched."""

from __future__ import annotations

import cv2
import numpy as np

from lavin_deploy.arrays import F32, U8


def photo(rng: np.random.Generator, height: int = 160, width: int = 208) -> U8:
    """Make a picture with the rough statistics of a photograph.

    A colour gradient carries several octaves of coloured noise and, half of the time, stripes.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    colours = rng.uniform(20, 235, (2, 2, 3)).astype(np.float32)
    picture = cv2.resize(colours, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = picture + octaves(rng, height, width) * rng.uniform(30, 80)
    if rng.random() < 0.5:
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period))
        picture = picture + wave[..., None] * rng.uniform(-30, 30, 3).astype(np.float32)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def cutout(rng: np.random.Generator, side: int = 144) -> U8:
    """Make a textured blob or polygon with a soft edge.

    Returns:
        (H, W, 4) uint8 RGBA with straight alpha, cropped to the shape, long side <= ``side``.
    """
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    if rng.random() < 0.6:
        radius = np.ones_like(angles)
        for order in range(2, 7):
            swing = rng.uniform(0, 0.9 / order)
            radius += swing * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        radius = rng.uniform(0.5, 1, len(angles))
    stretch = rng.uniform(0.45, 1)
    outline = np.stack([radius * np.cos(angles), radius * np.sin(angles) * stretch], axis=1)
    outline = (outline / np.abs(outline).max() * 0.48 + 0.5) * side
    alpha = np.zeros((side, side), np.uint8)
    cv2.fillPoly(alpha, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    rgba = np.dstack([photo(rng, side, side), alpha])
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def octaves(rng: np.random.Generator, height: int, width: int) -> F32:
    """Return coloured 1/f noise, (height, width, 3) float32, about -1 to 1."""
    total = np.zeros((height, width, 3), np.float32)
    tint = rng.uniform(0.4, 1, 3).astype(np.float32)
    cells, weight = 3, 0.6
    while cells < max(height, width):
        shared = rng.standard_normal((cells, cells, 1))
        own = rng.standard_normal((cells, cells, 3)) * 0.4
        layer = ((shared + own) * weight).astype(np.float32)
        total += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) * tint
        cells, weight = cells * 2, weight * rng.uniform(0.45, 0.75)
    return total
