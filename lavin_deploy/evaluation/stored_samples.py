"""A bundle's own validation samples, asked through the stored pairs of their tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.errors import BundleError
from lavin_deploy.tasks.painting import Colour
from lavin_deploy.tasks.samples import Episode, Pair, Style
from lavin_deploy.tasks.stored import read_task, task_file

INPUT, TARGET = "_input.png", "_target.png"
PALETTE: tuple[Colour, ...] = tuple((r, g, b) for r, g, b in product((32, 224), repeat=3))
"""Colours that the swap test takes in turn, those far from the task's own."""


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The pictures of a task: its pairs and its samples, and how their targets are painted."""

    pairs: tuple[Pair, ...]
    samples: tuple[Pair, ...]
    style: Style
    painted: bool


class StoredSamples:
    """Validation samples of a bundle; a ``tasks.samples.Source``.

    The style is what ``rendering`` in ``task.json`` says: ``foreground`` and ``background``, else
    white on black. A denoising task's noise is measured on its pairs.

    Args:
        bundle: stays open as long as this is used.
        pairs: example pairs P of an episode, the first of the stored ones.
        read: from a picture file to (H, W, 3) uint8; of one size for all.
    """

    def __init__(self, bundle: Bundle, *, pairs: int, read: Callable[[Path], U8]) -> None:
        self._bundle, self._pairs, self._read = bundle, pairs, read
        self._opened: dict[str, _Stored] = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Stored tasks that have validation samples."""
        declared = self._bundle.manifest.validation
        return tuple(task.name for task in self._bundle.manifest.tasks if task.name in declared)

    def episode(self, task: str, index: int) -> Episode:
        """Return a sample with the task's own pairs; after the last one comes the first again.

        Raises:
            BundleError: samples or ``task.json`` are not as they must be.
        """
        stored = self._of(task)
        number = index % len(stored.samples)
        query, truth = stored.samples[number]
        others = (*stored.samples[number + 1 :], *stored.samples[:number])
        spare = next(iter((*stored.pairs[self._pairs :], *others)), None)
        if spare is None:
            raise BundleError(
                f"the bundle has one validation sample of {task!r} and no pair to spare; it needs "
                "two samples, for pairs that do not belong together."
            )
        return Episode(
            task=task,
            style=stored.style,
            pairs=stored.pairs[: self._pairs],
            spare=spare,
            query=query,
            truth=truth,
            seed=(index,),
            recoloured=_recoloured(stored.style, index) if stored.painted else None,
        )

    def training_targets(self, task: str, count: int) -> Iterator[tuple[U8, Style]]:
        """Yield the targets of the stored pairs, ``count`` at most."""
        stored = self._of(task)
        for _, target in stored.pairs[:count]:
            yield target, stored.style

    def _of(self, task: str) -> _Stored:
        if task not in self._opened:
            self._opened[task] = self._load(task)
        return self._opened[task]

    def _load(self, name: str) -> _Stored:
        task, where = read_task(self._bundle, name), task_file(self._bundle, name)
        folder = where.rpartition("/")[0]
        pairs = tuple(
            self._pair(f"{folder}/{pair.input}", f"{folder}/{pair.target}") for pair in task.pairs
        )
        colours = _colours(task.rendering, where)
        noise = _noise(pairs) if name == "denoising" else 0.0
        return _Stored(
            pairs=pairs,
            samples=self._samples(name),
            style=Style(
                foreground=colours.get("foreground", Style.foreground),
                background=colours.get("background", Style.background),
                strength=noise,
            ),
            painted="foreground" in colours,
        )

    def _samples(self, task: str) -> tuple[Pair, ...]:
        manifest = self._bundle.manifest
        declared = manifest.validation[task]
        stems = sorted(
            path.removesuffix(INPUT)
            for path in manifest.files
            if path.startswith(f"{declared.folder}/") and path.endswith(INPUT)
        )
        if len(stems) != declared.samples:
            raise BundleError(
                f"the bundle declares {declared.samples} validation samples of {task!r} and has "
                f"{len(stems)} in {declared.folder!r}; export it again."
            )
        return tuple(self._pair(f"{stem}{INPUT}", f"{stem}{TARGET}") for stem in stems)

    def _pair(self, source: str, target: str) -> Pair:
        return self._read(self._bundle.file(source)), self._read(self._bundle.file(target))


def _colours(rendering: Mapping[str, Any], where: str) -> dict[str, Colour]:
    """Return foreground and background, or nothing if neither is given."""
    colours = {name: rendering[name] for name in ("foreground", "background") if name in rendering}
    if not colours:
        return {}
    for name, value in colours.items():
        numbers = isinstance(value, list) and all(type(each) is int for each in value)
        if not numbers or len(value) != 3 or not all(0 <= each <= 255 for each in value):
            raise BundleError(
                f"{where}: rendering.{name} is {value!r}; it must be [R, G, B], each 0 to 255."
            )
    if len(colours) != 2 or colours["foreground"] == colours["background"]:
        raise BundleError(f"{where}: rendering needs two different colours, not {colours}.")
    return {name: (value[0], value[1], value[2]) for name, value in colours.items()}


def _noise(pairs: tuple[Pair, ...]) -> float:
    """Return the standard deviation between inputs and targets, in grey levels."""
    return float(np.std([source.astype(np.float32) - target for source, target in pairs]))


def _recoloured(style: Style, index: int) -> Style:
    """Return the style with another foreground colour, another one for each index."""
    far = [colour for colour in PALETTE if style.is_far(colour)]
    colour = far[index % len(far)]
    return Style(foreground=colour, background=style.background, strength=style.strength)
