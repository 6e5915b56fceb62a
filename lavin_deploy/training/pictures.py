"""What tasks are made of: a sample, and pictures to make it from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.collage import Collage

UInt8 = NDArray[np.uint8]


class Sample(NamedTuple):
    """An input and its answer, (S, S, 3) uint8 RGB each, or (T, S, S, 3) in a clip task.

    Attributes:
        input: what is given.
        target: what is asked for.
        source: number of the picture that it is cut from, where others may be cut from the same.
    """

    input: UInt8
    target: UInt8
    source: int | None = None


class FromCollage:
    """A task made from the pictures of one split, without a choice of style unless it has one.

    Args:
        data: the pictures.
    """

    frames: int = 1
    follows: bool = False
    ordered: bool = False

    def __init__(self, data: Collage) -> None:
        self.data = data

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Nothing varies."""
        return Style()


def picture(rng: np.random.Generator, data: Collage, size: int) -> UInt8:
    """Draw a photo, or in one of four cases the picture of a collage: (size, size, 3) uint8."""
    if rng.random() < 0.25:
        return data.sample(rng, size).image
    return data.photo(rng, size)
