"""Ten filters that no model is trained on, to measure what is read from a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.training.tasks.filters import negative, sepia, sketch


def _grey(image: U8) -> U8:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def duotone(image: U8) -> U8:
    """Grey from a dark blue to a light yellow."""
    dark, light = np.array([20.0, 20, 90]), np.array([255.0, 230, 140])
    share = _grey(image)[..., None] / 255
    return np.asarray(np.round(dark + (light - dark) * share), np.uint8)


def emboss(image: U8) -> U8:
    """Light from above left on middle grey."""
    step = max(1, image.shape[0] // 64)
    kernel = np.zeros((2 * step + 1, 2 * step + 1), np.float32)
    kernel[::step, ::step] = [[-2, -1, 0], [-1, 0, 1], [0, 1, 2]]
    relief = cv2.filter2D(_grey(image).astype(np.float32), -1, kernel) + 128
    return np.repeat(np.clip(relief, 0, 255).round().astype(np.uint8)[..., None], 3, axis=2)


def double_sepia(image: U8) -> U8:
    """Sepia of double strength: as far again from the picture."""
    far = 2 * sepia(image).astype(np.int16) - image
    return np.asarray(np.clip(far, 0, 255), np.uint8)


def solarise(image: U8) -> U8:
    """What is brighter than 128 is inverted."""
    return np.where(image > 128, 255 - image, image).astype(np.uint8)


def turned(image: U8) -> U8:
    """By 180 degrees."""
    return np.ascontiguousarray(image[::-1, ::-1])


def rotated_channels(image: U8) -> U8:
    """Red becomes green, green blue, blue red."""
    return np.ascontiguousarray(image[..., [2, 0, 1]])


def two_levels(image: U8) -> U8:
    """Each channel is 0 or 255."""
    return np.where(image >= 128, 255, 0).astype(np.uint8)


def night(image: U8) -> U8:
    """A quarter of the light, and blue."""
    return np.asarray(np.round(image * np.array([0.2, 0.22, 0.35])), np.uint8)


HELD_OUT_FILTERS: Mapping[str, Callable[[U8], U8]] = {
    "negative": negative,
    "sketch": sketch,
    "duotone": duotone,
    "emboss": emboss,
    "double_sepia": double_sepia,
    "solarise": solarise,
    "turned": turned,
    "rotated_channels": rotated_channels,
    "two_levels": two_levels,
    "night": night,
}
"""The name of each, and what it does to a picture (S, S, 3) uint8."""
