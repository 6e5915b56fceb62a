"""Answers whose score is known beforehand, for tests of the evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lavin_deploy.arrays import U8
from lavin_deploy.tasks.painting import share_from_colours
from lavin_deploy.tasks.samples import Episode, Pairs, Style
from lavin_deploy.training.data import prepare
from lavin_deploy.training.tasks.heldout import HeldOut


def generated_data(folder: Path) -> Path:
    """Fill a folder with generated pictures: no network, no package."""
    prepare.prepare(folder, cache=folder / "cache", sources=["generated"])
    return folder


class Oracle:
    """Knows the truth of every query, and paints it in the colours that the pairs show.

    It is a source that remembers what it gave out. Pairs that it did not give out with the query,
    or whose target is not the input's, get the query back.
    """

    def __init__(self, source: HeldOut) -> None:
        self.source = source
        self.episodes: dict[bytes, Episode] = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.source.tasks

    def episode(self, task: str, index: int) -> Episode:
        episode = self.source.episode(task, index)
        self.episodes[episode.query.tobytes()] = episode
        return episode

    def training_targets(self, task: str, count: int) -> Iterator[tuple[U8, Style]]:
        return self.source.training_targets(task, min(count, 20))

    def answer(self, pairs: Pairs, query: U8) -> U8:
        episode = self.episodes[query.tobytes()]
        (own_input, own_target), (asked_input, target) = episode.pairs[0], pairs[0]
        if (asked_input != own_input).any():
            return query
        if (target == own_target).all():
            return episode.truth
        style = episode.style
        share = share_from_colours(own_target, style.foreground, style.background)
        front, back = target[share == 1], target[share == 0]
        if not (_plain(front) and _plain(back)):
            return query
        seen = Style(foreground=tuple(front[0].tolist()), background=tuple(back[0].tolist()))
        return episode.repaint(episode.truth, seen)


def _plain(colours: U8) -> bool:
    """Whether the rows of (N, 3) are there and all the same."""
    return len(colours) > 0 and bool((colours == colours[0]).all())
