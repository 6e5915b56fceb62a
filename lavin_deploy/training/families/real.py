"""Real pictures with labels, for evaluation alone: one labelled frame, and those that follow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation.pairs.episodes import PairEpisode
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Pair, Style
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import vivid_colour

Labels = Sequence[tuple[U8, U8]]


@dataclass(frozen=True, kw_only=True)
class Real:
    """A sequence of labelled frames.

    Attributes:
        kind: of the folder's labelled pictures.
        answers: what may be asked, from a frame's labels to a mask; none where the target is a
            picture itself.
    """

    kind: str
    answers: Sequence[Callable[[U8], NDArray[np.bool_]]]


REAL: Mapping[str, Real] = {
    "street": Real(kind="street_frames", answers=[lambda a: a == 1, lambda a: a == 2]),
    "scratch": Real(kind="scratch_frames", answers=[lambda a: (a & 1) > 0, lambda a: (a & 2) > 0]),
    "disparity": Real(kind="disparity", answers=[]),
}
"""Five street frames with a car and a truck; ten of a scratch assay with cells and nuclei; the four
corners of a stereo picture, of which those on one side are the pair for those on the other."""


def there_are(data: Collage) -> list[str]:
    """Those that a folder has pictures of."""
    return [name for name, real in REAL.items() if data.labelled.get(real.kind)]


def count(data: Collage, name: str) -> int:
    """Episodes of one: every later frame for every answer."""
    frames = len(data.labelled[REAL[name].kind])
    return (frames - 1) * len(REAL[name].answers) if REAL[name].answers else frames


def episode(data: Collage, name: str, index: int, pairs: int) -> PairEpisode:
    """Episode number ``index``; pairs are the first frame, then those up to the query.

    Where there are fewer than ``pairs`` they come again.
    """
    real = REAL[name]
    frames: Labels = data.labelled[real.kind]
    if not real.answers:
        half = len(frames) // 2  # the first half lies on one side
        shown = [(index + half) % len(frames)]
        return _picture(name, frames, np.resize(shown, pairs), index)
    answer, query = index % len(real.answers), 1 + index // len(real.answers)
    examples = np.resize(np.arange(query), pairs)
    other = (answer + 1) % len(real.answers)
    style = Style(foreground=vivid_colour(np.random.default_rng(index)))

    def target(frame: int, asked: int) -> U8:
        share = real.answers[asked](frames[frame][1]).astype(np.float32)
        return paint(share, style.foreground, style.background)

    def shown_pairs(asked: int) -> tuple[Pair, ...]:
        return tuple((_rgb(frames[k][0]), target(k, asked)) for k in map(int, examples))

    marked = np.stack([mask(frames[query][1]) for mask in real.answers])
    return PairEpisode(
        family=name,
        members="real",
        pairs=shown_pairs(answer),
        other=shown_pairs(other),
        query=_rgb(frames[query][0]),
        truth=target(query, answer),
        other_truth=target(query, other),
        style=style,
        union=np.asarray(marked.any(axis=0), bool),
    )


def _picture(name: str, frames: Labels, shown: NDArray[np.int64], query: int) -> PairEpisode:
    return PairEpisode(
        family=name,
        members="real",
        pairs=tuple((_rgb(frames[k][0]), _rgb(frames[k][1])) for k in map(int, shown)),
        other=None,
        query=_rgb(frames[query][0]),
        truth=_rgb(frames[query][1]),
        other_truth=None,
        style=None,
    )


def _rgb(image: U8) -> U8:
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
