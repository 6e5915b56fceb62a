"""The swap test: when the pairs' colours change, the answer's must change with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lavin_deploy.arrays import U8, Mask
from lavin_deploy.evaluation.metrics import iou, mask_from_colours
from lavin_deploy.tasks.painting import Colour
from lavin_deploy.tasks.samples import Answer, Episode, Style

LEAST_IOU = 0.5


@dataclass(frozen=True, kw_only=True)
class SwapCase:
    """One sample of the swap test.

    Attributes:
        recoloured: answer (S, S, 3) uint8 to pairs with another foreground colour; None if the
            episode has no other colour.
        exchanged: answer (S, S, 3) uint8 to pairs with foreground and background exchanged.
        colour: whether the first followed its pairs; None if there is none.
        polarity: whether the second did.
    """

    recoloured: U8 | None
    exchanged: U8
    colour: bool | None
    polarity: bool


@dataclass(frozen=True, kw_only=True)
class SwapResult:
    """Shares of cases, in percent, in which the answer followed its pairs.

    Attributes:
        colour: of ``colour_cases`` with a new foreground colour; None without cases.
        polarity: of ``polarity_cases`` with the colours exchanged; None without cases.
        both: of all cases together; None without cases.
        colour_cases: number of cases.
        polarity_cases: likewise.
    """

    colour: float | None
    polarity: float | None
    both: float | None
    colour_cases: int
    polarity_cases: int

    @classmethod
    def of(cls, cases: list[SwapCase]) -> SwapResult:
        """Count the cases."""
        colour = [case.colour for case in cases if case.colour is not None]
        polarity = [case.polarity for case in cases]
        return cls(
            colour=_percent(colour),
            polarity=_percent(polarity),
            both=_percent(colour + polarity),
            colour_cases=len(colour),
            polarity_cases=len(polarity),
        )


def run_swaps(episode: Episode, first: U8, answer: Answer) -> SwapCase:
    """Ask again with the pairs' targets in other colours.

    Args:
        episode: the sample.
        first: (S, S, 3) uint8, the answer to its own pairs.
        answer: what is evaluated.
    """
    style, other = episode.style, episode.recoloured
    exchanged = answer(episode.repainted(style.exchanged()), episode.query)
    recoloured = None if other is None else answer(episode.repainted(other), episode.query)
    return SwapCase(
        recoloured=recoloured,
        exchanged=exchanged,
        colour=(
            None
            if other is None or recoloured is None
            else follows(first, style, recoloured, other)
        ),
        polarity=follows(first, style, exchanged, style.exchanged()),
    )


def follows(first: U8, old: Style, second: U8, new: Style) -> bool:
    """Decide whether an answer changed its colours as its pairs did.

    It did if each answer, read in its own style by the nearest of the two colours, marks the same
    region (IoU 0.5 or more) and if, for the foreground and the background, whichever changed, the
    mean colour of that region in the second answer is nearer to the new colour than to the old.
    An answer without foreground, or of nothing else, fails.

    Args:
        first: (S, S, 3) uint8, answer under the old style.
        old: the old style.
        second: (S, S, 3) uint8, answer under the new style.
        new: the new style.
    """
    before = mask_from_colours(first, old.foreground, old.background)
    after = mask_from_colours(second, new.foreground, new.background)
    if not all(mask.any() and not mask.all() for mask in (before, after)):
        return False
    if iou(before, after) < LEAST_IOU:
        return False
    front = _moved(second, after, old.foreground, new.foreground)
    return front and _moved(second, ~after, old.background, new.background)


def _moved(image: U8, where: Mask, old: Colour, new: Colour) -> bool:
    mean = image[where].mean(axis=0)
    return old == new or bool(np.linalg.norm(mean - new) < np.linalg.norm(mean - old))


def _percent(cases: list[bool]) -> float | None:
    return 100 * sum(cases) / len(cases) if cases else None
