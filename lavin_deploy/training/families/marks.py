"""How a marked place is painted, drawn apart from what is marked."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lavin_deploy.arrays import F32, U8
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.tasks.base import far_colours, vivid_colour


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Two colours, and how the place between them looks.

    Attributes:
        style: the two colours.
        outline: only the edge of the place is painted, two pixels wide at 64 px.
        soft: sigma of the edge's blur in sides; 0 is hard.
    """

    style: Style
    outline: bool = False
    soft: float = 0.0

    def paint(self, share: F32) -> U8:
        """Paint a share of foreground, (S, S) float32 in [0, 1] -> (S, S, 3) uint8."""
        size = share.shape[0]
        if self.outline:
            kernel = np.ones((3, 3), np.uint8)
            times = max(1, size // 64)
            share = share - np.asarray(cv2.erode(share, kernel, iterations=times), np.float32)
        if self.soft:
            share = np.asarray(cv2.GaussianBlur(share, (0, 0), self.soft * size), np.float32)
        return paint(share, self.style.foreground, self.style.background)


def draw_mark(rng: np.random.Generator, *, plain: bool = False) -> Mark:
    """Draw a way to paint.

    Args:
        rng: source of every choice.
        plain: filled and hard, so that an answer can be read back by its two colours.
    """
    kind = rng.random()
    if kind < 0.4:
        style = Style(foreground=vivid_colour(rng))
    elif kind < 0.55:
        style = Style(foreground=(0, 0, 0), background=vivid_colour(rng))
    elif kind < 0.7:
        level = int(rng.integers(140, 256))
        style = Style(foreground=(level, level, level))
    else:
        first, second = far_colours(rng)
        style = Style(foreground=first, background=second)
    if plain:
        return Mark(style=style)
    look = rng.random()
    if look < 0.08:
        return Mark(style=style, outline=True)
    return Mark(style=style, soft=float(rng.uniform(0.01, 0.03)) if look < 0.18 else 0.0)
