"""Tasks whose truth a collage knows: what lies behind its objects, and how opaque they are."""

from __future__ import annotations

import numpy as np

from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis import rendered
from lavin_deploy.training.tasks.base import (
    FromCollage,
    Sample,
    boundaries,
    far_colours,
    vivid_colour,
)


class Removal(FromCollage):
    """Take the objects of a collage away; what is behind them is known."""

    name = "removal"
    deterministic = False

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a collage and its background."""
        scene = self.data.sample(rng, size)
        return Sample(scene.image, scene.background)


class Matting(FromCollage):
    """Paint how opaque the objects of a collage are: their soft alpha, light grey on black."""

    name = "matting"
    deterministic = True

    def draw_style(self, rng: np.random.Generator) -> Style:
        """White on black, or black on white."""
        if rng.random() < 0.7:
            return Style()
        return Style(foreground=(0, 0, 0), background=(255, 255, 255))

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a collage and its alpha."""
        scene = self.data.sample(rng, size)
        return Sample(scene.image, paint(scene.alpha, style.foreground, style.background))


class Segmentation(FromCollage):
    """Paint the objects of a collage in one colour and the rest in another."""

    name = "segmentation"
    marks = True
    deterministic = True

    def draw_style(self, rng: np.random.Generator) -> Style:
        """A colour on black, black on a colour, or two colours far apart, about equally often.

        No style is rare, so which of the two colours means an object must be read from the pairs.
        """
        kind = rng.random()
        if kind < 0.35:
            return Style(foreground=vivid_colour(rng))
        if kind < 0.7:
            return Style(foreground=(0, 0, 0), background=vivid_colour(rng))
        first, second = far_colours(rng)
        return Style(foreground=first, background=second)

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a collage; its hard mask, antialiased, mixes the two colours."""
        scene = self.data.sample(rng, size)
        return Sample(scene.image, paint(scene.coverage, style.foreground, style.background))


class Edges(FromCollage):
    """Draw the boundaries between objects of a collage or a rendered scene, in grey.

    The truth is where instances (and with them depth) end, not what an edge detector finds.
    Lines are 1.5 pixels wide.
    """

    name = "edges"
    deterministic = True

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Mostly a light grey on black, sometimes black on a light grey."""
        level = int(rng.integers(140, 256))
        light = (level, level, level)
        if rng.random() < 0.7:
            return Style(foreground=light)
        return Style(foreground=(0, 0, 0), background=light)

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a collage or a rendered scene, half and half, and its boundaries."""
        if rng.random() < 0.5:
            scene = self.data.sample(rng, size)
        else:
            scene = rendered.sample(rng, self.data.photos, size)
        return Sample(
            scene.image, paint(boundaries(scene.fine_instances), style.foreground, style.background)
        )
