"""End-to-end fine-tuning of one-step answers in pixels (Garcia et al., 2024, arXiv 2409.11355).

The answer of one Euler step from t = 0 is decoded by the frozen ST-VAE and compared with the true
target. The noise is drawn as in all other training, not zero as in the paper: the runtime starts
from seeded noise, so that is what the model must learn to see through.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from lavin_deploy.config import ModelConfig
from lavin_deploy.errors import InputError
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Decoder2d
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.losses.perceptual import make_perceptual
from lavin_deploy.training.tasks.base import Task


def check_deterministic(tasks: Iterable[Task]) -> None:
    """Refuse tasks that have many right answers: in pixels the best one step is their blur.

    Raises:
        InputError: one of them is such, or one of clips, whose pixels are not kept.
    """
    for task in tasks:
        if task.frames > 1:
            raise InputError(
                f"{task.name!r} has clips, and only pictures are compared in pixels; take it out "
                "of tasks, or set pixel_l1=0 and pixel_perceptual=0."
            )
        if not task.deterministic:
            raise InputError(
                f"{task.name!r} has many right answers, and one step compared in pixels gives "
                "their blur; take it out of tasks, or set pixel_l1=0 and pixel_perceptual=0."
            )


class PixelLoss:
    """L1 and perceptual distance of decoded answers from true targets.

    Args:
        vae: decodes; it is copied and stays as it is.
        recipe: weights of the two.
        config: shift and scale of the latents.
        device: to compute on.
        bf16: matrix work of the decoder in bfloat16.

    Raises:
        InputError: the perceptual network is unavailable.
    """

    def __init__(
        self,
        vae: STVAE,
        recipe: DiTRecipe,
        config: ModelConfig,
        device: torch.device,
        *,
        bf16: bool,
    ) -> None:
        self.decoder = Decoder2d(vae).eval().requires_grad_(False).to(device)
        self.recipe, self.config, self.bf16 = recipe, config, bf16
        network = make_perceptual("efficientnet-lite0" if recipe.pixel_perceptual else "none")
        self.perceptual = None if network is None else network.to(device)

    def __call__(
        self, latents: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Weighted loss, and figures for the log.

        Args:
            latents: (B, 16, 1, h, w), scaled.
            targets: (B, 3, 8h, 8w) uint8.
            weights: (B, 1, 1, h, w), how much each place counts.
        """
        unscaled = latents / self.config.latent_scale + self.config.latent_shift
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=self.bf16):
            decoded = self.decoder(unscaled).squeeze(2)
        decoded, pixels = decoded.float(), targets.float() / 127.5 - 1.0
        places = F.interpolate(weights.squeeze(2), scale_factor=8.0)
        l1 = ((decoded - pixels).abs() * places).mean()
        figures = {"pixel_l1": l1.item()}
        value = self.recipe.pixel_l1 * l1
        if self.perceptual is not None:
            distance = self.perceptual(decoded, pixels).mean()
            figures["pixel_perceptual"] = distance.item()
            value = value + self.recipe.pixel_perceptual * distance
        return value, figures
