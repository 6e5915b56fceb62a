"""Classical methods on pictures where they must work."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation import baselines, metrics
from lavin_deploy.evaluation.task_evals import TASK_EVALS
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Episode, Style
from tests.helpers.toy_bundle import flat

pytestmark = pytest.mark.unit

STYLE = Style(foreground=(0, 200, 0), background=(90, 0, 90))
STYLE_COLOURS = (STYLE.foreground, STYLE.background)


def episode(query: U8, truth: U8, style: Style = STYLE) -> Episode:
    pair = (query, truth)
    return Episode(
        task="any", style=style, pairs=(pair,), spare=pair, query=query, truth=truth, seed=(0,)
    )


def square() -> tuple[U8, np.ndarray]:
    """A dark square on a noisy grey ground, and its mask."""
    rng = np.random.default_rng(0)
    mask = np.zeros((48, 48), bool)
    mask[14:34, 14:34] = True
    picture = np.where(mask[..., None], (40, 20, 10), (140, 140, 140))
    return np.clip(picture + rng.normal(0, 5, picture.shape), 0, 255).astype(np.uint8), mask


@pytest.mark.parametrize("method", [baselines.grabcut, baselines.border_colour])
def test_masks_of_a_plain_thing(method: baselines.Baseline) -> None:
    picture, mask = square()
    answer = method(episode(picture, paint(mask, *STYLE_COLOURS)))
    assert metrics.iou(metrics.mask_from_colours(answer, *STYLE_COLOURS), mask) > 0.95


def test_telea_fills_a_plain_picture() -> None:
    truth = flat(32, 32, 60, 160, 20)
    holed = truth.copy()
    holed[8:16, 10:18] = 127
    sample = episode(holed, truth)
    assert baselines.hole_of(sample).sum() == 64
    assert np.abs(baselines.telea(sample).astype(int) - truth).max() <= 2
    assert (baselines.telea(episode(truth, truth)) == truth).all()


@pytest.mark.parametrize("method", [baselines.bilateral, baselines.non_local_means])
def test_noise_gets_less(method: baselines.Baseline) -> None:
    rng = np.random.default_rng(0)
    truth = paint(np.tile(np.linspace(0, 1, 48), (48, 1)), (250, 200, 60), (20, 60, 90))
    noisy = np.clip(truth + rng.normal(0, 25, truth.shape), 0, 255).astype(np.uint8)
    sample = episode(noisy, truth, Style(strength=25))
    assert metrics.psnr(method(sample), truth) > metrics.psnr(noisy, truth) + 5


def test_canny_draws_the_border_of_a_square() -> None:
    picture, mask = square()
    answer = baselines.canny(episode(picture, picture))
    lines = metrics.mask_from_colours(answer, *STYLE_COLOURS)
    assert metrics.boundary_f(lines, metrics.outline(mask), 1.5) > 0.95


def test_constants_from_training_targets() -> None:
    mask = np.zeros((16, 16), bool)
    mask[4:12, 3:13] = True
    other = Style(foreground=(1, 2, 250), background=(240, 240, 3))
    targets = [
        (paint(mask, *STYLE_COLOURS), STYLE),
        (paint(mask, other.foreground, other.background), other),
    ]
    assert (baselines.best_constant_mask(targets) == mask).all()
    share = baselines.mean_share(targets)
    assert np.abs(share - mask).max() < 1e-6
    sample = episode(flat(16, 16, 0, 0, 0), flat(16, 16, 0, 0, 0), other)
    assert (baselines.painted(share)(sample) == targets[1][0]).all()
    assert (baselines.all_foreground(sample) == np.array(other.foreground)).all()
    greys = [(flat(4, 4, level, 0, 0), STYLE) for level in (100, 110)]
    assert (baselines.mean_picture(greys)(sample) == flat(4, 4, 105, 0, 0)).all()


def test_flow_goes_on_as_the_last_pair_did() -> None:
    rng = np.random.default_rng(0)
    wide = np.repeat(rng.integers(0, 256, (16, 24, 3)).astype(np.uint8), 8, axis=0)
    wide = np.asarray(cv2.GaussianBlur(np.repeat(wide, 8, axis=1), (0, 0), 3), np.uint8)
    frames = [np.ascontiguousarray(wide[:, 8 + 3 * turn : 136 + 3 * turn]) for turn in range(3)]
    asked = Episode(
        task="next_frame",
        style=Style(),
        pairs=((frames[0], frames[1]),),
        spare=(frames[0], frames[1]),
        query=frames[1],
        truth=frames[2],
        seed=(0,),
    )
    answer = baselines.flow_warp(asked)
    inner = np.s_[16:-16, 16:-16]
    assert metrics.psnr(answer[inner], frames[2][inner]) > 30
    assert metrics.psnr(frames[1][inner], frames[2][inner]) < 24


def test_next_frames_are_scored_where_something_moves() -> None:
    task_eval = TASK_EVALS["next_frame"].metrics[0]
    query = flat(32, 32, 100, 100, 100)
    truth = query.copy()
    truth[8:16] = 160
    still = episode(query, query)
    moving = episode(query, truth)
    assert np.isnan(task_eval.measure(still, query))
    assert task_eval.measure(moving, truth) == metrics.PSNR_LIMIT
    noisy = truth.copy()
    noisy[20:] = 0  # nothing moved there
    assert task_eval.measure(moving, noisy) == metrics.PSNR_LIMIT
    assert task_eval.measure(moving, query) < 15
