"""Held-out episodes of families, to measure reading by; an ``evaluation.pairs`` source."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.evaluation.pairs.episodes import Members, PairEpisode
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Pair
from lavin_deploy.training.families import real
from lavin_deploy.training.families.registry import FAMILIES, makeable
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Family, Group

SPLITS: Mapping[Members, str] = {"held-out": "test", "trained": "train"}
VIEWS = 10
"""Items of a drawn group: more than are shown, so that there is a choice."""
TRIES = 64
APART = 0.01
"""Share of the frame by which another answer differs at least."""
WITH_EMPTY = ("follow",)


class HeldOutFamilies:
    """Members that are never trained on, and trained ones; both in test pictures.

    Where the members are the things in pictures (``Family.of_pictures``), the trained ones are the
    training split's, in new arrangements.

    Args:
        folder: what ``prepare.prepare`` filled.
        size: side S of the square pictures in pixels.
        pairs: most example pairs P of an episode.
        seed: another seed gives other samples.
    """

    def __init__(self, folder: Path, *, size: int, pairs: int, seed: int = 0) -> None:
        self._folder, self._size, self._pairs, self._seed = folder, size, pairs, seed
        self._data = cache(partial(Collage.load, folder))
        self._family = cache(self._make)

    @property
    def families(self) -> tuple[tuple[str, Members], ...]:
        """All families that there are pictures for: held-out members, trained ones, real ones."""
        members: tuple[Members, ...] = ("held-out", "trained")
        there = {each: makeable(self._data(SPLITS[each])) for each in members}
        drawn = [(name, each) for each in members for name in there[each]]
        return (*drawn, *((name, "real") for name in real.there_are(self._data("test"))))

    def count(self, family: str, members: Members) -> int | None:
        """Real ones are counted, others are drawn without end."""
        return real.count(self._data("test"), family) if members == "real" else None

    def has_empty(self, family: str) -> bool:
        """Whether things of the family may be away."""
        return family in WITH_EMPTY

    def _make(self, family: str, members: Members) -> Family:
        maker = FAMILIES[family]
        split = SPLITS[members] if maker.of_pictures else "test"
        return maker(self._data(split), held_out=members == "held-out", plain=True)

    def episode(
        self, family: str, members: Members, index: int, *, empty: bool = False
    ) -> PairEpisode:
        """Draw sample number ``index``.

        Raises:
            InputError: no such episode was drawn in many tries.
        """
        if members == "real":
            return real.episode(self._data("test"), family, index, self._pairs)
        words = (self._seed, zlib.crc32(family.encode()), members == "held-out", index, empty)
        rng = np.random.default_rng([int(word) for word in words])
        maker = self._family(family, members)
        for _ in range(TRIES):
            group = maker.group(rng, self._size, VIEWS)
            for answer in rng.permutation(group.present.shape[1]):
                found = self._episode(rng, group, int(answer), family, members, empty)
                if found is not None:
                    return found
        raise InputError(f"no episode of {family!r} was found in {TRIES} groups; add pictures.")

    def _episode(
        self,
        rng: np.random.Generator,
        group: Group,
        answer: int,
        family: str,
        members: Members,
        empty: bool,
    ) -> PairEpisode | None:
        order = rng.permutation(len(group.inputs))
        shown = [int(k) for k in order if group.pairs[k, answer]]
        _, firsts = np.unique(group.sources[shown], return_index=True)  # no picture twice
        examples = [shown[k] for k in sorted(firsts)][: self._pairs]
        used = set(group.sources[examples].tolist())
        order = np.array([k for k in order if int(group.sources[k]) not in used], np.int64)
        if group.shares is None:
            rest = [int(k) for k in order if group.present[k, answer]]
        else:
            cover = group.shares[:, answer].max(axis=(1, 2))
            rest = [k for k in map(int, order) if (cover[k] < 0.5) == empty]
            if not empty:
                rest = [k for k in rest if group.present[k, answer]]
        if len(examples) < self._pairs or not rest:
            return None
        query = rest[0]
        others = [
            k for k in range(group.present.shape[1]) if k != answer and differ(group, answer, k)
        ]
        other = int(rng.choice(others)) if others else None

        def target(item: int, asked: int) -> U8:
            if group.shares is None:
                return np.asarray(group.targets[item][asked], np.uint8)
            style = group.styles[answer]
            share = (group.shares[item, asked] > 0.5).astype(np.float32)
            return paint(share, style.foreground, style.background)

        def shown_pairs(asked: int) -> tuple[Pair, ...]:
            return tuple((group.inputs[k], target(k, asked)) for k in examples)

        union = None if group.shares is None else group.shares[query].max(axis=0) > 0.5
        return PairEpisode(
            family=family,
            members=members,
            pairs=shown_pairs(answer),
            other=None if other is None else shown_pairs(other),
            query=group.inputs[query],
            truth=target(query, answer),
            other_truth=None if other is None else target(query, other),
            style=None if group.shares is None else group.styles[answer],
            union=union,
            known=None if group.known is None else group.known[query],
            member=group.names[answer] if group.names else "",
        )


def differ(group: Group, first: int, second: int) -> bool:
    """Whether two answers of a group are other ones."""
    if group.shares is None:
        return True
    gap = np.abs(group.shares[:, first] - group.shares[:, second]).mean()
    return bool(gap > APART)
