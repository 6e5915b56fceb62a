"""Episodes in which only the pair can say what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from lavin_deploy.arrays import F64, U8, Mask
from lavin_deploy.evaluation.metrics import iou, mask_from_colours, psnr
from lavin_deploy.tasks.samples import Pair, Style

Members = Literal["held-out", "trained", "real"]
"""Never trained on; trained on, in new pictures; real pictures with labels, never trained on."""
SMALL = 0.01
"""Share of a frame under which an answer counts as empty."""


@dataclass(frozen=True, kw_only=True)
class PairEpisode:
    """One sample. S is the side, P the most pairs that are shown.

    Attributes:
        family: its name.
        members: which of the family.
        pairs: P of (input, target), (S, S, 3) uint8 RGB.
        other: the same inputs with targets of another answer, masks in the same style; None where
            there is no other answer.
        query: (S, S, 3) uint8.
        truth: (S, S, 3) uint8, what ``pairs`` ask.
        other_truth: what ``other`` asks, or None.
        style: the two colours of masks; None where answers are pictures.
        union: (S, S) bool, everything that any answer marks, or None.
        known: (S, S) bool, where masks are known and count; None: everywhere.
        member: the name of what is asked, where it has one.
    """

    family: str
    members: Members
    pairs: tuple[Pair, ...]
    other: tuple[Pair, ...] | None
    query: U8
    truth: U8
    other_truth: U8 | None
    style: Style | None
    union: Mask | None = None
    known: Mask | None = None
    member: str = ""

    def mask(self, image: U8) -> Mask:
        """What an answer marks of what is known, (S, S) bool, by the nearer of the two colours."""
        assert self.style is not None
        mask = mask_from_colours(image, self.style.foreground, self.style.background)
        return mask if self.known is None else np.asarray(mask & self.known, np.bool_)

    @property
    def empty(self) -> bool:
        """Whether what is asked for is not in the query."""
        return self.style is not None and not self.mask(self.truth).any()

    def score(self, image: U8, truth: U8 | None = None) -> float:
        """IoU of a mask in [0, 1]; of a picture PSNR to the truth less the query's PSNR, in dB."""
        truth = self.truth if truth is None else truth
        if self.style is not None:
            return iou(self.mask(image), self.mask(truth))
        return psnr(image, truth) - psnr(self.query, truth)

    def painted(self, image: U8) -> float:
        """Share of the frame that an answer marks, in [0, 1]."""
        return float(self.mask(image).mean())


class PairSource(Protocol):
    """Where episodes come from. The same arguments always give the same one."""

    @property
    def families(self) -> Sequence[tuple[str, Members]]:
        """What there are samples of."""
        ...

    def count(self, family: str, members: Members) -> int | None:
        """How many samples there are; None where they are drawn without end."""
        ...

    def has_empty(self, family: str) -> bool:
        """Whether what is asked for may be absent from a query."""
        ...

    def episode(
        self, family: str, members: Members, index: int, *, empty: bool = False
    ) -> PairEpisode:
        """Return sample number ``index``, of those whose truth is empty or of those that is not."""
        ...


def copied_target(episode: PairEpisode) -> U8:
    """The first pair's target as the answer."""
    return episode.pairs[0][1]


def flat_colour(episode: PairEpisode) -> U8:
    """The mean colour of the pairs' targets all over."""
    mean: F64 = np.mean([target.mean(axis=(0, 1)) for _, target in episode.pairs], axis=0)
    return np.broadcast_to(mean.round().astype(np.uint8), episode.query.shape).copy()


def marked(episode: PairEpisode, mask: Mask) -> U8:
    """A mask in the episode's colours."""
    assert episode.style is not None
    colours = np.array([episode.style.background, episode.style.foreground], np.uint8)
    return np.asarray(colours[mask.astype(np.int64)], np.uint8)
