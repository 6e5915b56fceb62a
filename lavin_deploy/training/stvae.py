"""Train the ST-VAE on inputs and targets of all tasks.

One-frame clips go through the model's 2D path, which is exact and costs a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lavin_deploy.config import ModelConfig, preset
from lavin_deploy.models.checkpoint import fill, read_state, save_vae
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.training.engine import Trainer, step_rng
from lavin_deploy.training.episodes import Task
from lavin_deploy.training.linear_code import LinearCode
from lavin_deploy.training.mixed import bfloat16_pays
from lavin_deploy.training.objective import Batch, Objective
from lavin_deploy.training.recipes import VAERecipe
from lavin_deploy.training.world import World

SHOWN = 4
"""Pictures in the sample grid of a save."""


def to_clip(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """uint8 (H, W, 3) images -> one-frame clips (B, 3, 1, H, W) float32 in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).unsqueeze(2)
    return stacked.float() / 127.5 - 1.0


def to_images(clips: Tensor) -> NDArray[np.uint8]:
    """The way back: (B, 3, 1, H, W) in [-1, 1] -> (B, H, W, 3) uint8."""
    pixels = ((clips[:, :, 0].float().clamp(-1, 1) + 1) * 127.5).round()
    images: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).byte().cpu().numpy()
    return images


def draw_image(tasks: Sequence[Task], rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Input or target of a random task, (size, size, 3) uint8."""
    task = tasks[int(rng.integers(len(tasks)))]
    sample = task.sample(rng, task.draw_style(rng), size)
    return sample.input if rng.random() < 0.5 else sample.target


def draw_images(tasks: Sequence[Task], seed: int, count: int, size: int) -> Tensor:
    """Clips of ``count`` images as :func:`draw_image` gives them, (count, 3, 1, size, size)."""
    return to_clip(
        [draw_image(tasks, np.random.default_rng((seed, i)), size) for i in range(count)]
    )


def encode_means(vae: STVAE, pixels: Tensor) -> Tensor:
    """Posterior means (B, 16, h, w) float32, unscaled, of one-frame clips (B, 3, 1, H, W)."""
    with torch.no_grad():
        return vae.encode(pixels).mean.squeeze(2)


def measure_scale(vae: STVAE, tasks: Sequence[Task], config: ModelConfig) -> ModelConfig:
    """Return the config with the shift and scale that make latents zero-mean and unit-variance."""
    means = encode_means(vae, draw_images(tasks, 0, 256, 64))
    return replace(config, latent_shift=means.mean().item(), latent_scale=1 / means.std().item())


class Autoencoder(nn.Module):
    """Encode, draw, decode in one call, so that processes can exchange its gradients."""

    def __init__(self, vae: STVAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pixels: Tensor, noise: Tensor, code: Tensor | None) -> tuple[Tensor, ...]:
        """Decoded pixels, mean and log-variance.

        Args:
            pixels: (B, 3, T, H, W) in [-1, 1].
            noise: standard normal, of the latents' shape.
            code: decode these instead of a draw from the posterior.
        """
        posterior = self.vae.encode(pixels)
        seen = posterior.sample(noise) if code is None else code + 0.05 * noise
        return self.vae.decode(seen), posterior.mean, posterior.logvar


def train_stvae(
    tasks: Sequence[Task],
    recipe: VAERecipe,
    out: Path,
    *,
    world: World | None = None,
    resume: bool = False,
    init: Path | None = None,
) -> Path:
    """Train and return the folder that holds ``stvae.safetensors`` (averaged weights).

    Args:
        tasks: the training split's tasks.
        recipe: sizes and schedule.
        out: folder of the run.
        world: the processes; None is this one alone.
        resume: go on from its last state.
        init: weight file to start from; ignored by a resumed run, which has its own.
    """
    world = world or World()
    torch.manual_seed(recipe.seed)
    bf16 = bfloat16_pays(recipe)
    config = preset(recipe.preset)
    vae = STVAE(config.vae)
    if init is not None:
        fill(vae, read_state(init), init)
    linear = LinearCode.fit(draw_images(tasks, recipe.seed, 400, 64))

    def draw(step: int, samples: range) -> Batch:
        rngs = [step_rng(recipe, step, sample) for sample in samples]
        pixels = to_clip([draw_image(tasks, rng, recipe.size) for rng in rngs])
        code = linear.encode(pixels)
        noise = np.stack([rng.standard_normal(code.shape[1:], dtype=np.float32) for rng in rngs])
        return pixels, code, torch.from_numpy(noise)

    def loss(model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        pixels, code, noise = batch
        taught = step < recipe.taught * recipe.steps
        with torch.autocast(world.device.type, torch.bfloat16, enabled=bf16):
            decoded, mean, logvar = model(pixels, noise, code if taught else None)
        decoded, mean, logvar = decoded.float(), mean.float(), logvar.float()
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

    shown = draw_images(tasks, recipe.seed + 1, SHOWN, recipe.size)

    def on_save(trainer: Trainer) -> None:
        weights = {name.removeprefix("vae."): x for name, x in trainer.averaged().items()}
        if world.main:
            averaged = STVAE(config.vae).eval()
            averaged.load_state_dict(weights)
            save_vae(out, weights, measure_scale(averaged, tasks, config))
            with torch.no_grad():
                again = averaged.decode(averaged.encode(shown).mean)
            pairs = np.stack((to_images(shown), to_images(again)), axis=1)
            trainer.meter.pictures("reconstruction", pairs, trainer.step)

    objective = Objective("model", Autoencoder(vae), loss)
    trainer = Trainer([objective], recipe, out, "stvae", world=world, resume=resume)
    trainer.fit(draw, on_save)
    return out
