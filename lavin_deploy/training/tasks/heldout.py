"""Held-out samples for measuring: episodes of the test split, the same ones for each seed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import unknown_name
from lavin_deploy.tasks.samples import Episode, Style
from lavin_deploy.training.tasks.base import Task, TaskSet
from lavin_deploy.training.tasks.labelled import LABELLED, missing
from lavin_deploy.training.tasks.registry import episode, load_tasks

TRIES = 64
_TEST, _TRAIN = 0, 1


class HeldOut:
    """Samples of a prepared folder's test split; a ``tasks.samples.Source``.

    Args:
        folder: what ``prepare.prepare`` filled.
        size: side S of the square pictures in pixels.
        pairs: example pairs P of an episode.
        seed: another seed gives other samples.
        strength: of every sample of tasks that have one (noise, blur, ...); None draws it.

    Raises:
        InputError: the folder is not prepared or has no test split.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: int,
        pairs: int,
        seed: int = 0,
        strength: float | None = None,
    ) -> None:
        self._folder, self._size, self._pairs, self._seed = folder, size, pairs, seed
        self._strength = strength
        self._test = load_tasks(folder, "test")

    @cached_property
    def _train(self) -> TaskSet:
        return load_tasks(self._folder, "train")

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks that the folder has test pictures for."""
        return tuple(self._test)

    def episode(self, task: str, index: int) -> Episode:
        """Draw held-out sample number ``index`` of a task in a random style of its own.

        Args:
            task: a name in ``registry.TASKS``.
            index: 0 or more; the sample depends on it, the task and the seed alone.

        Raises:
            InputError: the folder has no such task.
        """
        maker = self._test.get(task)
        if maker is None:
            raise missing(task) if task in LABELLED else unknown_name("task", task, self._test)
        seed = (self._seed, zlib.crc32(task.encode()), _TEST, index)
        rng = np.random.default_rng(seed)
        style = maker.draw_style(rng)
        if self._strength is not None and style.strength:
            style = replace(style, strength=self._strength)
        drawn = [
            (sample.input, sample.target)
            for sample in episode(maker, rng, style, self._size, self._pairs + 2)
        ]
        *pairs, spare, asked = [*drawn[1:-1], drawn[0], drawn[-1]] if maker.ordered else drawn
        return Episode(
            task=task,
            style=style,
            pairs=tuple(pairs),
            spare=spare,
            query=asked[0],
            truth=asked[1],
            seed=seed,
            recoloured=_recoloured(maker, rng, style),
        )

    def training_targets(self, task: str, count: int) -> Iterator[tuple[U8, Style]]:
        """Yield ``count`` targets (S, S, 3) uint8 of the training split, each in its own style.

        A labelled task that is never trained may have none.
        """
        if task in LABELLED and task not in self._train:
            return
        maker = self._train[task]
        for index in range(count):
            seed = (self._seed, zlib.crc32(task.encode()), _TRAIN, index)
            rng = np.random.default_rng(seed)
            style = maker.draw_style(rng)
            yield maker.sample(rng, style, self._size).target, style


def _recoloured(maker: Task, rng: np.random.Generator, style: Style) -> Style | None:
    """Draw another foreground colour as the task would, far from the style's two colours."""
    for _ in range(TRIES):
        new = maker.draw_style(rng).foreground
        if style.is_far(new):
            return Style(foreground=new, background=style.background, strength=style.strength)
    return None
