"""Tasks about single things: boxes around them, and a segment for each."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import U8
from lavin_deploy.tasks.decoding import line_width
from lavin_deploy.tasks.painting import Colour
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis import rendered
from lavin_deploy.training.tasks.base import FromCollage, Sample, boundaries, vivid_colour

SMALL = 0.004
"""Share of the frame below which what is seen of a thing is left out."""

APART = 85.0
"""Least Euclidean RGB distance between the colours of two segments of one picture."""


class Detection(FromCollage):
    """Outline the boxes of a collage's objects on black, 2 px wide at 128 px, each in a hue.

    A box encloses what is seen of its object. Hues are random for every picture and at equal
    steps, so that boxes that cross can be told apart; larger boxes are drawn first.
    """

    name = "detection"
    deterministic = False

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a collage and its boxes."""
        scene = self.data.sample(rng, size)
        object_boxes = boxes(scene.fine_instances)
        first = rng.uniform(0, 6)
        target = np.zeros((size, size, 3), np.uint8)
        for number, box in enumerate(object_boxes):
            outline(
                target, box, vivid_colour(rng, hue=(first + 6 * number / len(object_boxes)) % 6)
            )
        return Sample(scene.image, target)


class SingleObjectDetection(FromCollage):
    """Outline the box of the only object of a collage, in the style's colour on black."""

    name = "single_object_detection"
    deterministic = True

    def draw_style(self, rng: np.random.Generator) -> Style:
        """A colour on black."""
        return Style(foreground=vivid_colour(rng))

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw collages until one has a single object, and its box."""
        while True:
            scene = self.data.sample(rng, size)
            object_boxes = boxes(scene.fine_instances)
            if scene.fine_instances.max() == len(object_boxes) == 1:
                break
        target = np.zeros((size, size, 3), np.uint8)
        outline(target, object_boxes[0], style.foreground)
        return Sample(scene.image, target)


class Panoptic(FromCollage):
    """Paint every instance of a collage or a rendered scene in a random colour of its own.

    The background of a collage is one segment; ground, walls and sky of a rendered scene are one
    each. A thin black contour parts segments; what is smaller than ``SMALL`` is void: black.
    """

    name = "panoptic"
    deterministic = False

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a collage or a rendered scene, half and half, and its segments."""
        if rng.random() < 0.5:
            scene = self.data.sample(rng, size)
        else:
            scene = rendered.sample(rng, self.data.photos, size)
        fine = scene.fine_instances
        areas = np.bincount(fine.ravel())
        palette = np.zeros((len(areas), 3), np.float32)
        kept = np.flatnonzero(areas >= SMALL * fine.size)
        palette[kept] = segment_colours(rng, len(kept))
        colours = palette[scene.instances] * (1 - boundaries(fine))[..., None]
        return Sample(scene.image, np.round(colours).astype(np.uint8))


def boxes(fine_instances: U8) -> list[tuple[int, int, int, int]]:
    """Return the boxes of what is seen of each object, the largest first.

    Args:
        fine_instances: (2S, 2S) uint8, 0 = background.

    Returns:
        Left, top, right, bottom in pixels of the S x S picture, right and bottom exclusive;
        objects of which less than ``SMALL`` is seen, or a strip under three lines, have none.
    """
    kept = []
    least = 3 * line_width(fine_instances.shape[0] // 2)
    for number in range(1, int(fine_instances.max()) + 1):
        mask = fine_instances == number
        if np.count_nonzero(mask) < SMALL * mask.size:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        left, top = int(columns[0]) // 2, int(rows[0]) // 2
        right, bottom = int(columns[-1]) // 2 + 1, int(rows[-1]) // 2 + 1
        if min(right - left, bottom - top) >= least:
            kept.append((left, top, right, bottom))
    return sorted(kept, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))


def outline(canvas: U8, box: tuple[int, int, int, int], colour: Colour) -> None:
    """Draw a box, right and bottom exclusive, into (S, S, 3) uint8; the line lies within it."""
    left, top, right, bottom = box
    for step in range(line_width(canvas.shape[0])):
        corners = (left + step, top + step), (right - 1 - step, bottom - 1 - step)
        cv2.rectangle(canvas, *corners, colour, 1)


def segment_colours(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Draw RGB colours that are ``APART`` and far from black, (count, 3); at most about 20 fit."""
    colours = np.zeros((0, 3), np.int64)
    while len(colours) < count:
        colour = rng.integers(0, 256, 3)
        if colour.max() >= 120 and (np.linalg.norm(colours - colour, axis=1) >= APART).all():
            colours = np.vstack([colours, colour])
    return colours
