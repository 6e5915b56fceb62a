"""Tasks whose truth a collage knows: what lies behind its objects, and how opaque they are."""

from __future__ import annotations

import numpy as np

from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.pictures import FromCollage, Sample


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
