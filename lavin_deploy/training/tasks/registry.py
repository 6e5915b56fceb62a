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

import numpy as np

from lavin_deploy.errors import unknown_name
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Family, Group, Sample, Task, TaskSet
from lavin_deploy.training.tasks.composed import Edges, Matting, Removal, Segmentation
from lavin_deploy.training.tasks.filters import FILTERS, Filter
from lavin_deploy.training.tasks.instances import Detection, Panoptic, SingleObjectDetection
from lavin_deploy.training.tasks.labelled import LABELLED, Labelled
from lavin_deploy.training.tasks.next_frame import NextFrame
from lavin_deploy.training.tasks.pose import Pose
from lavin_deploy.training.tasks.rendered import Depth, Normals
from lavin_deploy.training.tasks.restoration import (
    DEGRADATIONS,
    Colorization,
    Denoising,
    Inpainting,
    Restoration,
)
from lavin_deploy.training.tasks.reverse import Reverse

log = logging.getLogger(__name__)


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
    **{name: partial(Restoration, name) for name in DEGRADATIONS},
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
        folder: what ``prepare.prepare`` filled.
        split: ``"train"`` or ``"test"``.
        names: tasks wanted; None means all that the folder has pictures for.

    Raises:
        InputError: the folder is not prepared, a task or split has no such name, or a task asked
            for by name has no pictures in that split.
    """
    makers = {**TASKS, **NEVER_TRAINED}
    for name in names or ():
        if name not in makers:
            raise unknown_name("task", name, makers)
    data = Collage.load(folder, split)
    return available(makers, data) if names is None else {n: makers[n](data) for n in names}


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


def group(task: Task, rng: np.random.Generator, size: int, count: int) -> Group:
    """Draw ``count`` items that may stand in one episode, and a style for each of their answers."""
    if isinstance(task, Family):
        return task.group(rng, size, count)
    style = task.draw_style(rng)
    return as_group(episode(task, rng, style, size, count), style)


def as_group(samples: Sequence[Sample], style: Style) -> Group:
    """Samples of one style as a group of one answer."""
    shared = [sample.source for sample in samples]
    places = [
        turn if source is None else shared.index(source) for turn, source in enumerate(shared)
    ]
    return Group(
        inputs=[sample.input for sample in samples],
        targets=[(sample.target,) for sample in samples],
        present=np.ones((len(samples), 1), bool),
        sources=np.array(places),
        styles=(style,),
    )
