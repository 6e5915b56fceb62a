"""BT.2020's system of constant luminance, whose green comes from the luminance of linear light."""

from __future__ import annotations

from typing import Any

import numpy as np

from lavin_deploy.arrays import F32, U8

BT2020_CL = 10  # AVCOL_SPC_BT2020_CL

# ITU-R BT.2020-2, tables 3 and 4.
_RED, _GREEN, _BLUE = 0.2627, 0.6780, 0.0593
_BLUE_BELOW, _BLUE_ABOVE, _RED_BELOW, _RED_ABOVE = 1.9404, 1.5816, 1.7184, 0.9936
_ALPHA, _BETA = 1.09929682680944, 0.018053968510807


def constant_luminance_to_rgb(luma: F32, blue: F32, red: F32) -> U8:
    """Return the R'G'B' of Y'C, C'BC and C'RC.

    Args:
        luma: (H, W), 0 to 1.
        blue: (H, W), -0.5 to 0.5.
        red: likewise.

    Returns:
        (H, W, 3) uint8.
    """
    b = luma + blue * np.where(blue <= 0, np.float32(_BLUE_BELOW), np.float32(_BLUE_ABOVE))
    r = luma + red * np.where(red <= 0, np.float32(_RED_BELOW), np.float32(_RED_ABOVE))
    green = (_linear(luma) - _RED * _linear(r) - _BLUE * _linear(b)) / _GREEN
    signal = np.stack([r, _signal(green), b], axis=2)
    rgb: U8 = np.rint(np.clip(signal, 0, 1) * 255).astype(np.uint8)
    return rgb


def planes(frame: Any, *, full: bool) -> tuple[F32, F32, F32]:
    """Return Y' in [0, 1] and both colour differences of an ``av`` frame of yuv444p16le."""
    values = np.moveaxis(frame.to_ndarray(), 2, 0).astype(np.float32)
    y, cb, cr = values / np.float32(65535 if full else 256)
    if full:
        return y, cb - np.float32(32768 / 65535), cr - np.float32(32768 / 65535)
    return (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224


def _linear(signal: F32) -> F32:
    positive = np.maximum(signal, 0)
    high = ((positive + np.float32(_ALPHA - 1)) / np.float32(_ALPHA)) ** np.float32(1 / 0.45)
    return np.where(positive < 4.5 * _BETA, positive / np.float32(4.5), high)


def _signal(light: F32) -> F32:
    positive = np.maximum(light, 0)
    high = np.float32(_ALPHA) * positive ** np.float32(0.45) - np.float32(_ALPHA - 1)
    return np.where(positive < _BETA, positive * np.float32(4.5), high)
