"""Encode episodes of a task into a pool of latents."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lavin_deploy.arrays import U8
from lavin_deploy.errors import WorkError
from lavin_deploy.files import delete_abandoned, replaced_folder
from lavin_deploy.locks import only_writer
from lavin_deploy.models.checkpoint import VAE_FILES
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.training.latents.encoder import Encode, clip_encoder, picture_encoder
from lavin_deploy.training.latents.pool import (
    GROUP,
    IDS,
    KNOWN,
    LATENTS,
    PIXELS,
    PRESENT,
    Chunk,
    Pool,
)
from lavin_deploy.training.loop.prefetch import prefetch
from lavin_deploy.training.loop.processes import CPU, bfloat16_pays
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.stvae import to_clip
from lavin_deploy.training.tasks.base import Group, Task
from lavin_deploy.training.tasks.registry import group as draw_group

CHUNK = 16
"""Groups of a chunk: what a killed preparation loses at most."""
SAY_EVERY = 60.0
"""Seconds between two lines of progress where there is no terminal."""


def pool_path(out: Path, task: str, recipe: DiTRecipe, source: str) -> Path:
    """Where a task's pool lies: the name changes with all that the latents depend on.

    Args:
        out: checkpoint folder with the ST-VAE that encodes.
        task: its name.
        recipe: size, seed and number format of the encoding.
        source: what identifies the pictures: an inventory, a hash.
    """
    digest = hashlib.sha256(f"{recipe.size} {recipe.seed} {GROUP} {recipe.bf16}".encode())
    digest.update((out / VAE_FILES[0]).read_bytes() + source.encode())
    return out / "latents" / f"{task}-{recipe.size}-{digest.hexdigest()[:12]}"


def chunks(pool: Path, *, in_pixels: bool = False) -> list[Path]:
    """The chunks that a pool has, in order; those with pixels if these are asked for."""
    found = sorted(path for path in pool.glob("*-*") if (path / LATENTS).exists())
    return [path for path in found if not in_pixels or (path / PIXELS).exists()]


def open_pool(
    task: Task, path: Path, weight: float, *, in_pixels: bool = False, foreground: float = 0.0
) -> Pool:
    """Map a pool that :func:`make_pool` wrote into memory, with its pixels if asked for.

    Args:
        task: that it is of.
        path: its folder.
        weight: see :class:`Pool`.
        in_pixels: whether answers are compared in pixels.
        foreground: see :class:`Pool`; for tasks that mark something alone.
    """
    folders = chunks(path, in_pixels=in_pixels)
    return Pool(
        name=task.name,
        chunks=[Chunk.open(folder, in_pixels=in_pixels) for folder in folders],
        weight=weight,
        frames=(task.frames - 1) // 4 + 1,
        ordered=task.ordered,
        foreground=foreground if getattr(task, "marks", False) else 0.0,
    )


def encode_group(encode: Encode, task: Task, group: Group) -> NDArray[np.float32]:
    """Posterior means of inputs and targets: (N, (1 + A) f, 16, h, w) float32, unscaled.

    Args:
        encode: of single frames or of clips.
        task: that drew the group.
        group: N items with A answers.

    Raises:
        WorkError: input and target do not have as many latents.
    """

    def means(clips: Sequence[U8]) -> NDArray[np.float32]:
        return encode(to_clip(clips).numpy()).swapaxes(1, 2)

    columns = [means(group.inputs)]
    frames = columns[0].shape[1]
    for answer in range(group.present.shape[1]):
        targets = [item[answer] for item in group.targets]
        if task.follows:
            whole = [np.concatenate(pair) for pair in zip(group.inputs, targets, strict=True)]
            columns.append(means(whole)[:, frames:])
        else:
            columns.append(means(targets))
        if columns[-1].shape != columns[0].shape:
            raise WorkError(
                f"{task.name} has {frames} latents in an input and {columns[-1].shape[1]} in a "
                "target; they must be as many."
            )
    return np.concatenate(columns, axis=1)


def make_pool(
    vae: STVAE,
    task: Task,
    path: Path,
    *,
    groups: int,
    recipe: DiTRecipe,
    device: torch.device = CPU,
) -> None:
    """Encode episodes of a task at the recipe's size and seed until a pool has ``groups`` of them.

    Chunks that are there already are kept, so more groups can be asked for later; an unfinished
    chunk never carries the final name. Two processes that make one pool wait for each other.
    """
    path.mkdir(parents=True, exist_ok=True)
    with only_writer(path):
        _make_pool(vae, task, path, groups=groups, recipe=recipe, device=device)


def _make_pool(
    vae: STVAE, task: Task, path: Path, *, groups: int, recipe: DiTRecipe, device: torch.device
) -> None:
    done = chunks(path, in_pixels=recipe.in_pixels)
    first = int(done[-1].name.partition("-")[2]) if done else 0
    if first >= groups:
        return
    bf16 = bfloat16_pays(recipe, device)
    if task.frames > 1:
        encode = clip_encoder(vae, device, bf16=bf16)
    else:
        encode = picture_encoder(vae.eval(), recipe.size, device, bf16=bf16)

    def draw(number: int) -> Group:
        return draw_group(task, np.random.default_rng((recipe.seed, number)), recipe.size, GROUP)

    delete_abandoned(path)
    drawn = prefetch(draw, first, groups, workers=max(1, (os.cpu_count() or 1) // 2))
    bar = tqdm(drawn, total=groups - first, desc=path.name, disable=None, leave=False)
    items: list[Group] = []
    rows: list[NDArray[np.float32]] = []
    start = said = time.monotonic()
    for number, group in enumerate(bar, first + 1):
        items.append(group)
        rows.append(encode_group(encode, task, group))
        if time.monotonic() - said > SAY_EVERY and bar.disable:
            said = time.monotonic()
            left = (said - start) / (number - first) * (groups - number)
            line = f"{path.name}: {number} of {groups} groups, {left:.0f} s left"
            tqdm.write(line, file=sys.stderr)
        if len(items) == CHUNK or number == groups:
            _write(path / f"{number - len(items):05d}-{number:05d}", items, rows, recipe.in_pixels)
            items, rows = [], []


def _write(
    chunk: Path, groups: Sequence[Group], rows: Sequence[NDArray[np.float32]], in_pixels: bool
) -> None:
    sources = [group.sources + number * GROUP for number, group in enumerate(groups)]
    with replaced_folder(chunk) as part:
        np.save(part / LATENTS, np.concatenate(rows).astype(np.float16))
        np.save(part / IDS, np.concatenate(sources))
        np.save(part / PRESENT, np.concatenate([group.pairs for group in groups]))
        shares = [known_share(group, rows[0].shape[-2:]) for group in groups]
        if any(share is not None for share in shares):
            ones = np.ones((GROUP, *rows[0].shape[-2:]), np.float16)
            np.save(part / KNOWN, np.concatenate([ones if s is None else s for s in shares]))
        if in_pixels:
            np.save(part / PIXELS, np.array([item for group in groups for item in group.targets]))


def known_share(group: Group, side: tuple[int, ...]) -> NDArray[np.float16] | None:
    """Share of each latent's pixels whose targets are known, (N, h, w); None where all are."""
    if group.known is None:
        return None
    count, height, width = group.known.shape
    cells = group.known.reshape(count, side[0], height // side[0], side[1], width // side[1])
    return np.asarray(cells.mean(axis=(2, 4)), np.float16)
