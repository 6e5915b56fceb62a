"""Tasks on rendered scenes, whose geometry is known: depth and normals."""

from __future__ import annotations

import numpy as np

from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis import rendered
from lavin_deploy.training.tasks.base import (
    FromCollage,
    Sample,
)


class Depth(FromCollage):
    """Paint inverse depth of a rendered scene; see ``rendered.depth_image``.

    The style's foreground is the colour of the nearest point, its background that of the farthest:
    white and black, or the other way round.
    """

    name = "depth"
    deterministic = True

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Near is bright in two of three episodes, else far is."""
        if rng.random() < 2 / 3:
            return Style()
        return Style(foreground=(0, 0, 0), background=(255, 255, 255))

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a rendered scene and its inverse depth."""
        scene = rendered.sample(rng, self.data.photos, size)
        assert scene.depth is not None
        near = rendered.depth_image(scene.depth).astype(np.float32) / np.float32(255)
        return Sample(scene.image, paint(near, style.foreground, style.background))


class Normals(FromCollage):
    """Paint the surface normals of a rendered scene as (n + 1) / 2; see ``rendered``."""

    name = "normals"
    deterministic = True

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a rendered scene and its normals."""
        scene = rendered.sample(rng, self.data.photos, size)
        assert scene.normals is not None
        return Sample(scene.image, rendered.normal_image(scene.normals))
