"""Pools of precomputed latents: encode episodes once, draw training samples for hours.

A pool is one ``.npy`` file, float16 (N, 2f, 16, h, w): posterior means of N inputs, f latents each,
and of their targets, not scaled. Items stand in groups of ``GROUP`` that share a style, so any two
of a group make a pair and a query of one episode; in an ordered task those that follow each other.
Where answers are compared in pixels, the targets' pixels lie beside it, uint8 (N, S, S, 3): three
times as many bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lavin_deploy.config import ModelConfig
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.models.checkpoint import VAE_FILES
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Encoder2d
from lavin_deploy.training.episodes import Task, episode
from lavin_deploy.training.mixed import bfloat16_pays
from lavin_deploy.training.pictures import Sample
from lavin_deploy.training.prefetch import prefetch
from lavin_deploy.training.settings import DiTRecipe
from lavin_deploy.training.stvae import to_clip
from lavin_deploy.training.world import CPU

GROUP = 16

Encode = Callable[[Tensor], Tensor]
"""Pixels (B, 3, T, H, W) in [-1, 1] -> unscaled posterior means (B, 16, f, h, w)."""


def parse_weights(text: str) -> dict[str, float]:
    """``"segmentation:4,edges:1"`` -> weights by task name.

    Raises:
        InputError: an entry is not ``name:weight`` with a positive weight.
    """
    weights = {}
    for entry in text.split(","):
        name, _, number = entry.strip().partition(":")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = 0.0
        if weights[name] <= 0:
            raise InputError(f"{entry!r} in tasks is not name:weight, e.g. segmentation:4.")
    return weights


def share_groups(weights: dict[str, float], groups: int) -> dict[str, int]:
    """Share ``groups`` out by weight, so that items of all tasks are met equally often."""
    total = sum(weights.values())
    return {task: max(1, round(groups * weight / total)) for task, weight in weights.items()}


def pool_path(out: Path, task: str, groups: int, recipe: DiTRecipe, source: str) -> Path:
    """Where a task's pool lies: the name changes with all that the latents depend on.

    Args:
        out: checkpoint folder with the ST-VAE that encodes.
        task: its name.
        groups: episodes in it.
        recipe: size, seed and number format of the encoding.
        source: what identifies the pictures: an inventory, a hash.
    """
    digest = hashlib.sha256(f"{recipe.size} {groups} {recipe.seed} {GROUP} {recipe.bf16}".encode())
    digest.update((out / VAE_FILES[0]).read_bytes() + source.encode())
    return out / "latents" / f"{task}-{recipe.size}-{digest.hexdigest()[:12]}.npy"


def encode_samples(
    encode: Encode, task: Task, samples: Sequence[Sample], *, bf16: bool, device: torch.device
) -> NDArray[np.float32]:
    """Posterior means of inputs and targets side by side: (N, 2f, 16, h, w) float32, unscaled.

    Args:
        encode: of single frames or of clips.
        task: that drew the samples.
        samples: N of them.
        bf16: matrix work in bfloat16.
        device: where to encode.

    Raises:
        WorkError: input and target do not have as many latents.
    """

    def means(clips: Sequence[NDArray[np.uint8]]) -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found = encode(to_clip(clips).to(device))
        return found.transpose(1, 2).float().cpu()

    given, asked = [s.input for s in samples], [s.target for s in samples]
    shown = means(given)
    if task.follows:
        whole = [np.concatenate(pair) for pair in zip(given, asked, strict=True)]
        targets = means(whole)[:, shown.shape[1] :]
    else:
        targets = means(asked)
    if shown.shape != targets.shape:
        raise WorkError(
            f"{task.name} has {shown.shape[1]} latents in an input and {targets.shape[1]} in a "
            "target; they must be as many."
        )
    both: NDArray[np.float32] = torch.cat((shown, targets), dim=1).numpy()
    return both


def make_pool(
    vae: STVAE,
    task: Task,
    path: Path,
    *,
    groups: int,
    recipe: DiTRecipe,
    device: torch.device = CPU,
) -> None:
    """Encode ``groups`` episodes of a task at the recipe's size and seed into a pool file.

    Beside it ``<name>.ids.npy`` tells which items were made of one picture. A file that is there
    already is kept; an unfinished one never carries the final name.
    """
    if path.exists() and (pixels_path(path).exists() or not recipe.in_pixels):
        return
    size, side = recipe.size, recipe.size // 8
    bf16 = bfloat16_pays(recipe, device)
    vae = vae.eval().to(device)
    encode = (lambda pixels: vae.encode(pixels).mean) if task.frames > 1 else Encoder2d(vae)
    frames = 2 * ((task.frames - 1) // 4 + 1)
    ids = np.arange(groups * GROUP)
    shape = (groups * GROUP, frames, vae.config.latent_channels, side, side)
    pool = np.empty(shape, np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = pixels_path(path).with_suffix(".tmp.npy")
    targets = None
    if recipe.in_pixels:
        shown = (groups * GROUP, size, size, 3)
        targets = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shown)

    def draw(group: int) -> list[Sample]:
        rng = np.random.default_rng((recipe.seed, group))
        return episode(task, rng, task.draw_style(rng), size, GROUP)

    drawn = prefetch(draw, 0, groups, workers=max(1, (os.cpu_count() or 1) // 2))
    bar = tqdm(drawn, total=groups, desc=path.name, disable=None, leave=False)
    for group, samples in enumerate(bar):
        shared = [sample.source for sample in samples]
        places = [
            turn if source is None else shared.index(source) for turn, source in enumerate(shared)
        ]
        there = slice(group * GROUP, (group + 1) * GROUP)
        ids[there] = group * GROUP + np.array(places)
        pool[there] = encode_samples(encode, task, samples, bf16=bf16, device=device)
        if targets is not None:
            targets[there] = [sample.target for sample in samples]
    if targets is not None:
        targets.flush()
        unfinished.replace(pixels_path(path))
    np.save(ids_path(path), ids)
    fresh = path.with_suffix(".tmp.npy")
    np.save(fresh, pool)
    fresh.replace(path)


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
        shown = items[:-1].reshape(-1, *query.shape[1:]) if pairs else np.zeros_like(query[:1])
        context = np.concatenate((shown, query))
        latents = context.swapaxes(0, 1), items[-1, frames:].swapaxes(0, 1)
        if pool.pixels is None:
            return latents
        return *latents, pool.pixels[chosen[-1]].transpose(2, 0, 1)


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    return np.array(weights, np.float64) / sum(weights)
