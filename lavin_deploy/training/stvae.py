"""Train the ST-VAE on images (phase 1) in its 2D form, on inputs and targets of all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lavin_deploy.config import ModelConfig, preset
from lavin_deploy.models.checkpoint import save_vae
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.training.engine import Batch, Trainer, bfloat16_pays, step_rng
from lavin_deploy.training.episodes import Task
from lavin_deploy.training.linear_code import LinearCode
from lavin_deploy.training.recipes import VAERecipe


def to_clip(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """uint8 (H, W, 3) images -> one-frame clips (B, 3, 1, H, W) float32 in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).unsqueeze(2)
    return stacked.float() / 127.5 - 1.0


def draw_images(tasks: Sequence[Task], rng: np.random.Generator, count: int, size: int) -> Tensor:
    """Inputs and targets of random tasks, (count, 3, 1, size, size)."""
    images: list[NDArray[np.uint8]] = []
    while len(images) < count:
        task = tasks[int(rng.integers(len(tasks)))]
        sample = task.sample(rng, task.draw_style(rng), size)
        images += [sample.input, sample.target]
    return to_clip(images[:count])


def encode_means(vae: STVAE, pixels: Tensor) -> Tensor:
    """Posterior means (B, 16, h, w) float32, unscaled, of one-frame clips (B, 3, 1, H, W)."""
    with torch.no_grad():
        return vae.encode(pixels).mean.squeeze(2)


def measure_scale(vae: STVAE, tasks: Sequence[Task], config: ModelConfig) -> ModelConfig:
    """Return the config with the shift and scale that make latents zero-mean and unit-variance."""
    pixels = draw_images(tasks, np.random.default_rng(0), 256, 64)
    means = encode_means(vae, pixels)
    return replace(config, latent_shift=means.mean().item(), latent_scale=1 / means.std().item())


def train_stvae(
    tasks: Sequence[Task], recipe: VAERecipe, out: Path, *, resume: bool = False
) -> Path:
    """Train and return the folder that holds ``stvae.safetensors`` (averaged weights).

    Args:
        tasks: the training split's tasks.
        recipe: sizes and schedule.
        out: folder of the run.
        resume: go on from its last state.
    """
    torch.manual_seed(recipe.seed)
    bf16 = bfloat16_pays(recipe)
    config = preset(recipe.preset)
    vae = STVAE(config.vae)

    linear = LinearCode.fit(draw_images(tasks, np.random.default_rng(recipe.seed), 400, 64))

    def make_batch(step: int) -> Batch:
        rng = step_rng(recipe, step)
        if step % 4 == 3:
            return (draw_images(tasks, rng, recipe.large, 128),)
        return (draw_images(tasks, rng, recipe.small, 64),)

    def loss(batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        (pixels,) = batch
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        code = linear.encode(pixels)
        taught = step < recipe.taught * recipe.steps
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            posterior = vae.encode(pixels)
            noise = torch.randn(code.shape, generator=generator)
            seen = code + 0.05 * noise if taught else posterior.sample(noise)
            decoded = vae.decode(seen).float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        distance = (mean - code).square().mean()
        l1, mse = (decoded - pixels).abs().mean(), (decoded - pixels).square().mean()
        figures = {
            "l1": l1.item(),
            "psnr": 6.02 - 10 * mse.log10().item(),
            "kl": kl.item(),
            "from_linear": distance.item(),
        }
        return l1 + mse + (distance if taught else recipe.kl * kl), figures

    def on_save(trainer: Trainer) -> None:
        averaged = STVAE(config.vae).eval()
        averaged.load_state_dict(trainer.ema)
        save_vae(out, trainer.ema, measure_scale(averaged, tasks, config))

    Trainer(vae, recipe, out, "stvae", resume=resume).fit(make_batch, loss, on_save)
    return out
