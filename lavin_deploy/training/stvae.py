"""Train the ST-VAE on images (phase 1) in its 2D form, on inputs and targets of all tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lavin_deploy.config import preset
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.training.engine import Batch, Trainer, step_rng
from lavin_deploy.training.episodes import TaskSet
from lavin_deploy.training.recipes import VAERecipe


def to_clip(images: list[np.ndarray]) -> Tensor:
    """uint8 (H, W, 3) images -> one-frame clips (B, 3, 1, H, W) float32 in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).unsqueeze(2)
    return stacked.float() / 127.5 - 1.0


def draw_images(tasks: TaskSet, rng: np.random.Generator, count: int, size: int) -> Tensor:
    """Inputs and targets of random tasks, (count, 3, 1, size, size)."""
    images: list[np.ndarray] = []
    while len(images) < count:
        task = tasks[rng.choice(list(tasks))]
        images += task.sample(rng, task.draw_style(rng), size)
    return to_clip(images[:count])


def train_stvae(tasks: TaskSet, recipe: VAERecipe, out: Path, *, resume: bool = False) -> Path:
    """Train and return the folder that holds ``stvae.safetensors`` (averaged weights).

    Args:
        tasks: the training split's tasks.
        recipe: sizes and schedule.
        out: folder of the run.
        resume: go on from its last state.
    """
    from lavin_deploy.models.checkpoint import save_vae

    torch.manual_seed(recipe.seed)
    config = preset(recipe.preset)
    vae = STVAE(config.vae)

    def make_batch(step: int) -> Batch:
        rng = step_rng(recipe, step)
        if step % 4 == 3:
            return (draw_images(tasks, rng, recipe.large, 128),)
        return (draw_images(tasks, rng, recipe.small, 64),)

    def loss(batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        (pixels,) = batch
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
            posterior = vae.encode(pixels)
            noise = torch.randn(posterior.mean.shape, generator=generator)
            decoded = vae.decode(posterior.sample(noise)).float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        l1, mse = (decoded - pixels).abs().mean(), (decoded - pixels).square().mean()
        figures = {"l1": l1.item(), "psnr": 6.02 - 10 * mse.log10().item(), "kl": kl.item()}
        return l1 + mse + recipe.kl * kl, figures

    def on_save(trainer: Trainer) -> None:
        save_vae(out, trainer.ema, config)

    Trainer(vae, recipe, out, resume=resume).fit(make_batch, loss, on_save)
    return out
