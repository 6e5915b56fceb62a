"""What published protocols measure beyond ``metrics``: boxes, metric depth, pixels in [-1, 1]."""

from __future__ import annotations

import numpy as np

from lavin_deploy.arrays import F32, F64, U8, Mask
from lavin_deploy.evaluation.metrics import scale_shift_fit

Box = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels, the last two just outside."""

BOX_LINE = 2
DEEPEST = 10.0
"""Metres to which NYU Depth V2 is measured."""

STRAY = 1.0
"""Percent of marked pixels that may lie beyond each side of an answer's box."""


def box_of(mask: Mask, stray: float = 0.0) -> Box:
    """Return the box round a mask.

    Args:
        mask: (H, W) bool with at least one pixel.
        stray: percent of the pixels left out at each side.
    """
    bounds = []
    for places in np.nonzero(mask):
        low, high = np.percentile(places, (stray, 100 - stray), method="nearest")
        bounds.append((int(low), int(high) + 1))
    (top, bottom), (left, right) = bounds
    return top, left, bottom, right


def box_outline(box: Box, shape: tuple[int, int], line: int) -> Mask:
    """Return the outline of a box as (H, W) bool, ``line`` pixels wide, inside the box."""
    top, left, bottom, right = box
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    mask[top + line : bottom - line, left + line : right - line] = False
    return mask


def box_iou(answer: Mask, truth: Mask) -> float:
    """Return intersection over union of the boxes round two masks, in [0, 1].

    An answer's box leaves out the outermost ``STRAY`` percent of its pixels at each side, so that
    a few stray ones do not make it the whole frame; an answer without pixels has 0.

    Args:
        answer: (H, W) bool.
        truth: (H, W) bool with at least one pixel.
    """
    if not answer.any():
        return 0.0
    first, second = box_of(answer, STRAY), box_of(truth)
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    common = max(height, 0) * max(width, 0)
    areas = [(bottom - top) * (right - left) for top, left, bottom, right in (first, second)]
    return common / (sum(areas) - common)


def near_share(depth: F32) -> F32:
    """Return inverse depth scaled to [0, 1] over the known pixels, nearest 1; unknown ones are 0.

    Args:
        depth: (H, W) float32, metres, 0 unknown; at least one pixel is known.
    """
    measured = depth > 0
    inverse = np.where(measured, 1 / np.maximum(depth, 1e-6), 0)
    low, high = inverse[measured].min(), inverse[measured].max()
    share = (inverse - low) / max(high - low, 1e-9)
    return np.asarray(np.where(measured, np.clip(share, 0, 1), 0), np.float32)


def depth_ratios(share: F32, depth: F32) -> F64:
    """Return answered over true depth at every pixel whose depth is known, up to ``DEEPEST``.

    The answer, inverse depth in unknown units, is first fitted to the true inverse depth by scale
    and shift (Ranftl et al., 2020), then turned into metres, at most ``DEEPEST``.

    Args:
        share: (H, W) float32, how bright the answer is.
        depth: (H, W) float32, metres, 0 unknown.

    Returns:
        (N,) float64, above 0.
    """
    measured = (depth > 0) & (depth <= DEEPEST)
    truth = depth[measured].astype(np.float64)
    fitted = scale_shift_fit(share[measured][None], np.asarray(1 / truth, np.float32)[None])[0]
    return np.asarray(1 / np.maximum(fitted.astype(np.float64), 1 / DEEPEST) / truth)


def unit_mse(answer: U8, truth: U8) -> float:
    """Return the mean squared error of pictures (H, W, 3) uint8 taken to [-1, 1]: 0 to 4."""
    return float(np.square((answer.astype(np.float64) - truth) / 127.5).mean())
