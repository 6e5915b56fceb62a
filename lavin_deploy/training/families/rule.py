"""``rule``: paint the pixels whose colour, brightness, texture or depth lies in a range."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from lavin_deploy.arrays import F32, F64, U8
from lavin_deploy.training.families.follow import marked
from lavin_deploy.training.synthesis import rendered
from lavin_deploy.training.tasks.base import Family, Group, picture

Attribute = Callable[[U8], F32]
LEAST, MOST = 0.03, 0.75
"""Share of a picture that a rule paints where it shows something."""
SMOOTHING = 0.012
"""Sigma, in sides, of the blur of an attribute before it is compared: no specks."""
TRIES = 4
"""Ranges that are drawn for one that most pictures show."""


def _lightness(image: U8) -> F32:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2Lab)[..., 0], np.float32)


def _saturation(image: U8) -> F32:
    spread = image.max(axis=2).astype(np.float32) - image.min(axis=2)
    return np.asarray(spread, np.float32)


def _toward(hue: float) -> Attribute:
    """How far a colour lies in the direction of a hue, in the a b plane of Lab."""

    def attribute(image: U8) -> F32:
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab).astype(np.float32) - 128
        return np.asarray(lab[..., 1] * np.cos(hue) + lab[..., 2] * np.sin(hue), np.float32)

    return attribute


def _mixed(shares: F64) -> Attribute:
    """The channels, added up by shares of red, green and blue."""
    return lambda image: np.asarray(image @ shares.astype(np.float32), np.float32)


def _texture(scale: float) -> Attribute:
    """Standard deviation of the lightness within a window of ``scale`` sides."""

    def attribute(image: U8) -> F32:
        light = _lightness(image)
        sigma = scale * image.shape[0]
        mean = cv2.GaussianBlur(light, (0, 0), sigma)
        square = cv2.GaussianBlur(light * light, (0, 0), sigma)
        return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float32)

    return attribute


HELD_OUT_ATTRIBUTES: Mapping[str, Attribute] = {
    "hue 3": _toward(3 * np.pi / 4),
    "hue 7": _toward(7 * np.pi / 4),
    "red": _mixed(np.array([1.0, 0.0, 0.0])),
    "coarse texture": _texture(0.05),
}
"""Never trained on, nor anything like them, see :func:`draw_attribute`."""
FINE = (0.012, 0.03)
"""Scales of the textures that are trained on."""
APART = 25.0
"""Degrees by which hues and channels that are trained on differ from the held-out ones."""


def draw_attribute(rng: np.random.Generator) -> Attribute:
    """Draw what a rule asks about: few attributes would be learnt by heart, each by itself.

    Lightness, saturation, the direction of a hue, a mix of the channels, or texture.
    """
    kind = rng.random()
    if kind < 0.1:
        return _lightness
    if kind < 0.2:
        return _saturation
    if kind < 0.55:
        # The held-out ones are opposite, and half a turn is enough: a range lies at either end.
        return _toward(np.deg2rad(135 + rng.uniform(APART, 180 - APART)))
    if kind < 0.85:
        shares = np.abs(rng.standard_normal(3))
        while shares[0] > np.cos(np.deg2rad(APART)) * np.linalg.norm(shares):  # red is held out
            shares = np.abs(rng.standard_normal(3))
        return _mixed(shares / shares.sum())
    return _texture(rng.uniform(*FINE))


class Rule(Family):
    """Four rules over the same photographs, or over rendered scenes of which two ask for depth."""

    name = "rule"
    version = 3
    answers = 4

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        """Draw ``count`` pictures and four rules, each with a range that paints some of most."""
        depths = None
        if not self.held_out and rng.random() < 0.2:
            scenes = [rendered.sample(rng, self.data.photos, size) for _ in range(count)]
            pictures = [scene.image for scene in scenes]
            near = [1 / scene.depth for scene in scenes if scene.depth is not None]  # the sky is 0
            depths = np.stack(near)
        else:
            pictures = [picture(rng, self.data, size) for _ in range(count)]
        known = list(HELD_OUT_ATTRIBUTES.values())
        masks = []
        for number in rng.permutation(self.answers):
            if depths is not None and number < 2:
                values = depths.astype(np.float32)
            else:
                attribute = known[number] if self.held_out else draw_attribute(rng)
                values = np.stack([attribute(each) for each in pictures])
            ranges = [in_range(rng, values) for _ in range(TRIES)]
            masks.append(max(ranges, key=shown))
        shares = np.stack(masks, axis=1)
        return marked(rng, pictures, shares, plain=self.plain, least=LEAST, most=MOST)


def shown(mask: F32) -> int:
    """Pictures of (N, S, S) that a rule paints in part."""
    cover = mask.mean(axis=(1, 2))
    return int(((cover >= LEAST) & (cover <= MOST)).sum())


def in_range(rng: np.random.Generator, values: F32) -> F32:
    """Which pixels lie in a random range of an attribute, specks smoothed away.

    Args:
        rng: source of the range: above or below a quantile of all pictures, or between two.
        values: (N, S, S).

    Returns:
        (N, S, S) float32 in [0, 1].
    """
    share, kind = rng.uniform(0.12, 0.45), rng.random()
    low = 0.0 if kind < 0.4 else 1 - share if kind < 0.8 else rng.uniform(0.15, 0.85 - share)
    first, last = np.quantile(values, (low, low + share))
    first, last = (-np.inf if low == 0 else first), (np.inf if low + share >= 1 else last)
    sigma = SMOOTHING * values.shape[1]
    smooth = np.stack([cv2.GaussianBlur(each, (0, 0), sigma) for each in values])
    inside = (smooth >= first) & (smooth <= last)
    return inside.astype(np.float32)
