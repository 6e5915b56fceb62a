"""The published protocols on miniatures of their test sets."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lavin_deploy.errors import InputError
from lavin_deploy.evaluation import paper_metrics
from lavin_deploy.evaluation.metrics import PSNR_LIMIT
from lavin_deploy.evaluation.paper.episodes import Published
from lavin_deploy.evaluation.paper.sets import Pascal5i
from lavin_deploy.evaluation.paper.task_evals import PAPER_TASK_EVALS
from lavin_deploy.evaluation.suite import evaluate_task
from tests.helpers import published as published_sets

pytestmark = pytest.mark.data

THERE = (
    *("pascal_segmentation_s1", "pascal_segmentation_s3", "pascal_segmentation_s4"),
    *("pascal_detection_s1", "pascal_detection_s3", "pascal_detection_s4"),
    *("nyu_depth", "nyu_normals", "imagenet_colorization", "imagenet_inpainting"),
)
PERFECT = {
    "iou": 1,
    "box_iou": 1,
    "abs_rel": 0,
    "delta1": 1,
    "mean_angle": 0,
    "within_11.25": 1,
    "mse": 0,
    "psnr": PSNR_LIMIT,
    "hole_psnr": PSNR_LIMIT,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_sets.published(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def source(folder: Path) -> Published:
    return Published(folder, size=64, pairs=2)


def test_every_task_that_has_enough_pictures_is_there(source: Published) -> None:
    assert tuple(source.tasks) == THERE  # fold 2 has no picture; bird, in fold 1, has one
    assert source.count("pascal_segmentation_s1") == 5
    assert source.count("nyu_depth") == 5
    assert source.count("imagenet_inpainting") == 6


def test_detection_is_of_single_objects_that_leave_room(folder: Path) -> None:
    pascal = Pascal5i(folder / "pascal-5i")
    first = {name for name, _ in pascal.samples("pascal_detection_s1")}
    assert first == {f"2007_{number:06}" for number in (3, 6, 9, 12)}  # 0 has a bird as well
    third = {name for name, _ in pascal.samples("pascal_detection_s3")}
    assert third == {f"2007_{number:06}" for number in (4, 7, 10, 13)}  # 1 is of two objects
    fourth = {name for name, _ in pascal.samples("pascal_detection_s4")}
    assert fourth == {f"2007_{number:06}" for number in (5, 8, 11, 14)}  # 2 fills the frame
    assert len(pascal.samples("pascal_segmentation_s1")) == 6


@pytest.mark.parametrize("task", THERE)
def test_an_episode_is_of_different_pictures_and_always_the_same(
    folder: Path, source: Published, task: str
) -> None:
    episode = source.episode(task, 1)
    again = Published(folder, size=64, pairs=2).episode(task, 1)
    assert (episode.query == again.query).all()
    assert (episode.truth == again.truth).all()
    assert episode.style == again.style
    assert episode.query.shape == episode.truth.shape == (64, 64, 3)
    assert len(episode.pairs) == 2
    inputs = [image for image, _ in (*episode.pairs, episode.spare)] + [episode.query]
    assert len({image.tobytes() for image in inputs}) == 4
    count = source.count(task)
    queries = [source.episode(task, index).query for index in range(count)]
    if task != "imagenet_inpainting":  # which has another hole each time
        assert len({query.tobytes() for query in queries}) == count
        assert (source.episode(task, count).query == queries[0]).all()


@pytest.mark.parametrize("task", THERE)
def test_perfect_answers_have_perfect_scores(source: Published, task: str) -> None:
    truths = {
        episode.query.tobytes(): episode.truth
        for episode in (source.episode(task, index) for index in range(4))
    }
    result = evaluate_task(task, source, lambda _, query: truths[query.tobytes()], samples=4)
    for metric in result.metrics:
        mean = result.score("model", metric.name).mean
        # Depth is painted in 256 greys: of what is far away a grey is a few percent.
        slack = 0.02 if task == "nyu_depth" else 1e-4
        assert mean == pytest.approx(PERFECT[metric.name], abs=slack), metric.name
        copied = result.score("copy input", metric.name).mean
        assert copied is not None
        assert (copied < mean) == metric.higher_is_better
    assert result.published == PAPER_TASK_EVALS[task].published
    assert result.gain is not None


def test_a_mask_is_the_class_in_one_colour_on_black(source: Published) -> None:
    episode = source.episode("pascal_segmentation_s3", 0)
    top, left, bottom, right = published_sets.BOX
    place = (top * 64 // 120, left * 64 // 160, -(-bottom * 64 // 120), -(-right * 64 // 160))
    for picture in (episode.truth, *(target for _, target in episode.pairs)):
        mask = (picture == episode.style.foreground).all(axis=-1)
        assert (picture[~mask] == 0).all()
        box = paper_metrics.box_of(mask)
        assert np.abs(np.subtract(box, place)).max() <= 1  # void round it is not the object
    assert max(episode.style.foreground) >= 128


def test_a_box_is_an_outline_of_two_pixels(source: Published) -> None:
    episode = source.episode("pascal_detection_s4", 0)
    mask = (episode.truth == episode.style.foreground).all(axis=-1)
    box = paper_metrics.box_of(mask)
    assert (mask == paper_metrics.box_outline(box, (64, 64), 2)).all()
    height, width = box[2] - box[0], box[3] - box[1]
    assert mask.sum() == height * width - (height - 4) * (width - 4)


def test_the_box_of_an_answer_forgives_stray_pixels() -> None:
    truth = paper_metrics.box_outline((20, 2, 50, 32), (64, 64), 2)
    answer = truth.copy()
    answer[0, 0] = answer[63, 63] = True
    assert paper_metrics.box_of(answer) == (0, 0, 64, 64)
    assert paper_metrics.box_iou(answer, truth) == 1
    shifted = np.roll(truth, 15, axis=1)
    assert paper_metrics.box_iou(shifted, truth) == pytest.approx(1 / 3)
    assert paper_metrics.box_iou(np.roll(truth, 30, axis=1), truth) == 0
    assert paper_metrics.box_iou(np.zeros_like(truth), truth) == 0


def test_depth_is_compared_in_metres_after_the_fit() -> None:
    depth = np.array([[1, 2, 4, 8, 0, 20]], np.float32)
    share = paper_metrics.near_share(depth)
    assert share[0, 0] == 1
    assert share[0, 4] == share[0, 5] == 0
    inverse = np.where(depth > 0, 1 / np.maximum(depth, 0.1), 0.3).astype(np.float32)
    ratios = paper_metrics.depth_ratios(0.3 * inverse + 0.2, depth)
    assert ratios == pytest.approx(np.ones(4), abs=1e-5)  # the unknown and the too far are out
    constant = paper_metrics.depth_ratios(np.full_like(depth, 0.5), depth)
    mean = 4 / (1 + 1 / 2 + 1 / 4 + 1 / 8)
    assert constant == pytest.approx(mean / np.array([1, 2, 4, 8]), rel=1e-5)


def test_unknown_depth_is_black_and_near_is_bright(source: Published) -> None:
    episode = source.episode("nyu_depth", 0)
    assert episode.depth is not None
    assert episode.depth.max() == pytest.approx(9, abs=0.2)
    unknown = episode.depth == 0
    assert 0 < unknown.mean() < 0.2
    assert (episode.truth[unknown] == 0).all()
    assert episode.truth[0, 0, 0] == 255
    assert episode.truth[0, 63, 0] < 5


def test_errors_of_pixels_in_minus_one_to_one() -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert paper_metrics.unit_mse(black, white) == pytest.approx(4)
    assert paper_metrics.unit_mse(white, white) == 0


def test_colours_and_a_quarter_of_the_side_are_taken_away(source: Published) -> None:
    grey = source.episode("imagenet_colorization", 0)
    assert (grey.query == grey.query[..., :1]).all()
    holed = source.episode("imagenet_inpainting", 0)
    rows, columns = np.nonzero((holed.query != holed.truth).any(axis=-1))
    assert 14 <= np.ptp(rows) + 1 <= 16
    assert 14 <= np.ptp(columns) + 1 <= 16
    assert (holed.query[rows, columns] == 127).all()


def test_what_the_folders_lack_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one of the folders pascal-5i, nyu-v2, imag"):
        Published(tmp_path, size=64, pairs=1)
    with pytest.raises(InputError, match="no published test set with 10 pictures"):
        Published(folder, size=64, pairs=8)
    broken = tmp_path / "pascal-5i"
    shutil.copytree(folder / "pascal-5i", broken)
    (broken / "SegmentationClass" / "2007_000004.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2007_000004\.png cannot be read as a picture"):
        Published(tmp_path, size=64, pairs=1)
    (broken / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(InputError, match="laid out as VOC 2012"):
        Published(tmp_path, size=64, pairs=1)


def test_a_depth_picture_in_eight_bits_is_refused(tmp_path: Path) -> None:
    nyu = published_sets.nyu(tmp_path / "nyu-v2")
    for file in nyu.glob("*_depth.png"):
        Image.new("L", (96, 72), 9).save(file)
    with pytest.raises(InputError, match="has mode L; a depth picture is a 16-bit grey PNG"):
        Published(tmp_path, size=64, pairs=1).episode("nyu_depth", 0)
