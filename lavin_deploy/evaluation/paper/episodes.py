"""Episodes from published test sets: a query, and pairs drawn from the set's other samples."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.evaluation.paper.sets import Key, NyuV2, Pascal5i, Photos, PublishedSet
from lavin_deploy.evaluation.paper.task_evals import PAPER_TASK_EVALS
from lavin_deploy.tasks.samples import Episode, Style

SETS: dict[str, Callable[[Path], PublishedSet]] = {
    "pascal-5i": Pascal5i,
    "nyu-v2": NyuV2,
    "imagenet-val": Photos,
}
"""By the name of their folder."""


class Published:
    """Samples of the test sets in a folder; a ``tasks.samples.Source``.

    The queries are all samples of a task in a random order, then the same again. The pairs are
    other samples of the same class; classes with too few pictures for an episode are left out.

    Args:
        folder: holds any of ``SETS``.
        size: side S of the square pictures in pixels.
        pairs: example pairs P of an episode.
        seed: another seed gives another order and other pairs.

    Raises:
        InputError: the folder has none of the sets, or none with enough pictures.
    """

    def __init__(self, folder: Path, *, size: int, pairs: int, seed: int = 0) -> None:
        self._size, self._pairs, self._seed = size, pairs, seed
        sets = [make(folder / name) for name, make in SETS.items() if (folder / name).is_dir()]
        self._tasks: dict[str, tuple[PublishedSet, dict[int, list[Key]]]] = {}
        for task in PAPER_TASK_EVALS:
            for data in sets:
                groups = self._groups(data.samples(task))
                if groups:
                    self._tasks[task] = data, groups
        if not self._tasks:
            raise InputError(
                f"{folder} has no published test set with {pairs + 2} pictures of a kind; it needs "
                f"at least one of the folders {', '.join(SETS)}."
            )

    @property
    def tasks(self) -> Sequence[str]:
        """Tasks that the folder has enough pictures for."""
        return tuple(self._tasks)

    def count(self, task: str) -> int:
        """Return how many different queries a task has."""
        return sum(len(group) for group in self._tasks[task][1].values())

    def episode(self, task: str, index: int) -> Episode:
        """Return sample number ``index`` of a task.

        Raises:
            InputError: a file cannot be read.
        """
        data, groups = self._tasks[task]
        queries = [key for group in groups.values() for key in group]
        name = zlib.crc32(task.encode())
        order = np.random.default_rng((self._seed, name)).permutation(len(queries))
        key = queries[order[index % len(queries)]]
        seed = (self._seed, name, index)
        rng = np.random.default_rng(seed)
        style = data.draw_style(task, rng)
        others = [other for other in groups[key[1]] if other != key]
        chosen = rng.choice(len(others), self._pairs + 1, replace=False)
        keys = [key, *(others[place] for place in chosen)]
        asked, *drawn = (data.draw(task, each, style, rng, self._size) for each in keys)
        *pairs, spare = ((each.input, each.target) for each in drawn)
        return Episode(
            task=task,
            style=style,
            pairs=tuple(pairs),
            spare=spare,
            query=asked.input,
            truth=asked.target,
            seed=seed,
            depth=asked.depth,
        )

    def training_targets(self, task: str, count: int) -> Iterator[tuple[U8, Style]]:
        """Yield nothing: a test set has no training split."""
        return iter(())

    def _groups(self, samples: Sequence[Key]) -> dict[int, list[Key]]:
        """Return the samples by class, of classes with enough for an episode."""
        groups: dict[int, list[Key]] = {}
        for key in samples:
            groups.setdefault(key[1], []).append(key)
        return {label: keys for label, keys in groups.items() if len(keys) >= self._pairs + 2}
