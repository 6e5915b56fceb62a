"""Held-out samples: drawn from the test split, the same ones each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.evaluation.metrics import mask_from_colours
from lavin_deploy.tasks.samples import FAR
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.heldout import HeldOut
from lavin_deploy.training.tasks.labelled import LABELLED
from lavin_deploy.training.tasks.registry import TASKS, load_tasks

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def held_out(data: Path) -> HeldOut:
    return HeldOut(data, size=32, pairs=2)


@pytest.mark.parametrize("task", [task for task in TASKS if task not in LABELLED])
def test_a_sample_depends_on_seed_task_and_index_alone(
    data: Path, held_out: HeldOut, task: str
) -> None:
    held_out.episode("depth", 9)
    first = held_out.episode(task, 1)
    again = HeldOut(data, size=32, pairs=2).episode(task, 1)
    assert first.style == again.style
    assert (first.query == again.query).all()
    assert (first.truth == again.truth).all()
    assert first.seed == again.seed
    assert (first.query != held_out.episode(task, 2).query).any()
    assert (first.query != HeldOut(data, size=32, pairs=2, seed=1).episode(task, 1).query).any()
    assert len(first.pairs) == 2
    assert first.query.shape == first.truth.shape == (32, 32, 3)


def test_a_strength_holds_for_all_samples_and_changes_nothing_else(data: Path) -> None:
    drawn = HeldOut(data, size=32, pairs=1).episode("denoising", 3)
    held_out = HeldOut(data, size=32, pairs=1, strength=20.0)
    fixed = held_out.episode("denoising", 3)
    assert drawn.style.strength != fixed.style.strength == 20.0
    assert (drawn.truth == fixed.truth).all()
    unclipped = (fixed.truth > 80) & (fixed.truth < 176)
    off = fixed.query.astype(np.float32) - fixed.truth
    assert off[unclipped].std() == pytest.approx(20, rel=0.15)
    assert held_out.episode("edges", 0).style.strength == 0


def test_samples_come_from_the_test_split(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(folder: Path, split: str, names: None = None) -> object:
        loaded.append(split)
        return load_tasks(folder, split, names)

    monkeypatch.setattr("lavin_deploy.training.tasks.heldout.load_tasks", load)
    held_out = HeldOut(data, size=32, pairs=1)
    held_out.episode("segmentation", 0)
    assert loaded == ["test"]
    assert len(list(held_out.training_targets("segmentation", 3))) == 3
    assert loaded == ["test", "train"]
    test, train = Collage.load(data, "test"), Collage.load(data, "train")
    assert not {p.tobytes() for p in test.photos} & {p.tobytes() for p in train.photos}


def test_segmentation_covers_5_to_40_percent_in_many_styles(held_out: HeldOut) -> None:
    episodes = [held_out.episode("segmentation", index) for index in range(20)]
    for episode in episodes:
        style = episode.style
        mask = mask_from_colours(episode.truth, style.foreground, style.background)
        assert 0.04 < mask.mean() < 0.42
    assert len({episode.style.foreground for episode in episodes}) > 8
    assert any(episode.style.foreground == (0, 0, 0) for episode in episodes)


def test_another_foreground_colour_is_far_from_both(held_out: HeldOut) -> None:
    for index in range(20):
        episode = held_out.episode("segmentation", index)
        new, style = episode.recoloured, episode.style
        if new is None:
            continue
        assert new.background == style.background
        for colour in (style.foreground, style.background):
            assert np.linalg.norm(np.subtract(new.foreground, colour)) >= FAR
    assert held_out.episode("colorization", 0).recoloured is None


def test_mismatched_pairs_have_each_input_with_the_next_target(held_out: HeldOut) -> None:
    episode = held_out.episode("segmentation", 0)
    wrong = episode.mismatched()
    assert (wrong[0][0] == episode.pairs[0][0]).all()
    assert (wrong[0][1] == episode.pairs[1][1]).all()
    assert (wrong[1][1] == episode.spare[1]).all()


def test_repainted_pairs_exchange_the_colours_exactly(held_out: HeldOut) -> None:
    for index in range(6):
        episode = held_out.episode("segmentation", index)
        once = episode.repainted(episode.style.exchanged())
        for (_, old), (_, new) in zip(episode.pairs, once, strict=True):
            total = np.add(episode.style.foreground, episode.style.background)
            assert np.abs(old.astype(int) + new - total).max() <= 1


def test_a_folder_that_is_not_prepared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lavin-data prepare"):
        HeldOut(tmp_path, size=32, pairs=1)
