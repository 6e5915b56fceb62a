"""Pools of precomputed latents: encode episodes once, draw training samples for hours.

A pool is a folder of chunks ``00000-00016``, each a folder of arrays for as many groups of
``GROUP`` items. An item is one input with the targets of all answers that may be asked of it: any
two items of a group make a pair and a query of one episode, in an ordered task those that follow
each other, and which answer is asked is drawn with the episode. ``latents.npy`` is float16
(N, (1 + A) f, 16, h, w), posterior means, not scaled: f of the input, then f of each of A targets.
Where answers are compared in pixels, the targets' pixels are kept too: three times as many bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.config import ModelConfig
from lavin_deploy.errors import InputError

GROUP = 16
APART = 0.5
"""Mean absolute difference of scaled latents from which on a place differs from another."""
TRIES = 16
"""Groups that are tried for one whose answer enough items show."""
LATENTS, IDS, PRESENT, PIXELS = "latents.npy", "ids.npy", "present.npy", "pixels.npy"
KNOWN = "known.npy"


class Drawn(NamedTuple):
    """One episode in scaled latents, float32: P pairs, and Q queries with their targets.

    Attributes:
        pairs: (16, 2P f, h, w), in1, tgt1, in2, ...; without pairs the null context, (16, 1, h, w)
            of zeros.
        queries: (Q, 16, f, h, w).
        targets: (Q, 16, f, h, w).
        weights: (Q, 1, 1, h, w), how much each latent counts: the share of its pixels whose target
            is known, and more where a mask has what it marks.
        pixels: (Q, 3, S, S) uint8, the targets' pixels, or None where nobody asked for them.
    """

    pairs: NDArray[np.float32]
    queries: NDArray[np.float32]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    pixels: NDArray[np.uint8] | None


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some groups of a pool.

    Attributes:
        latents: (N, (1 + A) f, 16, h, w) float16, unscaled.
        ids: (N,), equal for items that were made of one picture.
        present: (N, A), whether an item shows what the answer is about, and can be a pair.
        known: (N, h, w) float16, share of each latent's pixels whose targets are known; None is 1.
        pixels: (N, A, S, S, 3) uint8 targets, or None.
    """

    latents: NDArray[np.float16]
    ids: NDArray[np.int64]
    present: NDArray[np.bool_]
    known: NDArray[np.float16] | None = None
    pixels: NDArray[np.uint8] | None = None

    @classmethod
    def open(cls, folder: Path, *, in_pixels: bool = False) -> Chunk:
        """Map a chunk's arrays into memory."""
        return cls(
            latents=np.load(folder / LATENTS, mmap_mode="r"),
            ids=np.load(folder / IDS),
            present=np.load(folder / PRESENT),
            known=np.load(folder / KNOWN) if (folder / KNOWN).exists() else None,
            pixels=np.load(folder / PIXELS, mmap_mode="r") if in_pixels else None,
        )

    @property
    def groups(self) -> int:
        """Groups in it."""
        return len(self.latents) // GROUP


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Latents of one task.

    Attributes:
        name: of the task.
        chunks: its groups.
        weight: how often it is drawn, relative to the others.
        frames: latents f of an input, and of a target.
        ordered: items of a group come one after another.
        foreground: how much more than the rest the places count where a target differs from most
            of it, see :func:`foreground_weights`; 0 is no more.
    """

    name: str
    chunks: Sequence[Chunk]
    weight: float
    frames: int = 1
    ordered: bool = False
    foreground: float = 0.0

    @property
    def groups(self) -> int:
        """Groups in all chunks."""
        return sum(chunk.groups for chunk in self.chunks)

    @property
    def answers(self) -> int:
        """Targets A of each input."""
        return int(self.chunks[0].present.shape[1])

    def choose(
        self, rng: np.random.Generator, pairs: int, queries: int
    ) -> tuple[Chunk, int, NDArray[np.int64]]:
        """Draw a group, an answer, and items of the group: the pairs', then the queries'.

        Pairs show what the answer is about and are distinct pictures, none of them a query's;
        queries come again where there are too few. In an ordered pool the query is the next item.

        Raises:
            InputError: a group has too few pictures.
        """
        for _ in range(TRIES):
            chunk, start = self._group(int(rng.integers(self.groups)))
            answer = int(rng.integers(self.answers))
            if self.ordered:
                count = min(pairs + 1, GROUP)
                first = start + int(rng.integers(GROUP - count + 1))
                examples, rest = first + np.arange(pairs), first + np.arange(pairs, count)
            else:
                order = start + rng.permutation(GROUP)
                shown = order[chunk.present[order, answer]]
                _, places = np.unique(chunk.ids[shown], return_index=True)  # no picture twice
                examples = shown[np.sort(places)][:pairs]
                rest = order[~np.isin(chunk.ids[order], chunk.ids[examples])]
            if len(examples) == pairs and len(rest):
                asked = np.resize(rest, queries)
                return chunk, answer, np.concatenate((examples, asked)).astype(np.int64)
        raise InputError(
            f"an episode of {pairs} pairs needs {pairs + 1} pictures, and groups of {self.name!r} "
            f"have {len(examples) + bool(len(rest))}; lower max_pairs or add pairs."
        )

    def _group(self, number: int) -> tuple[Chunk, int]:
        """The chunk that holds a group, and the group's first item in it."""
        for chunk in self.chunks:
            if number < chunk.groups:
                break
            number -= chunk.groups
        return chunk, number * GROUP


@dataclass(frozen=True, kw_only=True)
class LatentPools:
    """Pools of several tasks.

    Attributes:
        pools: of the tasks.
        shift: latent shift.
        scale: latent scale.

    Raises:
        InputError: there is no pool.
    """

    pools: Sequence[Pool]
    shift: float
    scale: float

    def __post_init__(self) -> None:
        if not self.pools:
            raise InputError("no latent pools to train on; make them first.")

    @classmethod
    def of(cls, pools: Sequence[Pool], config: ModelConfig) -> LatentPools:
        """Pools whose latents were made by the ST-VAE that a config belongs to."""
        return cls(pools=pools, shift=config.latent_shift, scale=config.latent_scale)

    def only(self, name: str) -> LatentPools:
        """The pool of one task alone."""
        return replace(self, pools=[pool for pool in self.pools if pool.name == name])

    def weighted(self, weights: Mapping[str, float]) -> LatentPools:
        """The same pools, drawn as often as ``weights`` says by name."""
        return replace(self, pools=[replace(p, weight=weights[p.name]) for p in self.pools])

    def draw_frames(self, rng: np.random.Generator) -> int:
        """Draw how many latents the inputs of a step have, by the pools' weights."""
        weights: dict[int, float] = {}
        for pool in self.pools:
            weights[pool.frames] = weights.get(pool.frames, 0.0) + pool.weight
        if len(weights) == 1:
            return next(iter(weights))
        return int(rng.choice(list(weights), p=_shares(list(weights.values()))))

    def draw(
        self, rng: np.random.Generator, pairs: int, queries: int = 1, frames: int = 1
    ) -> Drawn:
        """Draw one episode.

        Args:
            rng: source of every choice.
            pairs: example pairs P; 0 gives the null context.
            queries: Q, all of them asked under the same pairs.
            frames: latents f of an input; there is a pool that has so many.

        Raises:
            InputError: a group has too few pictures.
        """
        pool = self._pool(rng, frames)
        chunk, answer, items = pool.choose(rng, pairs, queries)
        return self._drawn(pool, chunk, answer, items, pairs)

    def draw_both(
        self, rng: np.random.Generator, pairs: int, queries: int = 1, frames: int = 1
    ) -> tuple[Drawn, NDArray[np.float32] | None]:
        """Draw one episode, and its pairs with targets that belong to other inputs of it.

        Colours and everything else that the task's name says are the same in both. The second is
        None where the task has one answer, which its name may say.
        """
        pool = self._pool(rng, frames)
        if pool.answers == 1:
            chunk, answer, items = pool.choose(rng, pairs, queries)
            return self._drawn(pool, chunk, answer, items, pairs), None
        chunk, answer, items = pool.choose(rng, pairs + 1, queries)
        examples = items[: pairs + 1]
        drawn = self._drawn(pool, chunk, answer, np.delete(items, pairs), pairs)
        shifted = np.append(np.roll(examples, 1), items[-1:])
        rolled = self._drawn(pool, chunk, answer, shifted, pairs)
        inputs = drawn.pairs.reshape(drawn.pairs.shape[0], pairs, 2, frames, *drawn.pairs.shape[2:])
        targets = rolled.pairs.reshape(inputs.shape)
        wrong = np.stack((inputs[:, :, 0], targets[:, :, 1]), axis=2)
        return drawn, wrong.reshape(drawn.pairs.shape)

    def _pool(self, rng: np.random.Generator, frames: int) -> Pool:
        fitting = [pool for pool in self.pools if pool.frames == frames]
        return fitting[int(rng.choice(len(fitting), p=_shares([p.weight for p in fitting])))]

    def _drawn(
        self, pool: Pool, chunk: Chunk, answer: int, items: NDArray[np.int64], pairs: int
    ) -> Drawn:
        frames = pool.frames
        target = slice((1 + answer) * frames, (2 + answer) * frames)
        inputs, targets = (
            (chunk.latents[items, part].astype(np.float32) - self.shift) * self.scale
            for part in (slice(frames), target)
        )
        examples = np.concatenate((inputs[:pairs], targets[:pairs]), axis=1)
        examples = examples.reshape(-1, *inputs.shape[2:])  # in1, tgt1, in2, ...
        if not pairs:
            examples = np.zeros_like(inputs[0, :1])
        weights = foreground_weights(targets[pairs:], pool.foreground)
        if chunk.known is not None:
            weights *= chunk.known[items[pairs:], None, None]
        pixels = None
        if chunk.pixels is not None:
            pixels = chunk.pixels[items[pairs:], answer].transpose(0, 3, 1, 2)
        return Drawn(
            examples.swapaxes(0, 1),
            inputs[pairs:].swapaxes(1, 2),
            targets[pairs:].swapaxes(1, 2),
            weights,
            pixels,
        )


def foreground_weights(targets: NDArray[np.float32], more: float) -> NDArray[np.float32]:
    """Weights of latents whose mean is 1: 1 + ``more`` where a target differs from most of it.

    A thing that covers a tenth of the frame has a tenth of the square error; where it is in doubt,
    the best answer under that error does not show it.

    Args:
        targets: (Q, f, 16, h, w), scaled.
        more: 0 or more.

    Returns:
        (Q, 1, 1, h, w) float32; of several frames the first decides.
    """
    if not more:
        return np.ones((len(targets), 1, 1, *targets.shape[-2:]), np.float32)
    first = targets[:, :1]
    middle = np.median(first, axis=(3, 4), keepdims=True)
    apart = np.abs(first - middle).mean(axis=2, keepdims=True) > APART
    weights = 1 + np.float32(more) * apart
    return np.asarray(weights / weights.mean(axis=(3, 4), keepdims=True), np.float32)


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    return np.array(weights, np.float64) / sum(weights)
