"""Held-out samples of a task: what a model is shown, and what it should have answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lavin_deploy.arrays import F32, U8
from lavin_deploy.tasks.painting import Colour, paint, share_from_colours

Pair = tuple[U8, U8]
Pairs = Sequence[Pair]
"""Example pairs (input, target), (H, W, 3) uint8 RGB, the two of a pair of one size."""

Answer = Callable[[Pairs, U8], U8]
"""What is evaluated: from example pairs and a query (H, W, 3) uint8 to an answer of its shape."""

FAR = 100.0
"""Euclidean RGB distance from which colours cannot be mistaken for each other."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How the answers of an episode are painted; pairs and query share it.

    Attributes:
        foreground: RGB of what the task marks (of depth: of the nearest point).
        background: RGB of the rest.
        palette: RGB of each class, where there are more than two.
        strength: a number the task explains (denoising: the noise's sigma in grey levels).
    """

    foreground: Colour = (255, 255, 255)
    background: Colour = (0, 0, 0)
    strength: float = 0.0
    palette: tuple[Colour, ...] = ()

    def exchanged(self) -> Style:
        """Return the other polarity: foreground and background change places."""
        return Style(foreground=self.background, background=self.foreground, strength=self.strength)

    def is_far(self, colour: Colour) -> bool:
        """Return whether a colour cannot be mistaken for foreground or background."""
        own = (self.foreground, self.background)
        return all(float(np.linalg.norm(np.subtract(colour, each))) >= FAR for each in own)


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One held-out sample with its example pairs, all in one random style.

    Attributes:
        task: name of the task.
        style: of pairs and truth.
        pairs: the example pairs, P of them.
        spare: one more pair in the same style, which the model is not shown.
        query: (S, S, 3) uint8 RGB.
        truth: (S, S, 3) uint8 RGB, the right answer to the query.
        seed: what the episode was drawn from.
        recoloured: the style with another foreground colour, far from both of its colours; None
            where the task has no such choice.
        depth: (S, S) float32, the truth in metres, 0 unknown; None where only the painting is.
    """

    task: str
    style: Style
    pairs: tuple[Pair, ...]
    spare: Pair
    query: U8
    truth: U8
    seed: tuple[int, ...]
    recoloured: Style | None = None
    depth: F32 | None = None

    def mismatched(self) -> Pairs:
        """Return pairs whose targets belong to other inputs of the same style."""
        targets = [target for _, target in (*self.pairs[1:], self.spare)]
        return tuple((pair[0], target) for pair, target in zip(self.pairs, targets, strict=True))

    def repainted(self, style: Style) -> Pairs:
        """Return the pairs with their targets painted in the colours of another style."""
        return tuple((image, self.repaint(target, style)) for image, target in self.pairs)

    def repaint(self, target: U8, style: Style) -> U8:
        """Return a target of this episode, (H, W, 3) uint8, in the colours of another style."""
        share = share_from_colours(target, self.style.foreground, self.style.background)
        return paint(share, style.foreground, style.background)


class SampleSource(Protocol):
    """Where samples come from. The same arguments always give the same sample."""

    @property
    def tasks(self) -> Sequence[str]:
        """Names of the tasks that it has samples of."""
        ...

    def episode(self, task: str, index: int) -> Episode:
        """Return held-out sample number ``index`` of a task."""
        ...

    def training_targets(self, task: str, count: int) -> Iterator[tuple[U8, Style]]:
        """Yield targets (S, S, 3) uint8 of the training split, for what controls may know."""
        ...
