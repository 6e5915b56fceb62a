"""Pools of precomputed latents: encode episodes once, draw training samples for hours.

A pool is one ``.npy`` file, float16 (N, 2, 16, h, w): posterior means of inputs and targets, not
scaled. Items stand in groups of ``GROUP`` that share a style, so any two of a group make a pair and
a query of one episode. Where answers are compared in pixels, the targets' pixels lie beside it,
uint8 (N, S, S, 3): three times as many bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lavin_deploy.config import ModelConfig
from lavin_deploy.errors import InputError
from lavin_deploy.models.checkpoint import VAE_FILES
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Encoder2d
from lavin_deploy.training.episodes import Task, episode
from lavin_deploy.training.mixed import bfloat16_pays
from lavin_deploy.training.recipes import DiTRecipe
from lavin_deploy.training.stvae import to_clip
from lavin_deploy.training.world import CPU

GROUP = 16


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
    encoder = Encoder2d(vae).eval().to(device)
    ids = np.arange(groups * GROUP)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = pixels_path(path).with_suffix(".tmp.npy")
    targets = None
    if recipe.in_pixels:
        shape = (groups * GROUP, size, size, 3)
        targets = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
    pool = np.empty((groups * GROUP, 2, vae.config.latent_channels, side, side), np.float16)
    for group in tqdm(range(groups), desc=path.name, disable=None, leave=False):
        rng = np.random.default_rng((recipe.seed, group))
        style = task.draw_style(rng)
        samples = episode(task, rng, style, size, GROUP)
        shared = [sample.source for sample in samples]
        places = [
            turn if source is None else shared.index(source) for turn, source in enumerate(shared)
        ]
        ids[group * GROUP : (group + 1) * GROUP] = group * GROUP + np.array(places)
        if targets is not None:
            targets[group * GROUP : (group + 1) * GROUP] = [sample.target for sample in samples]
        pixels = to_clip([s.input for s in samples] + [s.target for s in samples]).to(device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            means = encoder(pixels).squeeze(2).float().cpu().numpy()
        pool[group * GROUP : (group + 1) * GROUP] = np.stack((means[:GROUP], means[GROUP:]), axis=1)
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
class LatentPools:
    """Pools of several tasks and how often each is drawn.

    Attributes:
        pools: per task (N, 2, 16, h, w) float16, unscaled.
        ids: per task (N,), equal for items that were made of one picture.
        pixels: per task (N, S, S, 3) uint8 targets, or empty where nothing is compared in pixels.
        weights: probability of each task.
        shift: latent shift.
        scale: latent scale.
    """

    pools: list[NDArray[np.float16]]
    ids: list[NDArray[np.int64]]
    pixels: list[NDArray[np.uint8]]
    weights: NDArray[np.float64]
    shift: float
    scale: float

    @classmethod
    def open(
        cls, files: dict[Path, float], config: ModelConfig, *, in_pixels: bool = False
    ) -> LatentPools:
        """Map pool files, each with its weight, into memory, with pixels if asked for.

        Raises:
            InputError: there is no pool.
        """
        if not files:
            raise InputError("no latent pools to train on; make them first.")
        weights = np.array(list(files.values()), np.float64)
        return cls(
            pools=[np.load(path, mmap_mode="r") for path in files],
            ids=[np.load(ids_path(path)) for path in files],
            pixels=[np.load(pixels_path(p), mmap_mode="r") for p in files if in_pixels],
            weights=weights / weights.sum(),
            shift=config.latent_shift,
            scale=config.latent_scale,
        )

    def draw(
        self, rng: np.random.Generator, pairs: int
    ) -> tuple[NDArray[np.float32] | NDArray[np.uint8], ...]:
        """Draw one episode.

        Args:
            rng: source of every choice.
            pairs: example pairs P; 0 gives the null context [zeros, query].

        Returns:
            Scaled context (16, 2P + 1 or 2, h, w) and target (16, 1, h, w), float32; behind them
            the target's pixels (3, S, S) uint8 if there are any.
        """
        number = int(rng.choice(len(self.pools), p=self.weights))
        pool, ids = self.pools[number], self.ids[number]
        start = int(rng.integers(len(pool) // GROUP)) * GROUP
        order = start + rng.permutation(GROUP)
        _, first = np.unique(ids[order], return_index=True)  # no picture twice
        chosen = order[np.sort(first)][: pairs + 1]
        if len(chosen) <= pairs:
            raise InputError(
                f"an episode of {pairs} pairs needs {pairs + 1} pictures, and a task has "
                f"{len(chosen)}; lower max_pairs or add pairs."
            )
        items = (pool[chosen].astype(np.float32) - self.shift) * self.scale
        query = items[-1, :1]
        shown = items[:-1].reshape(-1, *query.shape[1:]) if pairs else np.zeros_like(query)
        context = np.concatenate((shown, query))
        latents = context.swapaxes(0, 1), items[-1, 1:].swapaxes(0, 1)
        if not self.pixels:
            return latents
        return *latents, self.pixels[number][chosen[-1]].transpose(2, 0, 1)
