"""How random pictures look: crops, jitter, harmonised paste, shadows, traces of a camera."""

from __future__ import annotations

import cv2
import numpy as np

from lavin_deploy.arrays import F32, U8

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def crop(rng: np.random.Generator, photo: U8, size: int, low: float, high: float) -> U8:
    """Cut a random square out of a photo and resize it with antialiasing.

    Args:
        rng: source of the choice.
        photo: (H, W, 3) uint8.
        size: side of the answer.
        low: least side of the square as a share of the photo's short side.
        high: largest side, likewise.

    Returns:
        (size, size, 3) uint8, mirrored half of the time.
    """
    square = photo[window(rng, photo, low, high)]
    if rng.random() < 0.5:
        square = square[:, ::-1]
    return resized(square, size)


SMALLEST = 8
"""Pixels; the least side of a square that is cut out of a picture."""


def window(rng: np.random.Generator, photo: U8, low: float, high: float) -> tuple[slice, slice]:
    """Draw the rows and columns of a random square of a picture; see :func:`crop`."""
    height, width = photo.shape[:2]
    side = max(SMALLEST, round(min(height, width) * rng.uniform(low, high)))
    y = int(rng.integers(height - side + 1))
    x = int(rng.integers(width - side + 1))
    return slice(y, y + side), slice(x, x + side)


def resized(square: U8, size: int) -> U8:
    """Shrink a square (N, N, 3) uint8 with antialiasing, or enlarge it bicubically."""
    how = cv2.INTER_AREA if len(square) >= size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=how), np.uint8)


def jitter(rng: np.random.Generator, image: U8) -> U8:
    """Change gamma, brightness, contrast, white balance and saturation a little.

    Args:
        rng: source of the changes.
        image: (H, W, 3) uint8.

    Returns:
        The same shape and type.
    """
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    gains = rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3)
    table = ramp ** float(np.exp(rng.uniform(-0.3, 0.3))) * gains.astype(np.float32)
    table = (table - 0.5) * float(rng.uniform(0.8, 1.2)) + 0.5
    codes = np.clip(table * 255 + 0.5, 0, 255).astype(np.uint8)
    changed = np.asarray(cv2.LUT(image, codes[None]), np.uint8)
    if rng.random() < 0.6:
        amount = float(rng.uniform(0.4, 1.3))
        mix = np.eye(3, dtype=np.float32) * amount + LUMA[None] * (1 - amount)
        changed = np.asarray(cv2.transform(changed, mix), np.uint8)
    return changed


def shadow(rng: np.random.Generator, opacity: F32) -> F32:
    """Return the factor in (0, 1] by which a soft shadow of the object darkens what is behind.

    Args:
        rng: source of direction, softness and strength.
        opacity: (S, S) float32 in [0, 1].
    """
    size = opacity.shape[0]
    shift = (rng.uniform(-0.07, 0.07, 2) + np.array([0.0, 0.02])) * size
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    moved = cv2.warpAffine(opacity, matrix, (size, size), flags=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(moved, (0, 0), float(rng.uniform(0.01, 0.05)) * size)
    return np.asarray(1 - float(rng.uniform(0.2, 0.6)) * soft, np.float32)


def recolour(rng: np.random.Generator, layer: F32, opacity: F32, behind: F32) -> F32:
    """Give a pasted object other colours; in one of three cases those of its surroundings.

    Args:
        rng: source of the choice.
        layer: (S, S, >=3) float32 premultiplied RGB in [0, 255].
        opacity: (S, S) float32 in [0, 1].
        behind: (S, S, 3) float32 in [0, 255], what the object is pasted on.

    Returns:
        (S, S, 3) float32 premultiplied RGB within [0, 255 * opacity].
    """
    cover = opacity[..., None]
    gains = rng.uniform(0.7, 1.25) * rng.uniform(0.9, 1.1, 3)
    colour = layer[..., :3]
    if rng.random() < 0.15:
        colour = colour[..., rng.permutation(3)]
    colour = colour * gains.astype(np.float32)
    weight = float(opacity.sum())
    if rng.random() < 0.33 and weight > 4:  # harmonise: the mean in Lab moves to that behind
        own = _lab_mean(colour.sum(axis=(0, 1)) / weight)
        surroundings = _lab_mean((behind * cover).sum(axis=(0, 1)) / weight)
        target = own + (surroundings - own) * float(rng.uniform(0.5, 1.0))
        mean = _rgb(own)
        colour = colour + (_rgb(target) - mean) * cover
    if rng.random() < 0.5:
        amount = float(rng.uniform(0.5, 1.3))
        mix = np.eye(3, dtype=np.float32) * amount + LUMA[None] * (1 - amount)
        colour = cv2.transform(colour, mix)
    return np.asarray(np.clip(colour, 0, 255 * cover), np.float32)


def camera(rng: np.random.Generator, picture: F32) -> U8:
    """Finish a picture as a camera might: slight blur, grain, or JPEG, each only sometimes.

    Args:
        rng: source of the choice.
        picture: (S, S, 3) float32 RGB in [0, 255].

    Returns:
        (S, S, 3) uint8.
    """
    if rng.random() < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 0.7)))
    if rng.random() < 0.2:
        grain = rng.standard_normal(picture.shape, dtype=np.float32)
        picture = picture + grain * float(rng.uniform(1, 6))
    image = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))]
        _, packed = cv2.imencode(".jpg", image, quality)
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(image, np.uint8)


def _lab_mean(rgb: F32) -> F32:
    pixel = np.clip(rgb, 0, 255).astype(np.float32).reshape(1, 1, 3) / 255
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_RGB2Lab)[0, 0], np.float32)


def _rgb(lab: F32) -> F32:
    pixel = np.asarray(lab, np.float32).reshape(1, 1, 3)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_Lab2RGB)[0, 0] * 255, np.float32)
