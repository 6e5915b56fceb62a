"""Pools of precomputed latents: encode episodes once, draw training samples for hours.

A pool is one ``.npy`` file, float16 (N, 2f, 16, h, w): posterior means of N inputs, f latents each,
and of their targets, not scaled. Items stand in groups of ``GROUP`` that share a style, so any two
of a group make a pair and a query of one episode; in an ordered task those that follow each other.
Where answers are compared in pixels, the targets' pixels lie beside it, uint8 (N, S, S, 3): three
times as many bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.config import ModelConfig
from lavin_deploy.errors import InputError

GROUP = 16


def ids_path(pool: Path) -> Path:
    """The file beside a pool: (N,) int, equal for items that were made of one picture."""
    return pool.with_suffix(".ids.npy")


def pixels_path(pool: Path) -> Path:
    """The file beside a pool: (N, S, S, 3) uint8, the targets; only where a recipe asked for it."""
    return pool.with_suffix(".pixels.npy")


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Latents of one task.

    Attributes:
        latents: (N, 2f, 16, h, w) float16, unscaled.
        ids: (N,), equal for items that were made of one picture.
        weight: how often it is drawn, relative to the others.
        ordered: items of a group come one after another.
        pixels: (N, S, S, 3) uint8 targets, or None where nothing is compared in pixels.
    """

    latents: NDArray[np.float16]
    ids: NDArray[np.int64]
    weight: float
    ordered: bool = False
    pixels: NDArray[np.uint8] | None = None

    @classmethod
    def open(
        cls, path: Path, weight: float, *, ordered: bool = False, in_pixels: bool = False
    ) -> Pool:
        """Map a file that :func:`make_pool` wrote into memory, with its pixels if asked for."""
        return cls(
            latents=np.load(path, mmap_mode="r"),
            ids=np.load(ids_path(path)),
            weight=weight,
            ordered=ordered,
            pixels=np.load(pixels_path(path), mmap_mode="r") if in_pixels else None,
        )

    @property
    def frames(self) -> int:
        """Latents f of an input, and of a target."""
        return int(self.latents.shape[1]) // 2

    def choose(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw the items of an episode: distinct pictures of one group, the query last.

        Raises:
            InputError: a group has too few.
        """
        start = int(rng.integers(len(self.latents) // GROUP)) * GROUP
        if self.ordered:
            room = max(1, GROUP - count + 1)
            chosen = start + int(rng.integers(room)) + np.arange(min(count, GROUP))
        else:
            order = start + rng.permutation(GROUP)
            _, first = np.unique(self.ids[order], return_index=True)  # no picture twice
            chosen = order[np.sort(first)][:count]
        if len(chosen) < count:
            raise InputError(
                f"an episode of {count - 1} pairs needs {count} pictures, and a task has "
                f"{len(chosen)}; lower max_pairs or add pairs."
            )
        return np.asarray(chosen, np.int64)


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

    def draw_frames(self, rng: np.random.Generator) -> int:
        """Draw how many latents the inputs of a step have, by the pools' weights."""
        weights: dict[int, float] = {}
        for pool in self.pools:
            weights[pool.frames] = weights.get(pool.frames, 0.0) + pool.weight
        if len(weights) == 1:
            return next(iter(weights))
        return int(rng.choice(list(weights), p=_shares(list(weights.values()))))

    def draw(
        self, rng: np.random.Generator, pairs: int, frames: int = 1
    ) -> tuple[NDArray[np.float32] | NDArray[np.uint8], ...]:
        """Draw one episode.

        Args:
            rng: source of every choice.
            pairs: example pairs P; 0 gives the null context: a latent of zeros, then the query.
            frames: latents f of an input; there is a pool that has so many.

        Returns:
            Scaled context (16, (2P + 1) f or 1 + f, h, w) and target (16, f, h, w), float32; behind
            them the target's pixels (3, S, S) uint8 if the pool has any.
        """
        fitting = [pool for pool in self.pools if pool.frames == frames]
        pool = fitting[int(rng.choice(len(fitting), p=_shares([p.weight for p in fitting])))]
        chosen = pool.choose(rng, pairs + 1)
        items = (pool.latents[chosen].astype(np.float32) - self.shift) * self.scale
        query = items[-1, :frames]
        examples = items[:-1].reshape(-1, *query.shape[1:]) if pairs else np.zeros_like(query[:1])
        context = np.concatenate((examples, query))
        latents = context.swapaxes(0, 1), items[-1, frames:].swapaxes(0, 1)
        if pool.pixels is None:
            return latents
        return *latents, pool.pixels[chosen[-1]].transpose(2, 0, 1)


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    return np.array(weights, np.float64) / sum(weights)
