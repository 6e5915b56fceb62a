"""What is measured of an answer, task by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from lavin_deploy.arrays import F32, F64, U8, Mask
from lavin_deploy.evaluation import matching, metrics
from lavin_deploy.evaluation.baselines import hole_of
from lavin_deploy.tasks import decoding
from lavin_deploy.tasks.painting import Colour, share_from_colours
from lavin_deploy.tasks.samples import Episode

Measure = Callable[[Episode, U8], float | F64]
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
    colours = np.unique(episode.truth.reshape(-1, 3), axis=0).tolist()
    return episode.style.palette or [(r, g, b) for r, g, b in colours]


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


def of_coloured(metric: Metric) -> Metric:
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
