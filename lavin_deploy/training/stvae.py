"""Train the ST-VAE: phase 1 on inputs and targets of all tasks, phase 2 on clips as well.

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
from lavin_deploy.errors import InputError
from lavin_deploy.models.checkpoint import fill, read_folder_config, save_vae
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.weights import read_state
from lavin_deploy.training import temporal
from lavin_deploy.training.linear_code import LinearCode
from lavin_deploy.training.loop.objective import Batch, Objective
from lavin_deploy.training.loop.processes import Processes, bfloat16_pays
from lavin_deploy.training.loop.settings import VAERecipe
from lavin_deploy.training.loop.trainer import Trainer, step_rng
from lavin_deploy.training.losses.adversarial import (
    PatchDiscriminator,
    adversarial,
    discriminator_loss,
)
from lavin_deploy.training.losses.perceptual import make_perceptual
from lavin_deploy.training.synthesis.camera_clips import animate, pan
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Task

GRID_PICTURES = 4
"""Pictures in the sample grid of a save."""


def to_clip(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """uint8 images (H, W, 3) or clips (T, H, W, 3) -> (B, 3, T, H, W) float32 in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(images))
    clips = stacked if stacked.ndim == 5 else stacked.unsqueeze(1)
    return clips.permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0


def to_images(clips: Tensor) -> NDArray[np.uint8]:
    """The way back for last frames: (B, 3, T, H, W) in [-1, 1] -> (B, H, W, 3) uint8."""
    pixels = ((clips[:, :, -1].float().clamp(-1, 1) + 1) * 127.5).round()
    images: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).byte().cpu().numpy()
    return images


def draw_image(tasks: Sequence[Task], rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Input or target of a random task, (size, size, 3) uint8."""
    task = tasks[int(rng.integers(len(tasks)))]
    sample = task.sample(rng, task.draw_style(rng), size)
    return sample.input if rng.random() < 0.5 else sample.target


def draw_labels(data: Collage, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A flat label image of a random collage: its objects in random RGB colours on black.

    Returns:
        (size, size, 3) uint8, not antialiased.
    """
    instances = data.sample(rng, size).instances
    colours = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    colours[0] = 0
    return np.asarray(colours[instances])


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


def draw_clips(
    data: Collage, tasks: Sequence[Task], recipe: VAERecipe, step: int, samples: Sequence[int]
) -> Batch:
    """Clips (B, 3, T, S, S) in [-1, 1] of a step, and noise for their latents.

    All samples of a step have as many frames: one in phase 1 and in a share of phase 2's steps.
    """
    still = recipe.frames == 1 or step_rng(recipe, step).random() < recipe.stills
    frames = 1 if still else recipe.frames
    clips, noises = [], []
    side = recipe.size // 8
    for sample in samples:
        rng = step_rng(recipe, step, sample)
        if still and recipe.labels and rng.random() < recipe.labels:
            clips.append(draw_labels(data, rng, recipe.size)[None])
        elif still:
            clips.append(draw_image(tasks, rng, recipe.size)[None])
        else:
            moving = rng.random() < 0.5
            draw = (lambda *of: animate(*of).images) if moving else pan
            clips.append(draw(rng, data, frames, recipe.size))
        shape = (16, (frames - 1) // 4 + 1, side, side)
        noises.append(rng.standard_normal(shape, dtype=np.float32))
    return to_clip(clips), torch.from_numpy(np.stack(noises))


class Losses:
    """What the autoencoder and its discriminator minimise.

    Args:
        recipe: weights of the losses.
        linear: gives the latent during the distillation phase.
        processes: the processes.
    """

    def __init__(self, recipe: VAERecipe, linear: LinearCode, processes: Processes) -> None:
        self.recipe, self.linear = recipe, linear.to(processes.device)
        self.device = processes.device.type
        self.bf16 = bfloat16_pays(recipe, processes.device)
        network = make_perceptual(recipe.perceptual)
        self.perceptual = None if network is None else network.to(processes.device)
        self.discriminator = (
            PatchDiscriminator().to(processes.device) if recipe.disc_weight else None
        )
        self.disc_from = round(recipe.disc_start * recipe.steps)
        self._decoded: dict[int, Tensor] = {}

    def model(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """Of the autoencoder."""
        pixels, noise = batch
        recipe = self.recipe
        distilling = pixels.shape[2] == 1 and step < recipe.distillation * recipe.steps
        code = self.linear.encode(pixels) if distilling else None
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            decoded, mean, logvar = model(pixels, noise, code)
        decoded, mean, logvar = decoded.float(), mean.float(), logvar.float()
        l1, mse = (decoded - pixels).abs().mean(), (decoded - pixels).square().mean()
        value = recipe.l1 * l1 + recipe.mse * mse
        figures = {"l1": l1.item(), "psnr": 6.02 - 10 * mse.log10().item()}
        if self.perceptual is not None:
            frames = [x.transpose(1, 2).flatten(0, 1) for x in (decoded, pixels)]
            distance = self.perceptual(*frames).mean()
            figures[recipe.perceptual] = distance.item()
            value = value + recipe.perceptual_weight * distance
        if self.discriminator is not None and step >= self.disc_from:
            pull, figures["adaptive_weight"] = adversarial(self.discriminator, decoded, value)
            value = value + recipe.disc_weight * pull
            self._decoded[pixels.data_ptr()] = decoded.detach()
        kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        figures["kl"] = kl.item()
        if code is None:
            return value + recipe.kl * kl, figures
        off = (mean - code).square().mean()
        return value + off, {**figures, "from_linear": off.item()}

    def disc(
        self, discriminator: nn.Module, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Of the discriminator, on what the autoencoder made of the same clips."""
        decoded = self._decoded.pop(batch[0].data_ptr())
        return discriminator_loss(discriminator(torch.cat((batch[0], decoded)))), {}


def train_stvae(
    data: Collage,
    tasks: Sequence[Task],
    recipe: VAERecipe,
    out: Path,
    *,
    processes: Processes | None = None,
    resume: bool = False,
    init: Path | None = None,
) -> Path:
    """Train and return the folder that holds ``stvae.safetensors`` (averaged weights).

    Args:
        data: the training split's pictures.
        tasks: the tasks made of them.
        recipe: sizes and schedule.
        out: folder of the run.
        processes: the processes; None is this one alone.
        resume: go on from its last state.
        init: weight file to start from; ignored by a resumed run, which has its own.

    Raises:
        InputError: a choice of the recipe is unknown, or its perceptual network is unavailable.
    """
    processes = processes or Processes()
    torch.manual_seed(recipe.seed)
    config = recipe.adapt(preset(recipe.preset))
    kept = recipe.temporal_only or recipe.decoder_only
    if kept:
        config = _start_config(out if resume else init and init.parent)
    vae = STVAE(config.vae)
    if init is not None:
        fill(vae, read_state(init), init)
    if recipe.temporal_only:
        temporal.adapt(vae)
    if recipe.decoder_only:
        vae.encoder.requires_grad_(False)
    losses = Losses(recipe, LinearCode.fit(draw_images(tasks, recipe.seed, 400, 64)), processes)
    objectives = [Objective("model", Autoencoder(vae), losses.model)]
    if losses.discriminator is not None:
        begin = losses.disc_from
        objectives.append(  # by its name in logs and states
            Objective("judge", losses.discriminator, losses.disc, start=begin)
        )
    originals = draw_images(tasks, recipe.seed + 1, GRID_PICTURES, recipe.size)

    def draw(step: int, samples: range) -> Batch:
        return draw_clips(data, tasks, recipe, step, samples)

    def on_save(trainer: Trainer) -> None:
        weights = {name.removeprefix("vae."): x for name, x in trainer.averaged().items()}
        if processes.main:
            averaged = STVAE(config.vae).eval()
            plain = temporal.merged(weights)
            averaged.load_state_dict(plain)
            save_vae(out, plain, config if kept else measure_scale(averaged, tasks, config))
            with torch.no_grad():
                rebuilt = averaged.decode(averaged.encode(originals).mean)
            pairs = np.stack((to_images(originals), to_images(rebuilt)), axis=1)
            trainer.meter.pictures("reconstruction", pairs, trainer.step)

    Trainer(objectives, recipe, out, "stvae", processes=processes, resume=resume).fit(draw, on_save)
    return out


def _start_config(folder: Path | None) -> ModelConfig:
    """The config that goes with weights to start from, whose latents shall stay."""
    config = None if folder is None else read_folder_config(folder)
    if config is None:
        raise InputError(
            "temporal_only and decoder_only go on from a checkpoint folder that has a config.json; "
            "give it with --init-from."
        )
    return config
