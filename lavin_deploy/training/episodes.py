"""Tasks as episodes: a style that the pairs of an episode share, and samples in that style.

What a task asks is fixed by its name; *how* the answer is to be painted is its style (colours,
polarity, grey levels). A style holds for every pair and the query of one episode, so a model that
is to paint the query's answer must read the style from the pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.training.collage import Collage

UInt8 = NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Style:
    """What is fixed within an episode; every field is plain JSON data.

    Attributes:
        foreground: RGB of what the task marks.
        background: RGB of the rest.
        strength: a number the task explains (noise sigma); 0 where unused.
    """

    foreground: Colour = (255, 255, 255)
    background: Colour = (0, 0, 0)
    strength: float = 0.0


class Sample(NamedTuple):
    """An input and its answer, (S, S, 3) uint8 RGB each."""

    input: UInt8
    target: UInt8


class Task(Protocol):
    """A task that makes its own data.

    Attributes:
        name: its name in ``TASKS`` and in bundles.
        deterministic: whether the input and the style fix the target.
    """

    name: ClassVar[str]
    deterministic: ClassVar[bool]

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Draw what an episode's pairs and query share."""
        ...

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw one input and its target, size x size pixels."""
        ...


class Segmentation:
    """Paint the objects of a collage in one colour and the rest in another."""

    name: ClassVar[str] = "segmentation"
    deterministic: ClassVar[bool] = True

    def __init__(self, data: Collage) -> None:
        self.data = data

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Mostly a colour on black, sometimes black on a colour or two colours far apart."""
        kind = rng.random()
        if kind < 0.6:
            return Style(foreground=vivid_colour(rng))
        if kind < 0.8:
            return Style(foreground=(0, 0, 0), background=vivid_colour(rng))
        first, second = far_colours(rng)
        return Style(foreground=first, background=second)

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a collage; its hard mask, antialiased, mixes the two colours."""
        scene = self.data.sample(rng, size)
        cover = scene.coverage[..., None]
        front = np.array(style.foreground, np.float32)
        back = np.array(style.background, np.float32)
        target = front * cover + back * (1 - cover)
        return Sample(scene.image, np.round(target).astype(np.uint8))


def vivid_colour(rng: np.random.Generator) -> Colour:
    """Draw a saturated RGB colour that is clearly not black (sometimes white)."""
    if rng.random() < 0.1:
        return (255, 255, 255)
    hue, saturation = rng.uniform(0, 6), rng.uniform(0.6, 1.0)
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


TASKS: dict[str, Callable[[Collage], Any]] = {"segmentation": Segmentation}
