"""Whole answers by a bundle's graphs, through the real runtime, against the plain models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lavin_deploy.bundle.manifest import Defaults, Latent
from lavin_deploy.export.checks.parity import Parity, compare
from lavin_deploy.flow.grids import Grid
from lavin_deploy.flow.guidance import guided
from lavin_deploy.flow.noise import normal
from lavin_deploy.flow.solvers import Latents, euler
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.letterbox import to_pixels
from lavin_deploy.runtime.sampler import Sampler

SEED = 1


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer: context (1, 16, 2P + 1, h, w), noise and latents (1, 16, 1, h, w), pixels.

    ``pixels`` is (1, 3, 1, H, W), nominally in [-1, 1]; latents are scaled.
    """

    context: Latents
    noise: Latents
    latents: Latents
    pixels: NDArray[np.float32]


def draw_pictures(defaults: Defaults) -> list[NDArray[np.uint8]]:
    """Smooth random pictures (H, W, 3) uint8: in1, tgt1, ..., query."""
    height, width = defaults.size
    rng = np.random.default_rng(SEED)
    coarse = rng.integers(0, 256, (2 * defaults.pairs + 1, height // 8, width // 8, 3))
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8))


def answer_by_graphs(
    codec: Codec, sampler: Sampler, latent: Latent, defaults: Defaults, grid: Grid
) -> Answer:
    """Encode, sample and decode through the runtime."""
    frames = [codec.encode(picture) for picture in draw_pictures(defaults)]
    context = np.concatenate(frames, axis=2)
    noise = normal(SEED, (1, latent.channels, 1, *frames[0].shape[-2:]))
    latents = sampler.sample(noise, context, grid=grid, guidance=defaults.guidance)
    return Answer(
        context=context, noise=noise, latents=latents, pixels=codec.decode_pixels(latents)
    )


@torch.no_grad()
def answer_by_models(
    dit: JDiT, vae: STVAE, defaults: Defaults, noise: Latents, grid: Grid
) -> Answer:
    """The same by the plain models."""
    pictures = [torch.from_numpy(to_pixels(picture)) for picture in draw_pictures(defaults)]
    context = torch.cat([vae.scale(vae.encode(picture).mean) for picture in pictures], dim=2)
    null = torch.cat((torch.zeros_like(context[:, :, -1:]), context[:, :, -1:]), dim=2)

    def run(z: Latents, t: np.float32, condition: torch.Tensor) -> Latents:
        velocity: Latents = dit(torch.from_numpy(z), torch.tensor([float(t)]), condition).numpy()
        return velocity

    field = guided(lambda z, t: run(z, t, context), lambda z, t: run(z, t, null), defaults.guidance)
    latents = euler(field, noise, grid)
    pixels = vae.decode(vae.unscale(torch.from_numpy(latents)))
    return Answer(context=context.numpy(), noise=noise, latents=latents, pixels=pixels.numpy())


def check_answers(answer: Answer, expected: Answer) -> Iterator[Parity]:
    """Compare context, latents and pixels.

    Raises:
        WorkError: one deviates by more than allowed.
    """
    for part in ("context", "latents", "pixels"):
        yield compare(f"end-to-end {part}", SEED, getattr(answer, part), getattr(expected, part))
