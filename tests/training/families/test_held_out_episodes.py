"""Held-out episodes of families: what the suite ``pairs`` asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation.pairs.episodes import PairEpisode, copied_target
from lavin_deploy.training.families.held_out_filters import HELD_OUT_FILTERS
from lavin_deploy.training.families.heldout import HeldOutFamilies
from lavin_deploy.training.families.registry import FAMILIES

pytestmark = pytest.mark.data
SIZE = 48


@pytest.mark.parametrize("members", ["held-out", "trained"])
@pytest.mark.parametrize("name", [name for name in FAMILIES if not FAMILIES[name].needs])
def test_held_out_episodes(data: Path, name: str, members: str) -> None:
    source = HeldOutFamilies(data, size=SIZE, pairs=2)
    assert (name, members) in source.families
    copied, fitting = [], []
    for index in range(4):
        episode = source.episode(name, members, index)  # type: ignore[arg-type]
        again = source.episode(name, members, index)  # type: ignore[arg-type]
        assert np.array_equal(episode.query, again.query)
        assert len(episode.pairs) == 2
        assert not episode.empty
        check(episode)
        copied.append(episode.score(copied_target(episode)))
        fitting.append(episode.score(episode.truth))
        named = (name, members) == ("filter", "held-out")
        assert (episode.member in HELD_OUT_FILTERS) == named
    if name != "geometry":
        assert np.mean(copied) < np.mean(fitting)


def check(episode: PairEpisode) -> None:
    images: list[U8] = [episode.query, episode.truth]
    assert all(image.shape == (SIZE, SIZE, 3) for image in images)
    if episode.style is None:
        return
    assert episode.score(episode.truth) == 1.0
    if episode.other is not None and episode.other_truth is not None:
        for (a, own), (b, other) in zip(episode.pairs, episode.other, strict=True):
            assert np.array_equal(a, b)
            colours = [{tuple(c) for c in image.reshape(-1, 3).tolist()} for image in (own, other)]
            both = {episode.style.foreground, episode.style.background}
            assert colours[0] | colours[1] <= both


def test_things_that_are_away_give_empty_truths(data: Path) -> None:
    source = HeldOutFamilies(data, size=SIZE, pairs=1)
    for index in range(3):
        episode = source.episode("follow", "held-out", index, empty=True)
        assert episode.empty
        assert episode.mask(episode.pairs[0][1]).any()
    assert source.has_empty("follow")
    assert not source.has_empty("filter")
