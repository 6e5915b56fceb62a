"""Tasks as episodes: a style that the pairs of an episode share, and samples in that style.

What a task asks is fixed by its name; *how* the answer is to be painted is its style (colours,
polarity, grey levels). A style holds for every pair and the query of one episode, so a model that
is to paint the query's answer must read the style from the pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from lavin_deploy.errors import unknown_name
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training import scenes
from lavin_deploy.training.collage import Collage
from lavin_deploy.training.composed import Matting, Removal
from lavin_deploy.training.figures import Pose
from lavin_deploy.training.generation import Reverse
from lavin_deploy.training.in_context import FILTERS, Filter
from lavin_deploy.training.instances import Detection, Panoptic, SingleObjectDetection
from lavin_deploy.training.labelled import LABELLED, Labelled
from lavin_deploy.training.pictures import (
    FromCollage,
    Sample,
    add_noise,
    boundaries,
    far_colours,
    picture,
    vivid_colour,
)
from lavin_deploy.training.restoration import HARMS, Restoration
from lavin_deploy.training.sequences import NextFrame

log = logging.getLogger(__name__)


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


class Segmentation(FromCollage):
    """Paint the objects of a collage in one colour and the rest in another."""

    name = "segmentation"
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
            scene = scenes.sample(rng, self.data.photos, size)
        return Sample(
            scene.image, paint(boundaries(scene.fine_instances), style.foreground, style.background)
        )


class Colorization(FromCollage):
    """Give a grey photograph its colours back."""

    name = "colorization"
    deterministic = False

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a photo in its own colours; the input holds its grey in three channels."""
        target = self.data.photo(rng, size, jitter=False)
        grey = cv2.cvtColor(target, cv2.COLOR_RGB2GRAY)
        return Sample(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8), target)


class Denoising(FromCollage):
    """Take Gaussian noise off; the style's ``strength`` is its sigma in grey levels, 10-50."""

    name = "denoising"
    deterministic = True

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Draw the sigma."""
        return Style(strength=round(float(rng.uniform(10, 50)), 1))

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a picture and add noise, clipped to [0, 255]."""
        target = picture(rng, self.data, size)
        return Sample(add_noise(rng, target, style.strength), target)


class Inpainting(FromCollage):
    """Fill one grey (127) square whose side is about a quarter of the picture's."""

    name = "inpainting"
    deterministic = False

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a picture and put the square at a random place."""
        target = picture(rng, self.data, size)
        side = round(size * rng.uniform(0.22, 0.3))
        y, x = (int(place) for place in rng.integers(0, size - side + 1, 2))
        holed = target.copy()
        holed[y : y + side, x : x + side] = 127
        return Sample(holed, target)


class Depth(FromCollage):
    """Paint inverse depth of a rendered scene; see ``scenes.depth_image``.

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
        scene = scenes.sample(rng, self.data.photos, size)
        assert scene.depth is not None
        near = scenes.depth_image(scene.depth).astype(np.float32) / np.float32(255)
        return Sample(scene.image, paint(near, style.foreground, style.background))


class Normals(FromCollage):
    """Paint the surface normals of a rendered scene as (n + 1) / 2; see ``scenes``."""

    name = "normals"
    deterministic = True

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a rendered scene and its normals."""
        scene = scenes.sample(rng, self.data.photos, size)
        assert scene.normals is not None
        return Sample(scene.image, scenes.normal_image(scene.normals))


TASKS: dict[str, Callable[[Collage], Task]] = {
    "segmentation": Segmentation,
    "edges": Edges,
    "colorization": Colorization,
    "denoising": Denoising,
    "inpainting": Inpainting,
    "depth": Depth,
    "normals": Normals,
    "matting": Matting,
    "removal": Removal,
    "next_frame": NextFrame,
    **{name: partial(Restoration, name) for name in HARMS},
    "detection": Detection,
    "panoptic": Panoptic,
    "pose": Pose,
    "pose_to_image": partial(Reverse, "pose_to_image", Pose),
    "depth_to_image": partial(Reverse, "depth_to_image", Depth),
    "normal_to_image": partial(Reverse, "normal_to_image", Normals),
    **{name: partial(Labelled, name) for name, of in LABELLED.items() if not of.never_trained},
}
"""Tasks that models are trained on."""

NEVER_TRAINED: dict[str, Callable[[Collage], Task]] = {
    **{name: partial(Filter, name) for name in FILTERS},
    "single_object_detection": SingleObjectDetection,
    **{name: partial(Labelled, name) for name, of in LABELLED.items() if of.never_trained},
}
"""Tasks that are there for evaluation only."""


def load_tasks(folder: Path, split: str, names: Sequence[str] | None = None) -> TaskSet:
    """Load one split of a prepared folder and return its tasks by name.

    Args:
        folder: what ``sources.prepare`` filled.
        split: ``"train"`` or ``"test"``.
        names: tasks wanted; None means all that the folder has pictures for.

    Raises:
        InputError: the folder is not prepared, a task or split has no such name, or a task asked
            for by name has no pictures in that split.
    """
    known = {**TASKS, **NEVER_TRAINED}
    for name in names or ():
        if name not in known:
            raise unknown_name("task", name, known)
    data = Collage.load(folder, split)
    return available(known, data) if names is None else {n: known[n](data) for n in names}


def available(makers: Mapping[str, Callable[[Collage], Task]], data: Collage) -> TaskSet:
    """Make the tasks that there are pictures for; a log line names the others."""
    absent = [name for name in makers if name in LABELLED and name not in data.labelled]
    if absent:
        log.info("no labelled pictures for %s; these tasks are left out", ", ".join(absent))
    return {name: make(data) for name, make in makers.items() if name not in absent}


def episode(
    task: Task, rng: np.random.Generator, style: Style, size: int, count: int
) -> list[Sample]:
    """Draw samples that may stand in one episode; a task with few pictures deals them out."""
    dealt = getattr(task, "episode", None)
    if dealt is not None:
        samples: list[Sample] = dealt(rng, style, size, count)
        return samples
    return [task.sample(rng, style, size) for _ in range(count)]
