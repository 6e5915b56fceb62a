"""Measure one family: the model, what it must be better than, and what changes with its pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation.bootstrap import Interval, interval
from lavin_deploy.evaluation.pairs.episodes import (
    SMALL,
    Members,
    PairEpisode,
    PairSource,
    copied_target,
    flat_colour,
    marked,
)
from lavin_deploy.tasks.samples import Answer

MODEL, OTHER, TARGET, INPUT = "model", "another answer's pairs", "copied target", "copied input"
UNION, WHOLE, FLAT = "everything marked", "whole frame", "flat colour"
KEPT_PICTURES = 8


@dataclass(frozen=True, kw_only=True)
class MemberResult:
    """What was measured of one member that has a name.

    Attributes:
        score: the model's mean with its interval.
        gains: by control, how much better the model is, sample by sample.
    """

    score: Interval
    gains: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True)
class FamilyResult:
    """What was measured of one family's members.

    Attributes:
        family: its name.
        members: which.
        unit: of the scores, ``IoU`` or ``dB gained``.
        samples: number of episodes whose truth is not empty.
        pairs: shown in all rows but ``curve``.
        rows: mean score of the model and of every control, with its interval, over the samples that
            have the control: some have no other answer, and some queries show nothing but what is
            asked, so that everything marked is the truth.
        gains: by control, how much better the model is, sample by sample.
        switched: share of samples in [0, 1] in which the answer went with the mark when the pairs
            marked something else, of those whose query shows both; None if there are none.
        curve: the model's score by number of pairs.
        empty: share of empty truths in [0, 1] to which less than 1 % of the frame was painted;
            None where there are none.
        empty_samples: how many empty truths.
        named: the same of each member that has a name, by name.
        pictures: of the first samples: query, truth and answers by row.
    """

    family: str
    members: Members
    unit: str
    samples: int
    pairs: int
    rows: Mapping[str, Interval]
    gains: Mapping[str, Interval]
    switched: float | None
    curve: Mapping[int, Interval]
    empty: float | None
    empty_samples: int
    named: Mapping[str, MemberResult]
    pictures: Sequence[Mapping[str, U8]] = field(default=(), repr=False)


def measure_family(
    family: str,
    members: Members,
    source: PairSource,
    answer: Answer,
    *,
    samples: int,
    counts: Sequence[int],
    advance: Callable[[], None] = lambda: None,
) -> FamilyResult:
    """Measure answers to one family.

    Args:
        family: its name.
        members: which.
        source: of the episodes.
        answer: from pairs and a query to an answer of its size.
        samples: episodes with something to mark, and as many as a quarter of them without.
        counts: numbers of pairs; the first is shown in all rows.
        advance: called after each sample.
    """
    first = counts[0]
    values: dict[str, dict[int, float]] = {}
    named: dict[str, list[int]] = {}
    curve: dict[int, list[float]] = {count: [] for count in counts}
    followed: list[bool] = []
    kept: list[dict[str, U8]] = []
    for index in range(samples):
        episode = source.episode(family, members, index)
        own = answer(episode.pairs[:first], episode.query)
        answers = {MODEL: own, **_controls(episode)}
        if episode.other is not None and episode.other_truth is not None:
            other = answer(episode.other[:first], episode.query)
            answers[OTHER] = other
            if episode.style is not None and episode.mask(episode.other_truth).any():
                followed.append(_followed(episode, own, other, episode.other_truth))
        if episode.member:
            named.setdefault(episode.member, []).append(index)
        for name, image in answers.items():
            values.setdefault(name, {})[index] = episode.score(image)
        for count in counts:
            shown = own if count == first else answer(episode.pairs[:count], episode.query)
            curve[count].append(episode.score(shown))
        if index < KEPT_PICTURES:
            pair = {"pair: input": episode.pairs[0][0], "pair: target": episode.pairs[0][1]}
            kept.append({**pair, "query": episode.query, "truth": episode.truth, **answers})
        advance()
    nothing: list[bool] = []
    if source.has_empty(family):
        for index in range(max(2, samples // 4)):
            episode = source.episode(family, members, index, empty=True)
            image = answer(episode.pairs[:first], episode.query)
            nothing.append(episode.painted(image) < SMALL)
            advance()
    return FamilyResult(
        family=family,
        members=members,
        unit="dB gained" if FLAT in values else "IoU",
        samples=samples,
        pairs=first,
        rows={name: _sure(list(each.values())) for name, each in values.items()},
        gains=_gains(values),
        switched=float(np.mean(followed)) if followed else None,
        curve={count: _sure(each) for count, each in curve.items()},
        empty=float(np.mean(nothing)) if nothing else None,
        empty_samples=len(nothing),
        named={member: _member(values, of) for member, of in sorted(named.items())},
        pictures=kept,
    )


def _gains(values: Mapping[str, Mapping[int, float]]) -> dict[str, Interval]:
    """By how much the model is better than each control, of scores by row and sample."""
    model = values[MODEL]
    return {
        name: _sure([model[index] - value for index, value in each.items()])
        for name, each in values.items()
        if name != MODEL
    }


def _member(values: Mapping[str, Mapping[int, float]], of: Sequence[int]) -> MemberResult:
    chosen = {name: {k: each[k] for k in of if k in each} for name, each in values.items()}
    own = {name: each for name, each in chosen.items() if each}
    return MemberResult(score=_sure(list(own[MODEL].values())), gains=_gains(own))


def _controls(episode: PairEpisode) -> dict[str, U8]:
    rows = {TARGET: copied_target(episode), INPUT: episode.query}
    if episode.style is None:
        return {**rows, FLAT: flat_colour(episode)}
    if episode.union is not None:
        everything = marked(episode, episode.union)
        if (episode.mask(everything) & ~episode.mask(episode.truth)).mean() > SMALL:
            rows[UNION] = everything
    return {**rows, WHOLE: marked(episode, np.ones(episode.query.shape[:2], bool))}


def _followed(episode: PairEpisode, own: U8, other: U8, other_truth: U8) -> bool:
    """Whether each answer overlaps its own truth more than the other's."""
    return episode.score(own) > episode.score(own, other_truth) and episode.score(
        other, other_truth
    ) > episode.score(other)


def _sure(values: Sequence[float]) -> Interval:
    found = interval(values)
    mean = float(np.mean(values))
    return found or Interval(mean=mean, low=mean, high=mean, count=len(values))
