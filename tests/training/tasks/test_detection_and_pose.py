"""Tasks of boxes, segments and figures: exact truth, and evaluations that recognise it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation import matching
from lavin_deploy.evaluation.metrics import PSNR_LIMIT
from lavin_deploy.evaluation.task_evals import SUITES, TASK_EVALS
from lavin_deploy.tasks import decoding
from lavin_deploy.tasks.samples import Episode, Style
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks import instances, pose
from lavin_deploy.training.tasks.registry import NEVER_TRAINED, TASKS

pytestmark = pytest.mark.data

MAKERS = {**TASKS, **NEVER_TRAINED}
READ = ("detection", "single_object_detection", "panoptic", "pose")
GENERATED = ("pose_to_image", "depth_to_image", "normal_to_image")
COUNT = 12


@pytest.fixture(scope="module")
def collage(data: Path) -> Collage:
    return Collage.load(data, "train")


def episodes(collage: Collage, task: str) -> list[Episode]:
    maker, rng = MAKERS[task](collage), np.random.default_rng(3)
    drawn = []
    for index in range(COUNT):
        style = maker.draw_style(rng)
        query, truth, _ = maker.sample(rng, style, 128)
        pair = (query, truth)
        drawn.append(
            Episode(
                task=task,
                style=style,
                pairs=(pair,),
                spare=pair,
                query=query,
                truth=truth,
                seed=(index,),
            )
        )
    return drawn


def soft(image: U8) -> U8:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), np.uint8)


@pytest.mark.parametrize("task", READ)
def test_evals_of_read_answers_know_the_truth_even_when_blurred(
    collage: Collage, task: str
) -> None:
    drawn = episodes(collage, task)
    headline = TASK_EVALS[task].metrics[0].measure
    assert all(headline(each, each.truth) == 1 for each in drawn)
    assert np.mean([headline(each, soft(each.truth)) for each in drawn]) > 0.9
    assert np.mean([headline(each, each.query) for each in drawn]) < 0.45
    assert np.mean([headline(a, b.truth) for a, b in pairwise(drawn)]) < 0.6
    noise = np.random.default_rng(0).integers(0, 256, drawn[0].truth.shape).astype(np.uint8)
    assert headline(drawn[0], noise) < 0.1


@pytest.mark.parametrize("task", GENERATED)
def test_evals_of_pictures_know_the_truth_from_the_input(collage: Collage, task: str) -> None:
    drawn = episodes(collage, task)
    expected = zip(TASK_EVALS[task].metrics, (PSNR_LIMIT, 1, 1), (20, 0.6, 0.6), strict=True)
    for metric, perfect, bad in expected:
        right = [metric.measure(each, each.truth) for each in drawn]
        assert right == pytest.approx([perfect] * COUNT)
        assert np.mean([metric.measure(each, each.query) for each in drawn]) < bad, metric.name
        assert np.mean([metric.measure(a, b.truth) for a, b in pairwise(drawn)]) < bad, metric.name


@pytest.mark.parametrize("task", READ)
def test_baselines_score_between_nothing_and_the_truth(collage: Collage, task: str) -> None:
    drawn, task_eval = episodes(collage, task), TASK_EVALS[task]
    for reference in task_eval.references([]):
        scores = [task_eval.metrics[0].measure(each, reference.answer(each)) for each in drawn]
        assert 0 < np.mean(scores) < 0.9, reference.name


def test_boxes_read_from_targets_are_those_of_the_objects(
    collage: Collage, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected: list[list[tuple[int, int, int, int]]] = []
    real = instances.boxes

    def noted(fine: U8) -> list[tuple[int, int, int, int]]:
        expected.append(real(fine))
        return expected[-1]

    monkeypatch.setattr(instances, "boxes", noted)
    targets = [each.truth for each in episodes(collage, "detection")]
    boxes_read = [decoding.boxes(target) for target in targets]
    pairs = [(got, np.array(right, float)) for got, right in zip(boxes_read, expected, strict=True)]
    assert np.mean([matching.box_iou(*each) for each in pairs]) > 0.97
    assert max(len(boxes) for boxes in expected) > 1


def test_a_box_encloses_what_is_seen() -> None:
    fine = np.zeros((256, 256), np.uint8)
    fine[40:80, 20:101] = 1
    fine[60:200, 80:180] = 2
    fine[0:2, 0:90] = 3  # too flat to have one
    assert instances.boxes(fine) == [(40, 30, 90, 100), (10, 20, 51, 40)]


def test_a_single_object_has_one_box_in_the_colour_of_the_style(collage: Collage) -> None:
    for each in episodes(collage, "single_object_detection"):
        assert len(decoding.boxes(each.truth)) == 1
        lit = each.truth[each.truth.any(axis=-1)]
        assert (lit == each.style.foreground).all()
    assert "single_object_detection" not in TASKS


def test_panoptic_segments_are_the_instances(
    collage: Collage, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    real = collage.sample

    def noted(rng: np.random.Generator, size: int) -> object:
        drawn.append(real(rng, size))
        return drawn[-1]

    monkeypatch.setattr(collage, "sample", noted)
    maker, rng, scores = MAKERS["panoptic"](collage), np.random.default_rng(0), []
    for _ in range(COUNT):
        before = len(drawn)
        sample = maker.sample(rng, Style(), 128)
        if len(drawn) > before:
            truth = drawn[-1].instances.astype(np.int32) + 1
            scores.append(matching.panoptic_quality(decoding.segments(sample.target), truth))
            assert (sample.target.max(axis=-1) < 64).any()  # the contour
    assert len(scores) > 3
    assert np.mean(scores) > 0.9


def test_colours_of_segments_are_far_apart() -> None:
    colours = instances.segment_colours(np.random.default_rng(0), 14)
    gaps = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 999 * np.eye(14)
    assert gaps.min() >= instances.APART
    assert colours.max(axis=1).min() >= 120


def test_figures_lie_within_the_frame_and_skeletons_on_them(collage: Collage) -> None:
    rng = np.random.default_rng(1)
    for count in (1, 2):
        for number in range(count):
            joints = pose.place(rng, pose.draw_joints(rng), 96, number, count)
            points = np.stack(list(joints.values()))
            assert points.min() >= 8 - 1e-6
            assert points.max() <= 88 + 1e-6
            marked = np.full((96, 96, 3), 300, np.float32)
            for part in pose.dress(rng, collage, joints, 96):
                pose.paint_part(marked, part)
            body = (marked != 300).all(axis=-1)
            x, y = points.round().astype(int).T
            assert body[y, x].mean() > 0.9
            assert 0.01 < body.mean() < 0.5


def test_reversed_tasks_exchange_the_sides_of_the_forward_one(collage: Collage) -> None:
    for task, forward in (("pose_to_image", "pose"), ("normal_to_image", "normals")):
        ahead, back = (
            MAKERS[name](collage).sample(np.random.default_rng(5), Style(), 64)
            for name in (forward, task)
        )
        assert np.array_equal(ahead.input, back.target)
        assert np.array_equal(ahead.target, back.input)


def test_the_suite_of_the_papers_tasks_can_run() -> None:
    assert len(SUITES["paper-tasks"]) == 16
    assert set(SUITES["paper-tasks"]) <= set(TASK_EVALS) & set(MAKERS)
