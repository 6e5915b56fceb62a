"""What tasks are made of: a sample, pictures to make it from, colours and lines to paint it in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import U8
from lavin_deploy.tasks.painting import Colour
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis.collage import Collage


class Sample(NamedTuple):
    """An input and its answer, (S, S, 3) uint8 RGB each, or (T, S, S, 3) in a clip task.

    Attributes:
        input: what is given.
        target: what is asked for.
        source: number of the picture that it is cut from, where others may be cut from the same.
    """

    input: U8
    target: U8
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


def deal(rng: np.random.Generator, total: int, count: int) -> list[int]:
    """Deal ``count`` of ``total`` numbers out: none comes again before all have come."""
    rounds = -(-count // total)
    order = np.concatenate([rng.permutation(total) for _ in range(rounds)])
    return [int(number) for number in order[:count]]


def add_noise(rng: np.random.Generator, image: U8, sigma: float) -> U8:
    """Add Gaussian noise of ``sigma`` grey levels, clipped to [0, 255]; any shape."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def picture(rng: np.random.Generator, data: Collage, size: int) -> U8:
    """Draw a photo, or in one of four cases the picture of a collage: (size, size, 3) uint8."""
    if rng.random() < 0.25:
        return data.sample(rng, size).image
    return data.photo(rng, size)


def boundaries(fine_instances: U8) -> NDArray[np.float32]:
    """Return how much of each pixel lies on a line 1.5 pixels wide between instances.

    Args:
        fine_instances: (2S, 2S) uint8.

    Returns:
        (S, S) float32 in [0, 1].
    """
    line = np.zeros(fine_instances.shape, np.uint8)
    line[:, 1:] |= fine_instances[:, 1:] != fine_instances[:, :-1]
    line[1:] |= fine_instances[1:] != fine_instances[:-1]
    line = np.asarray(cv2.dilate(line, np.ones((3, 3), np.uint8)), np.uint8)
    size = (fine_instances.shape[1] // 2, fine_instances.shape[0] // 2)
    return np.asarray(cv2.resize(line.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def vivid_colour(rng: np.random.Generator, hue: float | None = None) -> Colour:
    """Draw a saturated RGB colour that is clearly not black.

    Args:
        rng: source of the choice.
        hue: in [0, 6), red at 0, green at 2, blue at 4; None draws one, or in one of ten cases
            white.
    """
    if hue is None:
        if rng.random() < 0.1:
            return (255, 255, 255)
        hue = rng.uniform(0, 6)
    saturation = rng.uniform(0.6, 1.0)
    value = rng.uniform(0.65, 1.0)
    wave = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    rgb = np.round(255 * value * (1 - saturation * (1 - wave)))
    return (int(rgb[0]), int(rgb[1]), int(rgb[2]))


def far_colours(rng: np.random.Generator, least: float = 100.0) -> tuple[Colour, Colour]:
    """Draw two RGB colours at least ``least`` apart (Euclidean)."""
    while True:
        pair = rng.integers(0, 256, (2, 3))
        if np.linalg.norm(pair[0] - pair[1]) >= least:
            first, second = ((int(c[0]), int(c[1]), int(c[2])) for c in pair)
            return first, second


class Task(Protocol):
    """A task that makes its own data.

    Attributes:
        name: its name in ``TASKS`` and in bundles.
        deterministic: whether the input and the style fix the target.
        frames: of an input, 4k + 1; 1 for pictures.
        follows: the target is what comes after the input in one clip, and is encoded with it.
        ordered: samples of an episode come one after another, so pairs stand right before the
            query.
    """

    name: str
    deterministic: bool
    frames: int
    follows: bool
    ordered: bool

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Draw what an episode's pairs and query share."""
        ...

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw one input and its target, size x size pixels."""
        ...


TaskSet = Mapping[str, Task]
