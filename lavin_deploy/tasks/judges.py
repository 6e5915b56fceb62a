"""How the answers to each task are judged, and what they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np

from lavin_deploy.tasks import baselines, decoding, matching, metrics
from lavin_deploy.tasks.baselines import Baseline, hole_of
from lavin_deploy.tasks.metrics import F64, Mask
from lavin_deploy.tasks.painting import F32, U8, Colour, share_from_colours
from lavin_deploy.tasks.samples import Episode, Style

Kind = Literal["model", "ceiling", "control", "baseline"]
Measure = Callable[[Episode, U8], float | F64]
Targets = Sequence[tuple[U8, Style]]
T = TypeVar("T")

EDGE_THRESHOLDS = np.arange(0.1, 0.95, 0.1)

MOVED = 12
"""Grey levels by which a channel changes at least where something moves."""

LEAST_COLOUR = 5.0
"""Colourfulness below which a truth is a grey photograph, for which grey is a perfect answer."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number about one answer.

    Attributes:
        name: e.g. ``"iou"``.
        unit: of the number; empty for a ratio.
        higher_is_better: the direction.
        measure: from the episode and the answer (S, S, 3) uint8 to the number (NaN: it does not
            apply), or to one for each of several thresholds; of these the one with the best mean
            over the whole set counts.
    """

    name: str
    unit: str = ""
    higher_is_better: bool = True
    measure: Measure


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A way to answer without the model; ``opencv`` says whether it takes OpenCV to do so."""

    name: str
    kind: Kind
    answer: Baseline
    opencv: bool = False


@dataclass(frozen=True, kw_only=True)
class Judge:
    """How one task is judged.

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


def edge_tolerance(size: int) -> float:
    """Return how far off an edge may be in pixels: 0.75 % of the diagonal, at least 1.5."""
    return max(1.5, 0.0075 * size * 2**0.5)


def _share(episode: Episode, image: U8) -> F32:
    return share_from_colours(image, episode.style.foreground, episode.style.background)


def _mask(episode: Episode, image: U8) -> Mask:
    style = episode.style
    return metrics.mask_from_colours(image, style.foreground, style.background)


def _iou(episode: Episode, image: U8) -> float:
    return metrics.iou(_mask(episode, image), _mask(episode, episode.truth))


def _mean_iou(episode: Episode, image: U8) -> float:
    answer, truth = (
        metrics.nearest_colour(each, _palette(episode)) for each in (image, episode.truth)
    )
    return metrics.mean_iou(answer, truth)


def _palette(episode: Episode) -> Sequence[Colour]:
    """The style's colours; of a stored sample, which tells none, those of the truth."""
    found = np.unique(episode.truth.reshape(-1, 3), axis=0).tolist()
    return episode.style.palette or [(r, g, b) for r, g, b in found]


def _dice(episode: Episode, image: U8) -> float:
    return metrics.dice(_mask(episode, image), _mask(episode, episode.truth))


def _outline_f(episode: Episode, image: U8) -> float:
    answer, truth = (metrics.outline(_mask(episode, each)) for each in (image, episode.truth))
    return metrics.boundary_f(answer, truth, edge_tolerance(image.shape[0]))


def _edge_f(episode: Episode, image: U8) -> F64:
    share, truth = _share(episode, image), _share(episode, episode.truth) > 0.5
    tolerance = edge_tolerance(image.shape[0])
    return np.array([metrics.boundary_f(share > cut, truth, tolerance) for cut in EDGE_THRESHOLDS])


def _read(decode: Callable[[U8], T], score: Callable[[T, T], float]) -> Measure:
    """Score what is read from the answer against what is read from the truth."""
    return lambda episode, image: score(decode(image), decode(episode.truth))


def _fitted(episode: Episode, image: U8) -> tuple[F32, F32]:
    truth = _share(episode, episode.truth)
    return metrics.scale_shift_fit(_share(episode, image), truth), truth


def _share_error(episode: Episode, image: U8) -> float:
    return float(np.abs(_share(episode, image) - _share(episode, episode.truth)).mean())


def _tint_error(episode: Episode, image: U8) -> float:
    return abs(metrics.colourfulness(image) - metrics.colourfulness(episode.truth))


def _moving_psnr(episode: Episode, image: U8) -> float:
    """PSNR where the truth differs from the last frame; NaN where nothing moves."""
    change = np.abs(episode.truth.astype(np.int16) - episode.query).max(axis=2)
    moving = change > MOVED
    return metrics.psnr(image, episode.truth, moving) if moving.any() else float("nan")


def _of_coloured(metric: Metric) -> Metric:
    """Restrict a metric to samples whose truth has colours; grey photographs do not count."""

    def measure(episode: Episode, image: U8) -> float | F64:
        coloured = metrics.colourfulness(episode.truth) >= LEAST_COLOUR
        return metric.measure(episode, image) if coloured else float("nan")

    return replace(metric, measure=measure)


PSNR = Metric(name="psnr", unit="dB", measure=lambda e, a: metrics.psnr(a, e.truth))
SSIM = Metric(name="ssim", measure=lambda e, a: metrics.mean_ssim(a, e.truth))
HOLE_PSNR = Metric(
    name="hole_psnr", unit="dB", measure=lambda e, a: metrics.psnr(a, e.truth, hole_of(e))
)
AB_PSNR = Metric(name="ab_psnr", unit="dB", measure=lambda e, a: metrics.ab_psnr(a, e.truth))
TINT = Metric(name="colourfulness_error", higher_is_better=False, measure=_tint_error)
MOVING_PSNR = Metric(name="moving_psnr", unit="dB", measure=_moving_psnr)
IOU = Metric(name="iou", measure=_iou)
MEAN_IOU = Metric(name="mean_iou", measure=_mean_iou)
DICE = Metric(name="dice", measure=_dice)
OUTLINE_F = Metric(name="boundary_f", measure=_outline_f)
EDGE_F = Metric(name="boundary_f", measure=_edge_f)
ABS_REL = Metric(
    name="abs_rel", higher_is_better=False, measure=lambda e, a: metrics.abs_rel(*_fitted(e, a))
)
DELTA1 = Metric(name="delta1", measure=lambda e, a: metrics.delta1(*_fitted(e, a)))
SHARE_ERROR = Metric(name="unfitted_error", higher_is_better=False, measure=_share_error)
MATTE_ERROR = Metric(name="matte_error", higher_is_better=False, measure=_share_error)
ANGLE = Metric(
    name="mean_angle",
    unit="degrees",
    higher_is_better=False,
    measure=lambda e, a: metrics.mean_angle(a, e.truth),
)
BOX_IOU = Metric(name="box_iou", measure=_read(decoding.boxes, matching.box_iou))
BOX_F = Metric(name="box_f", measure=_read(decoding.boxes, matching.box_f))
PQ = Metric(name="pq", measure=_read(decoding.segments, matching.panoptic_quality))
LIMB_F = Metric(name="limb_f", measure=_read(decoding.limbs, matching.limb_f))
CONTOURS = Metric(
    name="contour_correlation", measure=lambda e, a: metrics.contour_correlation(a, e.truth)
)


def _classical(*, opencv: bool = False, **methods: Baseline) -> tuple[Reference, ...]:
    return tuple(
        Reference(name=name.replace("_", " "), kind="baseline", answer=method, opencv=opencv)
        for name, method in methods.items()
    )


def _restoration(task: str, **methods: Baseline) -> Judge:
    """Judged by PSNR and SSIM against the picture that something was done to."""
    return Judge(
        task=task, metrics=(PSNR, SSIM), references=lambda _: _classical(opencv=True, **methods)
    )


def _generation(task: str) -> Judge:
    """Many pictures are right: likeness to the one, and whether contours are where they must be."""
    return Judge(
        task=task,
        metrics=(PSNR, SSIM, CONTOURS),
        references=lambda targets: _constant(mean_picture=baselines.mean_picture(targets)),
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


def _for_masks(targets: Targets) -> tuple[Reference, ...]:
    constant = baselines.best_constant_mask(targets).astype(np.float32)
    return (
        Reference(name="all foreground", kind="control", answer=baselines.all_foreground),
        Reference(name="mean mask", kind="control", answer=baselines.painted(constant)),
        *_classical(opencv=True, grabcut=baselines.grabcut, border_colour=baselines.border_colour),
    )


def _for_land(targets: Targets) -> tuple[Reference, ...]:
    constant = baselines.best_constant_mask(targets).astype(np.float32)
    return (
        Reference(name="all foreground", kind="control", answer=baselines.all_foreground),
        Reference(name="mean mask", kind="control", answer=baselines.painted(constant)),
        *_classical(not_blue=baselines.not_blue),
    )


def _for_bright(targets: Targets) -> tuple[Reference, ...]:
    """Masks of what is bright; there may be no training targets."""
    mean: tuple[Reference, ...] = ()
    if targets:
        constant = baselines.best_constant_mask(targets).astype(np.float32)
        mean = (Reference(name="mean mask", kind="control", answer=baselines.painted(constant)),)
    return (
        Reference(name="all foreground", kind="control", answer=baselines.all_foreground),
        *mean,
        *_classical(opencv=True, otsu=baselines.otsu),
    )


def _for_pictures(targets: Targets) -> tuple[Reference, ...]:
    mean = baselines.mean_picture(targets)
    return (Reference(name="mean picture", kind="control", answer=mean),)


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


JUDGES: dict[str, Judge] = {
    judge.task: judge
    for judge in (
        Judge(
            task="segmentation",
            metrics=(IOU, DICE, OUTLINE_F),
            references=_for_masks,
            swap=True,
        ),
        Judge(task="edges", metrics=(EDGE_F,), references=_for_edges),
        Judge(
            task="colorization",
            metrics=(_of_coloured(AB_PSNR), _of_coloured(PSNR), _of_coloured(TINT)),
            references=lambda _: _classical(grey=baselines.copy_input),
        ),
        Judge(
            task="denoising",
            metrics=(PSNR, SSIM),
            references=lambda _: _classical(
                opencv=True,
                bilateral=baselines.bilateral,
                non_local_means=baselines.non_local_means,
            ),
        ),
        Judge(
            task="inpainting",
            metrics=(HOLE_PSNR, PSNR, SSIM),
            references=lambda _: _classical(opencv=True, telea=baselines.telea),
        ),
        Judge(task="depth", metrics=(ABS_REL, DELTA1, SHARE_ERROR), references=_for_depth),
        Judge(
            task="normals",
            metrics=(ANGLE,),
            references=lambda targets: _classical(mean_normals=baselines.mean_picture(targets)),
        ),
        Judge(task="matting", metrics=(MATTE_ERROR,), references=_for_matte),
        _restoration("removal"),
        _restoration("deblurring", unsharp=baselines.unsharp),
        _restoration("motion_deblurring", unsharp=baselines.unsharp),
        _restoration("super_resolution", unsharp=baselines.unsharp),
        _restoration("jpeg_repair", bilateral=baselines.smoothed),
        _restoration("low_light", stretched=baselines.stretched),
        _restoration("deraining", median=baselines.median),
        _restoration("glass_deblurring", median=baselines.median),
        Judge(
            task="next_frame",
            metrics=(MOVING_PSNR, PSNR, SSIM),
            references=lambda _: _classical(opencv=True, flow_warp=baselines.flow_warp),
        ),
        *(_restoration(task) for task in ("sepia", "negative", "sketch")),
        Judge(task="detection", metrics=(BOX_IOU, BOX_F), references=_for_boxes),
        Judge(task="single_object_detection", metrics=(BOX_IOU, BOX_F), references=_for_boxes),
        Judge(
            task="panoptic",
            metrics=(PQ,),
            references=lambda _: (
                *_constant(one_segment=baselines.all_foreground),
                *_classical(opencv=True, mean_shift=baselines.mean_shift),
            ),
        ),
        Judge(
            task="pose",
            metrics=(LIMB_F,),
            references=lambda _: _constant(standing_figure=baselines.standing_figure),
        ),
        *(_generation(task) for task in ("pose_to_image", "depth_to_image", "normal_to_image")),
        Judge(task="land_mask", metrics=(IOU, DICE), references=_for_land, swap=True),
        *(
            Judge(task=task, metrics=(IOU, DICE), references=_for_bright, swap=True)
            for task in ("brain_mask", "nuclei", "scratch_assay")
        ),
        *(
            Judge(task=task, metrics=(PSNR, SSIM), references=_for_pictures)
            for task in ("relief", "shaded_relief")
        ),
        Judge(task="tissue", metrics=(MEAN_IOU,), references=_for_tissue),
        Judge(task="parcellation", metrics=(MEAN_IOU,), references=lambda _: ()),
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
"""Tasks of each suite; ``JUDGES`` may hold more, which run when asked for by name."""
