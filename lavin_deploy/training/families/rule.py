"""``rule``: paint the pixels whose colour, brightness, texture or depth lies in a range."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from lavin_deploy.arrays import F32, U8
from lavin_deploy.training.families.follow import marked
from lavin_deploy.training.synthesis import rendered
from lavin_deploy.training.tasks.base import Family, Group, picture

Attribute = Callable[[U8], F32]
LEAST, MOST = 0.03, 0.75
"""Share of a picture that a rule paints where it shows something."""
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


def _channel(number: int) -> Attribute:
    return lambda image: image[..., number].astype(np.float32)


def _texture(scale: float) -> Attribute:
    """Standard deviation of the lightness within a window of ``scale`` sides."""

    def attribute(image: U8) -> F32:
        light = _lightness(image)
        sigma = scale * image.shape[0]
        mean = cv2.GaussianBlur(light, (0, 0), sigma)
        square = cv2.GaussianBlur(light * light, (0, 0), sigma)
        return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float32)

    return attribute


ATTRIBUTES: Mapping[str, Attribute] = {
    "lightness": _lightness,
    "saturation": _saturation,
    **{f"hue {k}": _toward(k * np.pi / 4) for k in (0, 1, 2, 4, 5, 6)},
    "green": _channel(1),
    "blue": _channel(2),
    "fine texture": _texture(0.02),
}
HELD_OUT_ATTRIBUTES: Mapping[str, Attribute] = {
    "hue 3": _toward(3 * np.pi / 4),
    "hue 7": _toward(7 * np.pi / 4),
    "red": _channel(0),
    "coarse texture": _texture(0.05),
}
"""Never trained on."""
DEPTH = "depth"


class Rule(Family):
    """Four rules over the same photographs, or over rendered scenes of which two ask for depth."""

    name = "rule"
    version = 2
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
        table = HELD_OUT_ATTRIBUTES if self.held_out else ATTRIBUTES
        names = list(table)
        chosen = [names[k] for k in rng.permutation(len(names))[: self.answers]]
        if depths is not None:
            chosen[:2] = [DEPTH, DEPTH]
        masks = []
        for name in chosen:
            values = depths if name == DEPTH else np.stack([table[name](p) for p in pictures])
            ranges = [in_range(rng, np.asarray(values, np.float32)) for _ in range(TRIES)]
            masks.append(max(ranges, key=shown))
        shares = np.stack(masks, axis=1)
        return marked(rng, pictures, shares, plain=self.plain, least=LEAST, most=MOST)


def shown(mask: F32) -> int:
    """Pictures of (N, S, S) that a rule paints in part."""
    cover = mask.mean(axis=(1, 2))
    return int(((cover > LEAST) & (cover < MOST)).sum())


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
    sigma = 0.012 * values.shape[1]
    smooth = np.stack([cv2.GaussianBlur(each, (0, 0), sigma) for each in values])
    inside = (smooth >= first) & (smooth <= last)
    return inside.astype(np.float32)
