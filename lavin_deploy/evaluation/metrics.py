"""Metrics in numpy. Pictures are (H, W, 3) uint8 RGB, masks (H, W) bool, shares in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lavin_deploy.arrays import F32, F64, U8, Mask
from lavin_deploy.tasks.painting import Colour

PSNR_LIMIT = 100.0
"""dB given to equal pictures, whose PSNR is infinite."""

_RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65


def mask_from_colours(image: U8, foreground: Colour, background: Colour) -> Mask:
    """Decide for each pixel which of two colours is nearer (Euclidean RGB).

    Returns:
        (H, W) bool, True where the foreground is nearer; a tie is background.
    """
    pixels = image.astype(np.int32)
    to_front = np.square(pixels - np.array(foreground)).sum(axis=-1)
    to_back = np.square(pixels - np.array(background)).sum(axis=-1)
    return np.asarray(to_front < to_back)


def iou(first: Mask, second: Mask) -> float:
    """Return intersection over union, in [0, 1]; two empty masks agree (1)."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def mean_iou(first: NDArray[np.integer], second: NDArray[np.integer]) -> float:
    """Return the mean IoU over the classes of the truth, in [0, 1].

    Args:
        first: (H, W) classes of the answer.
        second: (H, W) classes of the truth.
    """
    return float(np.mean([iou(first == each, second == each) for each in np.unique(second)]))


def nearest_colour(image: U8, palette: Sequence[Colour]) -> NDArray[np.int64]:
    """Return for each pixel of (H, W, 3) the number of the palette's nearest colour: (H, W)."""
    colours = np.array(palette, np.float32)
    # |p - c|^2 less |p|^2, which is the same for all colours
    distance = (colours**2).sum(axis=1) - 2 * image.astype(np.float32) @ colours.T
    return np.asarray(distance.argmin(axis=-1))


def dice(first: Mask, second: Mask) -> float:
    """Return 2 |A & B| / (|A| + |B|), in [0, 1]; two empty masks agree (1)."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / total if total else 1.0


def outline(mask: Mask) -> Mask:
    """Return the pixels of a mask (H, W) that touch its outside; the frame's edge is none."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def boundary_f(answer: Mask, truth: Mask, tolerance: float) -> float:
    """Return the F measure of lines, as of Martin et al. (2004) but without one-to-one matching.

    Precision is the share of the answer's pixels within ``tolerance`` of a pixel of the truth,
    recall the share of the truth's pixels within it of the answer's.

    Args:
        answer: (H, W) bool, pixels on a line.
        truth: (H, W) bool.
        tolerance: Euclidean distance in pixels.

    Returns:
        In [0, 1]; 1 if neither has a line, 0 if one alone has.
    """
    if not answer.any() or not truth.any():
        return float(answer.any() == truth.any())
    precision = np.count_nonzero(answer & _widened(truth, tolerance)) / np.count_nonzero(answer)
    recall = np.count_nonzero(truth & _widened(answer, tolerance)) / np.count_nonzero(truth)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour_correlation(answer: U8, truth: U8) -> float:
    """Return Pearson's correlation of how steep grey (mean of RGB) is in two pictures.

    It asks whether contours lie where they must, whatever the colours.

    Args:
        answer: (H, W, 3) uint8.
        truth: (H, W, 3) uint8.

    Returns:
        In [-1, 1]; 0 for a flat answer, NaN for a flat truth.
    """
    steep = [np.hypot(*np.gradient(image.mean(axis=-1))) for image in (answer, truth)]
    slopes, true_slopes = (each - each.mean() for each in steep)
    if not true_slopes.any():
        return float("nan")
    spread = np.sqrt(np.square(slopes).sum() * np.square(true_slopes).sum())
    return float((slopes * true_slopes).sum() / spread) if spread else 0.0


def psnr(answer: U8, truth: U8, where: Mask | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB over all channels, peak 255.

    Args:
        answer: (H, W, 3) uint8.
        truth: (H, W, 3) uint8.
        where: (H, W) bool, pixels that count; None takes all.

    Returns:
        At most ``PSNR_LIMIT``.
    """
    difference = answer.astype(np.float64) - truth
    return _decibel(difference if where is None else difference[where])


def ab_psnr(answer: U8, truth: U8) -> float:
    """Return the PSNR in dB of the a and b channels of CIELAB alone, peak 255.

    The peak is the range of the usual 8-bit coding, -128..127. Lightness does not count, so the
    score is for the colours only.
    """
    return _decibel(lab(answer)[..., 1:] - lab(truth)[..., 1:])


def mean_ssim(answer: U8, truth: U8, window: int = 7) -> float:
    """Return the mean structural similarity (Wang et al., 2004) of the three channels.

    Flat window, sample covariances, windows within the frame only: scikit-image's default.

    Args:
        answer: (H, W, 3) uint8, each side at least ``window``.
        truth: (H, W, 3) uint8.
        window: side in pixels.

    Returns:
        In [-1, 1], 1 for equal pictures.
    """
    x, y = answer.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = _window_mean(x, window), _window_mean(y, window)
    sample = window**2 / (window**2 - 1)
    var_x = sample * (_window_mean(x * x, window) - mean_x**2)
    var_y = sample * (_window_mean(y * y, window) - mean_y**2)
    both = sample * (_window_mean(x * y, window) - mean_x * mean_y)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return float((above / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def colourfulness(image: U8) -> float:
    """Return Hasler and Süsstrunk's M3 (2003): 0 for grey, about 15 slightly, 82 quite colourful.

    Equation: sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2), rg = R - G,
    yb = (R + G) / 2 - B.
    """
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def lab(image: U8) -> F64:
    """Turn sRGB (H, W, 3) uint8 into CIELAB under D65: L in [0, 100], a and b about +-110."""
    encoded = image / 255.0
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    xyz = linear @ _RGB_TO_XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def scale_shift_fit(answer: F32, truth: F32) -> F32:
    """Fit ``scale * answer + shift`` to the truth by least squares (Ranftl et al., 2020, eq. 4).

    The scale is never negative: an answer of the wrong polarity becomes the truth's mean, it is
    not turned round.

    Args:
        answer: (H, W) float32, inverse depth in any unit.
        truth: (H, W) float32, inverse depth.

    Returns:
        (H, W) float32, the fitted answer.
    """
    x, y = answer.astype(np.float64), truth.astype(np.float64)
    spread = x.var()
    scale = max(float(((x - x.mean()) * (y - y.mean())).mean() / spread), 0.0) if spread else 0.0
    return np.asarray(scale * (x - x.mean()) + y.mean(), np.float32)


def abs_rel(answer: F32, truth: F32, least: float = 0.1) -> float:
    """Return the mean of |answer - truth| / truth over the pixels whose truth is ``least`` or more.

    The depth task paints **inverse** depth scaled to [0, 1] for each picture, so that 0 is the
    farthest point, sky included. Relative errors near 0 are without meaning; those pixels are
    left out, and the rest compared in inverse depth, since the picture's scale, without which
    depth itself is unavailable, is unknown.

    Args:
        answer: (H, W) float32, fitted inverse depth.
        truth: (H, W) float32 in [0, 1].
        least: smallest truth that counts.

    Returns:
        0 or more; NaN where no pixel counts.
    """
    counts = truth >= least
    if not counts.any():
        return float("nan")
    return float((np.abs(answer[counts] - truth[counts]) / truth[counts]).mean())


def delta1(answer: F32, truth: F32, least: float = 0.1, ratio: float = 1.25) -> float:
    """Return the share of pixels where the larger is below ``ratio`` times the smaller.

    Args:
        answer: (H, W) float32, fitted inverse depth.
        truth: (H, W) float32 in [0, 1]; pixels below ``least`` do not count, see ``abs_rel``.
        least: smallest truth that counts.
        ratio: the bound.

    Returns:
        In [0, 1]; NaN where no pixel counts.
    """
    counts = truth >= least
    if not counts.any():
        return float("nan")
    estimate, exact = np.maximum(answer[counts], 1e-6), truth[counts]
    return float((np.maximum(estimate / exact, exact / estimate) < ratio).mean())


def mean_angle(answer: U8, truth: U8) -> float:
    """Return the mean angle in degrees between two normal maps, (n + 1) / 2 as RGB.

    Args:
        answer: (H, W, 3) uint8.
        truth: (H, W, 3) uint8; pixels without a surface are mid-grey and do not count.

    Returns:
        In [0, 180]; NaN where no pixel has a surface.
    """
    errors = angles(answer, truth)
    return float(errors.mean()) if len(errors) else float("nan")


def angles(answer: U8, truth: U8) -> F64:
    """Return the angle in degrees at each pixel with a surface, (N,); see ``mean_angle``."""
    normals, true_normals = answer / 127.5 - 1, truth / 127.5 - 1
    length = np.linalg.norm(true_normals, axis=-1)
    counts = length > 0.5
    product = (normals * true_normals).sum(axis=-1)[counts]
    both = np.maximum(np.linalg.norm(normals, axis=-1) * length, 1e-9)[counts]
    return np.asarray(np.degrees(np.arccos(np.clip(product / both, -1, 1))))


def _decibel(difference: F64) -> float:
    error = float(np.square(difference).mean()) if difference.size else 0.0
    return min(10 * float(np.log10(255**2 / error)), PSNR_LIMIT) if error else PSNR_LIMIT


def _widened(mask: Mask, radius: float) -> Mask:
    """Return the pixels within ``radius`` of the mask."""
    reach = int(radius)
    height, width = mask.shape
    padded = np.pad(mask, reach)
    wide = np.zeros_like(mask)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dy * dy + dx * dx <= radius * radius:
                top, left = reach + dy, reach + dx
                wide |= padded[top : top + height, left : left + width]
    return wide


def _window_mean(values: F64, window: int) -> F64:
    """Average (H, W, C) over windows: (H - window + 1, W - window + 1, C)."""
    rows = sliding_window_view(values, window, axis=0).mean(axis=-1)
    return np.asarray(sliding_window_view(rows, window, axis=1).mean(axis=-1))
