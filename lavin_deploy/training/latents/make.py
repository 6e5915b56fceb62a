"""Encode episodes of a task into a pool of latents."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lavin_deploy.errors import WorkError
from lavin_deploy.files import replaced_file
from lavin_deploy.models.checkpoint import VAE_FILES
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Encoder2d
from lavin_deploy.training.latents.pool import GROUP, ids_path, pixels_path
from lavin_deploy.training.loop.prefetch import prefetch
from lavin_deploy.training.loop.processes import CPU, bfloat16_pays
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.stvae import to_clip
from lavin_deploy.training.tasks.base import Sample, Task
from lavin_deploy.training.tasks.registry import episode

Encode = Callable[[Tensor], Tensor]
"""Pixels (B, 3, T, H, W) in [-1, 1] -> unscaled posterior means (B, 16, f, h, w)."""


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
            latents = encode(to_clip(clips).to(device))
        return latents.transpose(1, 2).float().cpu()

    inputs, targets = [s.input for s in samples], [s.target for s in samples]
    input_means = means(inputs)
    if task.follows:
        whole = [np.concatenate(pair) for pair in zip(inputs, targets, strict=True)]
        target_means = means(whole)[:, input_means.shape[1] :]
    else:
        target_means = means(targets)
    if input_means.shape != target_means.shape:
        raise WorkError(
            f"{task.name} has {input_means.shape[1]} latents in an input and "
            f"{target_means.shape[1]} in a target; they must be as many."
        )
    both: NDArray[np.float32] = torch.cat((input_means, target_means), dim=1).numpy()
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

    def draw(group: int) -> list[Sample]:
        rng = np.random.default_rng((recipe.seed, group))
        return episode(task, rng, task.draw_style(rng), size, GROUP)

    drawn = prefetch(draw, 0, groups, workers=max(1, (os.cpu_count() or 1) // 2))
    bar = tqdm(drawn, total=groups, desc=path.name, disable=None, leave=False)
    with ExitStack() as stack:
        targets = None
        if recipe.in_pixels:
            part = stack.enter_context(replaced_file(pixels_path(path)))
            target_shape = (groups * GROUP, size, size, 3)
            targets = np.lib.format.open_memmap(part, "w+", np.uint8, target_shape)
        for group, samples in enumerate(bar):
            shared = [sample.source for sample in samples]
            places = [
                turn if source is None else shared.index(source)
                for turn, source in enumerate(shared)
            ]
            items = slice(group * GROUP, (group + 1) * GROUP)
            ids[items] = group * GROUP + np.array(places)
            pool[items] = encode_samples(encode, task, samples, bf16=bf16, device=device)
            if targets is not None:
                targets[items] = [sample.target for sample in samples]
        if targets is not None:
            targets.flush()
    for target, array in ((ids_path(path), ids), (path, pool)):
        with replaced_file(target) as part:
            np.save(part, array)
