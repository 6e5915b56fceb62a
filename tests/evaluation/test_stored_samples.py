"""A bundle's own samples as a source for the evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lavin_deploy.arrays import U8
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.bundle.writer import hash_file
from lavin_deploy.errors import BundleError
from lavin_deploy.evaluation.stored_samples import StoredSamples
from lavin_deploy.evaluation.suite import evaluate_task
from lavin_deploy.runtime.media.images import read_image
from lavin_deploy.tasks.samples import Pairs, Style
from tests.helpers.bundles import edit
from tests.helpers.samples import BLACK, GREEN, SIGMA, mask_pair, toy_with_samples

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return toy_with_samples(tmp_path / "toy.lavin")


@pytest.fixture
def bundle(path: Path) -> Iterator[Bundle]:
    with open_bundle(path) as bundle:
        yield bundle


def samples(bundle: Bundle, pairs: int = 2) -> StoredSamples:
    return StoredSamples(bundle, pairs=pairs, read=read_image)


def test_an_episode_is_a_sample_with_the_tasks_own_pairs(bundle: Bundle) -> None:
    source = samples(bundle)
    assert source.tasks == ("segmentation", "denoising")
    episode = source.episode("segmentation", 1)
    for pair, seed in zip((*episode.pairs, episode.spare), (0, 1, 2), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(pair, mask_pair(seed), strict=True))
    assert np.array_equal(episode.query, mask_pair(11)[0])
    assert np.array_equal(episode.truth, mask_pair(11)[1])
    assert episode.style == Style(foreground=GREEN, background=BLACK)
    assert episode.recoloured is not None
    assert episode.style.is_far(episode.recoloured.foreground)
    assert np.array_equal(source.episode("segmentation", 4).query, episode.query)
    assert len(list(source.training_targets("segmentation", 200))) == 3


def test_without_a_pair_to_spare_another_sample_serves(bundle: Bundle) -> None:
    episode = samples(bundle, pairs=3).episode("segmentation", 2)
    assert np.array_equal(episode.spare[0], mask_pair(10)[0])


def test_noise_is_measured_and_colours_are_not_made_up(bundle: Bundle) -> None:
    episode = samples(bundle).episode("denoising", 0)
    assert episode.style.strength == pytest.approx(SIGMA, rel=0.05)
    assert episode.recoloured is None


def test_right_answers_that_follow_their_pairs_score_and_swap_perfectly(bundle: Bundle) -> None:
    source = samples(bundle)
    drawn = {seed: mask_pair(seed) for seed in (10, 11, 12)}

    def answer(pairs: Pairs, query: U8) -> U8:
        truth = next(pair[1] for pair in drawn.values() if np.array_equal(pair[0], query))
        where, target = (mask_pair(0)[1] == GREEN).all(axis=-1), pairs[0][1]
        inside = (truth == GREEN).all(axis=-1)
        return np.where(inside[..., None], target[where][0], target[~where][0]).astype(np.uint8)

    result = evaluate_task("segmentation", source, answer, samples=3)
    assert result.score("model").mean == 1
    assert result.swap is not None
    assert result.swap.both == 100
    assert result.swap.colour_cases == result.swap.polarity_cases == 3
    assert {"wrong prompt", "grabcut", "mean mask"} <= {row.name for row in result.rows}
    names = {
        row.name
        for row in evaluate_task("segmentation", source, answer, samples=1, opencv=False).rows
    }
    assert "mean mask" in names
    assert not names & {"grabcut", "border colour"}


def test_samples_that_are_not_what_the_manifest_declares(path: Path) -> None:
    edit(path, lambda data: data["validation"]["denoising"].update(samples=2))
    with open_bundle(path) as bundle, pytest.raises(BundleError, match=r"declares 2 .* and has 3"):
        samples(bundle).episode("denoising", 0)


@pytest.mark.parametrize(
    "rendering",
    [
        {"foreground": [1, 2, 3]},
        {"foreground": [1, 2, 3], "background": [1, 2, 3]},
        {"foreground": "red", "background": [0, 0, 0]},
        {"foreground": [1, 2], "background": [0, 0, 0]},
        {"foreground": [1, 2, 256], "background": [0, 0, 0]},
    ],
)
def test_colours_that_cannot_be_told_apart(path: Path, rendering: dict[str, Any]) -> None:
    file = path / "tasks" / "segmentation" / "task.json"
    text = json.dumps({**json.loads(file.read_text()), "rendering": rendering})
    file.write_text(text)
    with open_changed(path) as bundle, pytest.raises(BundleError, match="rendering"):
        samples(bundle).episode("segmentation", 0)


def open_changed(path: Path) -> Bundle:
    """Open a bundle after its ``task.json`` was changed by hand: record its size and hash anew."""
    name = "tasks/segmentation/task.json"
    entry = hash_file(path / name)
    fresh = {"size": entry.size, "sha256": entry.sha256}
    edit(path, lambda data: data["files"].update({name: fresh}))
    return open_bundle(path)
