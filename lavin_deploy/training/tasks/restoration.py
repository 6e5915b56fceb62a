"""Restoration tasks: a picture that something was done to, and the picture.

The style's ``strength`` says how much was done; pairs and query of an episode share it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import (
    FromCollage,
    Sample,
    add_noise,
    picture,
)

Degrade = Callable[[np.random.Generator, U8, float], U8]
"""Generator, picture (S, S, 3), strength -> the same shape and type."""


def _scaled(strength: float, image: U8) -> float:
    """Strengths are given for pictures of 128 px."""
    return float(strength * image.shape[0] / 128)


def blur(rng: np.random.Generator, image: U8, strength: float) -> U8:
    """Gaussian blur, sigma ``strength`` px."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _scaled(strength, image)), np.uint8)


def motion_blur(rng: np.random.Generator, image: U8, strength: float) -> U8:
    """Blur along a line of ``strength`` px in any direction."""
    length = max(2.0, _scaled(strength, image))
    side = 2 * int(np.ceil(length / 2)) + 1
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    middle = np.array([side // 2, side // 2])
    ends = [tuple(int(v) for v in np.round((middle + sign * reach) * 16)) for sign in (-1, 1)]
    kernel = np.zeros((side, side), np.uint8)
    cv2.line(kernel, ends[0], ends[1], 255, 1, cv2.LINE_AA, 4)
    weights = kernel.astype(np.float32) / kernel.sum()
    return np.asarray(cv2.filter2D(image, -1, weights, borderType=cv2.BORDER_REFLECT), np.uint8)


def shrink(rng: np.random.Generator, image: U8, strength: float) -> U8:
    """Shrink ``strength`` times by areas, enlarge again bicubically."""
    size = image.shape[0]
    side = max(1, round(size / strength))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def compress(rng: np.random.Generator, image: U8, strength: float) -> U8:
    """JPEG of quality 50 - ``strength``."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(np.clip(50 - strength, 1, 100))]
    _, packed = cv2.imencode(".jpg", image[..., ::-1], quality)
    again = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(again[..., ::-1])


def darken(rng: np.random.Generator, image: U8, strength: float) -> U8:
    """``strength`` times less light, and the noise of a sensor that had so little."""
    dark = image / np.float32(strength)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.round(dark + noise * np.sqrt(0.02 * dark + 0.5)), 0, 255).astype(np.uint8)


def rain(rng: np.random.Generator, image: U8, strength: float) -> U8:
    """``strength`` bright streaks on a picture of any size, all about one way."""
    size = image.shape[0]
    streaks = np.zeros((size, size), np.uint8)
    slope = rng.uniform(-0.4, 0.4)
    for _ in range(round(strength)):
        x, y = rng.uniform(-0.2, 1.2, 2) * size
        length = rng.uniform(0.08, 0.2) * size
        start, end = (x, y), (x + slope * length, y + length)
        ends = [(round(px * 16), round(py * 16)) for px, py in (start, end)]
        cv2.line(streaks, ends[0], ends[1], int(rng.integers(90, 220)), 1, cv2.LINE_AA, 4)
    cover = cv2.GaussianBlur(streaks, (0, 0), 0.5 * size / 128).astype(np.float32)[..., None] / 255
    return np.asarray(np.round(image + (230 - image.astype(np.float32)) * cover), np.uint8)


def frost(rng: np.random.Generator, image: U8, strength: float) -> U8:
    """Glass: every pixel is taken from up to ``strength`` px away, then a slight blur."""
    size = image.shape[0]
    reach = _scaled(strength, image)
    grid = np.mgrid[0:size, 0:size].astype(np.float32)
    rows, cols = grid + rng.uniform(-reach, reach, grid.shape).astype(np.float32)
    moved = cv2.remap(image, cols, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), 0.5 * size / 128), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """A way to degrade, and from what least to what largest strength."""

    degrade: Degrade
    least: float
    most: float


DEGRADATIONS: dict[str, Degradation] = {
    "deblurring": Degradation(degrade=blur, least=1.0, most=4.0),
    "motion_deblurring": Degradation(degrade=motion_blur, least=5.0, most=16.0),
    "super_resolution": Degradation(degrade=shrink, least=2.0, most=4.0),
    "jpeg_repair": Degradation(degrade=compress, least=10.0, most=45.0),
    "low_light": Degradation(degrade=darken, least=3.0, most=8.0),
    "deraining": Degradation(degrade=rain, least=20.0, most=80.0),
    "glass_deblurring": Degradation(degrade=frost, least=1.5, most=4.0),
}
"""By the name of the task that undoes each."""


class Restoration(FromCollage):
    """Undo one of ``DEGRADATIONS``.

    Args:
        name: of the task.
        data: pictures of one split.
    """

    deterministic = True

    def __init__(self, name: str, data: Collage) -> None:
        super().__init__(data)
        self.name, self.degradation = name, DEGRADATIONS[name]

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Draw the strength."""
        return Style(
            strength=round(float(rng.uniform(self.degradation.least, self.degradation.most)), 1)
        )

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a picture and degrade it."""
        target = picture(rng, self.data, size)
        return Sample(self.degradation.degrade(rng, target, style.strength), target)


class Colorization(FromCollage):
    """Give a grey photograph its colours back."""

    name = "colorization"
    deterministic = False

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a photo in its own colours; the input holds its grey in three channels."""
        target = self.data.photo(rng, size, jitter=False)
        grey = cv2.cvtColor(target, cv2.COLOR_RGB2GRAY)
        return Sample(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8), target)


class Denoising(FromCollage):
    """Take Gaussian noise off; the style's ``strength`` is its sigma in grey levels, 10-50."""

    name = "denoising"
    deterministic = True

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Draw the sigma."""
        return Style(strength=round(float(rng.uniform(10, 50)), 1))

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a picture and add noise, clipped to [0, 255]."""
        target = picture(rng, self.data, size)
        return Sample(add_noise(rng, target, style.strength), target)


class Inpainting(FromCollage):
    """Fill one grey (127) square whose side is about a quarter of the picture's."""

    name = "inpainting"
    deterministic = False

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a picture and put the square at a random place."""
        target = picture(rng, self.data, size)
        side = round(size * rng.uniform(0.22, 0.3))
        y, x = (int(place) for place in rng.integers(0, size - side + 1, 2))
        holed = target.copy()
        holed[y : y + side, x : x + side] = 127
        return Sample(holed, target)
