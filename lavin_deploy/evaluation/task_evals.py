"""How the answers to each task are evaluated, and what they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation import baselines
from lavin_deploy.evaluation.baselines import Baseline
from lavin_deploy.evaluation.measures import (
    AB_PSNR,
    ABS_REL,
    ANGLE,
    BOX_F,
    BOX_IOU,
    CONTOURS,
    DELTA1,
    DICE,
    EDGE_F,
    HOLE_PSNR,
    IOU,
    LIMB_F,
    MATTE_ERROR,
    MEAN_IOU,
    MOVING_PSNR,
    OUTLINE_F,
    PQ,
    PSNR,
    SHARE_ERROR,
    SSIM,
    TINT,
    Metric,
    of_coloured,
)
from lavin_deploy.tasks.samples import Style

Kind = Literal["model", "ceiling", "control", "baseline"]
Targets = Sequence[tuple[U8, Style]]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A way to answer without the model; ``opencv`` says whether it takes OpenCV to do so."""

    name: str
    kind: Kind
    answer: Baseline
    opencv: bool = False


@dataclass(frozen=True, kw_only=True)
class TaskEval:
    """How one task is evaluated.

    Attributes:
        task: its name.
        metrics: the first is the headline.
        references: build the rows beside the model from targets of the training split.
        swap: whether the swap test applies: answers are masks in two colours.
        family: the task whose stored settings hold for it, and whose pairs are no wrong prompt;
            empty is its own name.
        published: what the paper reports, by the name of the metric.
        note: how this differs from what the paper does, a sentence without a full stop.
    """

    task: str
    metrics: tuple[Metric, ...]
    references: Callable[[Targets], tuple[Reference, ...]]
    swap: bool = False
    family: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", self.family or self.task)


def _classical(*, opencv: bool = False, **methods: Baseline) -> tuple[Reference, ...]:
    return tuple(
        Reference(name=name.replace("_", " "), kind="baseline", answer=method, opencv=opencv)
        for name, method in methods.items()
    )


def _restoration(task: str, **methods: Baseline) -> TaskEval:
    """Scored by PSNR and SSIM against the picture that something was done to."""
    return TaskEval(
        task=task, metrics=(PSNR, SSIM), references=lambda _: _classical(opencv=True, **methods)
    )


def _generation(task: str) -> TaskEval:
    """Many pictures are right: likeness to the one, and whether contours are where they must be."""
    return TaskEval(
        task=task,
        metrics=(PSNR, SSIM, CONTOURS),
        references=_for_pictures,
    )


def _constant(**methods: Baseline) -> tuple[Reference, ...]:
    return tuple(
        Reference(name=name.replace("_", " "), kind="control", answer=method)
        for name, method in methods.items()
    )


def _for_boxes(targets: Targets) -> tuple[Reference, ...]:
    return (
        *_constant(centred_box=baselines.centred_box),
        *_classical(opencv=True, border_colour=baselines.boxes_by_border_colour),
    )


def _for_masks(*classical: Reference) -> Callable[[Targets], tuple[Reference, ...]]:
    """Constant masks, as far as there are training targets, then classical methods."""

    def references(targets: Targets) -> tuple[Reference, ...]:
        constant = _constant(all_foreground=baselines.all_foreground)
        if targets:
            mean = baselines.best_constant_mask(targets).astype(np.float32)
            constant += _constant(mean_mask=baselines.painted(mean))
        return (*constant, *classical)

    return references


def _for_pictures(targets: Targets) -> tuple[Reference, ...]:
    return _constant(mean_picture=baselines.mean_picture(targets))


def _for_tissue(targets: Targets) -> tuple[Reference, ...]:
    return _classical(opencv=True, grey_levels=baselines.grey_levels)


def _for_edges(targets: Targets) -> tuple[Reference, ...]:
    mean = baselines.painted(baselines.mean_share(targets))
    return (
        Reference(name="mean edges", kind="control", answer=mean),
        *_classical(opencv=True, canny=baselines.canny),
    )


def _for_matte(targets: Targets) -> tuple[Reference, ...]:
    mean = baselines.painted(baselines.mean_share(targets))
    return (
        Reference(name="mean matte", kind="control", answer=mean),
        *_classical(opencv=True, grabcut=baselines.grabcut),
    )


def _for_depth(targets: Targets) -> tuple[Reference, ...]:
    return _classical(mean_depth=baselines.painted(baselines.mean_share(targets)))


TASK_EVALS: dict[str, TaskEval] = {
    task_eval.task: task_eval
    for task_eval in (
        TaskEval(
            task="segmentation",
            metrics=(IOU, DICE, OUTLINE_F),
            references=_for_masks(
                *_classical(
                    opencv=True, grabcut=baselines.grabcut, border_colour=baselines.border_colour
                )
            ),
            swap=True,
        ),
        TaskEval(task="edges", metrics=(EDGE_F,), references=_for_edges),
        TaskEval(
            task="colorization",
            metrics=(of_coloured(AB_PSNR), of_coloured(PSNR), of_coloured(TINT)),
            references=lambda _: _classical(grey=baselines.copy_input),
        ),
        TaskEval(
            task="denoising",
            metrics=(PSNR, SSIM),
            references=lambda _: _classical(
                opencv=True,
                bilateral=baselines.bilateral,
                non_local_means=baselines.non_local_means,
            ),
        ),
        TaskEval(
            task="inpainting",
            metrics=(HOLE_PSNR, PSNR, SSIM),
            references=lambda _: _classical(opencv=True, telea=baselines.telea),
        ),
        TaskEval(task="depth", metrics=(ABS_REL, DELTA1, SHARE_ERROR), references=_for_depth),
        TaskEval(
            task="normals",
            metrics=(ANGLE,),
            references=lambda targets: _classical(mean_normals=baselines.mean_picture(targets)),
        ),
        TaskEval(task="matting", metrics=(MATTE_ERROR,), references=_for_matte),
        _restoration("removal"),
        _restoration("deblurring", unsharp=baselines.unsharp),
        _restoration("motion_deblurring", unsharp=baselines.unsharp),
        _restoration("super_resolution", unsharp=baselines.unsharp),
        _restoration("jpeg_repair", bilateral=baselines.smoothed),
        _restoration("low_light", stretched=baselines.stretched),
        _restoration("deraining", median=baselines.median),
        _restoration("glass_deblurring", median=baselines.median),
        TaskEval(
            task="next_frame",
            metrics=(MOVING_PSNR, PSNR, SSIM),
            references=lambda _: _classical(opencv=True, flow_warp=baselines.flow_warp),
        ),
        *(_restoration(task) for task in ("sepia", "negative", "sketch")),
        TaskEval(task="detection", metrics=(BOX_IOU, BOX_F), references=_for_boxes),
        TaskEval(task="single_object_detection", metrics=(BOX_IOU, BOX_F), references=_for_boxes),
        TaskEval(
            task="panoptic",
            metrics=(PQ,),
            references=lambda _: (
                *_constant(one_segment=baselines.all_foreground),
                *_classical(opencv=True, mean_shift=baselines.mean_shift),
            ),
        ),
        TaskEval(
            task="pose",
            metrics=(LIMB_F,),
            references=lambda _: _constant(standing_figure=baselines.standing_figure),
        ),
        *(_generation(task) for task in ("pose_to_image", "depth_to_image", "normal_to_image")),
        TaskEval(
            task="land_mask",
            metrics=(IOU, DICE),
            references=_for_masks(*_classical(not_blue=baselines.not_blue)),
            swap=True,
        ),
        *(
            TaskEval(
                task=task,
                metrics=(IOU, DICE),
                references=_for_masks(*_classical(opencv=True, otsu=baselines.otsu)),
                swap=True,
            )
            for task in ("brain_mask", "nuclei", "scratch_assay")
        ),
        *(
            TaskEval(task=task, metrics=(PSNR, SSIM), references=_for_pictures)
            for task in ("relief", "shaded_relief")
        ),
        TaskEval(task="tissue", metrics=(MEAN_IOU,), references=_for_tissue),
        TaskEval(task="parcellation", metrics=(MEAN_IOU,), references=lambda _: ()),
    )
}

SUITES: dict[str, tuple[str, ...]] = {
    "core": (
        *("segmentation", "edges", "colorization", "denoising", "inpainting", "depth"),
        *("deblurring", "normals"),
    ),
    "restoration": (
        *("deblurring", "motion_deblurring", "super_resolution", "jpeg_repair", "low_light"),
        *("deraining", "glass_deblurring", "denoising", "inpainting", "removal", "matting"),
    ),
    "video": ("next_frame",),
    "labelled": (
        *("land_mask", "relief", "brain_mask", "tissue", "nuclei"),
        *("shaded_relief", "parcellation", "scratch_assay"),
    ),
    "in-context": ("sepia", "negative", "sketch"),
    "paper-tasks": (
        *("detection", "panoptic", "pose", "pose_to_image", "edges", "depth", "depth_to_image"),
        *("normals", "normal_to_image", "inpainting", "colorization", "deraining"),
        *("glass_deblurring", "motion_deblurring", "segmentation", "single_object_detection"),
    ),
}
"""Tasks of each suite; ``TASK_EVALS`` may hold more, which run when asked for by name."""
