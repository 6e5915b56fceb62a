"""What tasks are made of: a sample, pictures to make it from, colours and lines to paint it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import F32, U8
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


@dataclass(frozen=True, kw_only=True)
class Group:
    """Items that may stand in one episode, with the targets of every answer asked of them.

    Attributes:
        inputs: N pictures (S, S, 3) or clips (T, S, S, 3), uint8 RGB.
        targets: (N, A) of them; answer a of all items is painted in one style.
        present: (N, A), whether an item shows what the answer is about: only then is it measured.
        sources: (N,), equal for items that are cut from one picture.
        styles: (A,), how each answer is painted.
        shares: (N, A, S, S) float32 in [0, 1], what each answer marks, visible parts only; None
            where answers are not masks.
        known: (N, S, S) bool, where targets are known; None: everywhere.
        names: (A,), of answers that have one, as held-out filters do.
        pairs_show_all: only an item that shows what every answer is about is a pair: where one is
            alone, the pair does not say whether it or everything is asked.
    """

    inputs: Sequence[U8]
    targets: Sequence[Sequence[U8]]
    present: NDArray[np.bool_]
    sources: NDArray[np.int64]
    styles: Sequence[Style] = ()
    shares: F32 | None = None
    known: NDArray[np.bool_] | None = None
    names: Sequence[str] = ()
    pairs_show_all: bool = False

    @property
    def pairs(self) -> NDArray[np.bool_]:
        """(N, A), whether an item can be a pair."""
        if self.pairs_show_all:
            return self.present & self.present.all(axis=1, keepdims=True)
        return self.present


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


class Family(FromCollage):
    """Tasks that have nothing in common but how they are shown: only the pair says what is asked.

    Every item comes with the targets of several answers, so nothing is learnt by heart.

    Args:
        data: the pictures of one split.
        held_out: draw the members that are never trained on.
        plain: paint masks filled and hard, so that an answer can be read back by its two colours.

    Attributes:
        answers: targets A of an item.
        needs: kinds of the folder's labelled pictures, of which one is enough; empty: none needed.
        of_pictures: whether its members are things in pictures, so that those that are trained on
            are in the training split.
        marks: whether answers are masks.
        version: another one where the same seed gives other items than it did.
    """

    name = ""
    needs: tuple[str, ...] = ()
    of_pictures = False
    marks = True
    version = 1
    deterministic = True
    answers = 1

    def __init__(self, data: Collage, *, held_out: bool = False, plain: bool = False) -> None:
        super().__init__(data)
        self.held_out, self.plain = held_out, plain

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        """Draw ``count`` items that may stand in one episode."""
        raise NotImplementedError

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw one item and the first of its answers; the style is drawn anew."""
        drawn = self.group(rng, size, 1)
        return Sample(drawn.inputs[0], drawn.targets[0][0])


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
