"""Tasks that no model is trained on: what it makes of them it has from the pairs alone."""

from __future__ import annotations

import cv2
import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import FromCollage, Sample

_SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
"""The usual matrix: rows give red, green, blue."""


def sepia(image: U8) -> U8:
    """Tones of brown, clipped to [0, 255]."""
    return np.asarray(np.clip(np.round(image @ _SEPIA.T), 0, 255), np.uint8)


def negative(image: U8) -> U8:
    """255 minus the picture."""
    return 255 - image


def sketch(image: U8) -> U8:
    """A pencil drawing: grey divided by its blur (colour dodge), in three channels."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    soft = cv2.GaussianBlur(grey, (0, 0), 0.03 * image.shape[0])
    drawn = np.clip(grey / np.maximum(soft, 1) * 255, 0, 255).round().astype(np.uint8)
    return np.repeat(drawn[..., None], 3, axis=2)


FILTERS = {"sepia": sepia, "negative": negative, "sketch": sketch}


class Filter(FromCollage):
    """Do to a photo what the pairs show; one of ``FILTERS``.

    Args:
        name: of the task.
        data: pictures of one split.
    """

    deterministic = True

    def __init__(self, name: str, data: Collage) -> None:
        super().__init__(data)
        self.name = name

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a photo and filter it."""
        photo = self.data.photo(rng, size)
        return Sample(photo, FILTERS[self.name](photo))
