"""Reading answers back from pictures, and scoring what was read, where the result is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation import baselines, matching
from lavin_deploy.tasks import decoding
from lavin_deploy.tasks.samples import Episode, Style
from tests.helpers.toy_bundle import flat

pytestmark = pytest.mark.unit


def soft(image: U8) -> U8:
    """What an autoencoder leaves of lines: a blur of 0.7 px."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), np.uint8)


def crossing() -> tuple[U8, np.ndarray]:
    """Two outlines of other colours that cross, and their boxes."""
    image = np.zeros((128, 128, 3), np.uint8)
    boxes = np.array([(10, 20, 90, 70), (50, 40, 120, 110)])
    for box, colour in zip(boxes.tolist(), ((250, 40, 60), (40, 220, 200)), strict=True):
        line = baselines.drawn_box(tuple(box), 128).any(axis=-1)
        image[line] = colour
    return image, boxes


def test_boxes_that_cross_are_read_exactly() -> None:
    image, boxes = crossing()
    for picture in (image, soft(image)):
        read = decoding.boxes(picture)
        assert sorted(read.tolist()) == boxes.tolist()


def test_two_apart_boxes_of_one_colour_are_two() -> None:
    first, second = (10, 10, 40, 50), (70, 60, 120, 100)
    image = np.maximum(baselines.drawn_box(first, 128), baselines.drawn_box(second, 128))
    assert sorted(map(tuple, decoding.boxes(soft(image)).tolist())) == [first, second]


@pytest.mark.parametrize("kind", ["filled", "noise", "black", "ring of a seam"])
def test_what_is_no_outline_is_no_box(kind: str) -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    if kind == "filled":
        image[30:90, 20:100] = (255, 0, 0)
    elif kind == "noise":
        image[:] = np.random.default_rng(0).integers(0, 256, image.shape)
    elif kind == "ring of a seam":
        image[20:80, 40:44] = (0, 255, 0)
    assert len(decoding.boxes(image)) == 0


def test_scores_of_boxes() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], float)
    half = np.array([[0, 0, 10, 5], [20, 20, 40, 40]], float)
    none = np.zeros((0, 4))
    assert matching.box_iou(truth, truth[::-1]) == matching.box_f(truth, truth) == 1
    assert matching.box_iou(half, truth) == pytest.approx(0.75)
    assert matching.box_f(half, truth, least=0.6) == pytest.approx(0.5)
    assert matching.box_iou(truth[:1], truth) == 0.5
    assert matching.box_f(truth[:1], truth) == pytest.approx(2 / 3)
    assert matching.box_iou(none, truth) == matching.box_f(none, truth) == 0
    assert matching.box_iou(none, none) == matching.box_f(none, none) == 1


def test_segments_are_colours_and_need_not_be_connected() -> None:
    image = flat(64, 64, 200, 30, 40)
    image[:, 20:30] = (20, 180, 220)
    image[:, 19:20] = image[:, 30:31] = 0
    for picture in (image, soft(image)):
        labels = decoding.segments(picture)
        assert labels.max() == 2
        assert labels[5, 5] == labels[5, 60] != labels[5, 25] > 0
        assert matching.panoptic_quality(labels, decoding.segments(image)) > 0.85
    assert (decoding.segments(image)[:, 19] == 0).all()
    assert decoding.segments(flat(64, 64, 0, 0, 0)).max() == 0


def test_panoptic_quality_of_known_segments() -> None:
    truth = np.zeros((10, 10), np.int32)
    truth[:5], truth[5:8] = 1, 2  # the last two rows are void
    assert matching.panoptic_quality(truth, truth) == 1
    other = np.where(truth == 1, 7, 3).astype(np.int32)  # numbers do not matter, nor void
    assert matching.panoptic_quality(other, truth) == 1
    assert matching.panoptic_quality(np.ones_like(truth), truth) == pytest.approx((5 / 8) / 1.5)
    short = truth.copy()
    short[4] = 0
    assert matching.panoptic_quality(short, truth) == pytest.approx(0.9)
    assert matching.panoptic_quality(truth * 0, truth) == 0
    assert matching.panoptic_quality(truth * 0, truth * 0) == 1


def test_limbs_are_read_by_hue() -> None:
    black = flat(128, 128, 0, 0, 0)
    pair = (black, black)
    episode = Episode(
        task="pose", style=Style(), pairs=(pair,), spare=pair, query=black, truth=black, seed=(0,)
    )
    skeleton = baselines.standing_figure(episode)
    truth = decoding.limbs(skeleton)
    assert all(mask.sum() > 8 for mask in truth)
    assert matching.limb_f(decoding.limbs(soft(skeleton)), truth) > 0.95
    assert matching.limb_f(decoding.limbs(skeleton[:, ::-1]), truth) < 0.5  # left is not right
    assert matching.limb_f(decoding.limbs(np.roll(skeleton, 12, axis=1)), truth) < 0.5
    assert matching.limb_f(decoding.limbs(black), truth) == 0
    assert not any(mask.any() for mask in decoding.limbs(flat(128, 128, 200, 200, 200)))
