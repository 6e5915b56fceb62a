"""A linear autoencoder of 8 x 8 patches, as a first teacher of the ST-VAE.

Principal components of patches code an image at the ST-VAE's own rate (16 numbers for 8 x 8 pixels)
better than the ST-VAE does for its first thousands of steps. While they last, the encoder learns to
give that code and the decoder to read it: two plain regressions in place of one search.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PATCH = 8


def _patches(pixels: Tensor) -> Tensor:
    """(B, 3, 1, H, W) -> (B, H/8, W/8, 192)."""
    x = pixels.squeeze(2).unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    return x.permute(0, 2, 3, 1, 4, 5).flatten(3)


@dataclass(frozen=True, kw_only=True)
class LinearCode:
    """Components of patches, scaled half-way to equal variance.

    Attributes:
        mean: (192,) of the patches.
        analysis: (192, 16), patch -> code.
    """

    mean: Tensor
    analysis: Tensor

    @classmethod
    def fit(cls, pixels: Tensor, channels: int = 16) -> LinearCode:
        """Fit to images (B, 3, 1, H, W) in [-1, 1].

        A component of standard deviation s is scaled by s^-0.5, and all by one factor so that the
        code has unit variance: fine detail counts more than in pixels, but not as much as form.
        """
        patches = _patches(pixels).flatten(0, 2)
        mean = patches.mean(dim=0)
        _, values, basis = torch.linalg.svd(patches - mean, full_matrices=False)
        deviation = values[:channels] / len(patches) ** 0.5
        scale = deviation.rsqrt() / deviation.mean().sqrt()
        return cls(mean=mean, analysis=(basis[:channels] * scale[:, None]).T)

    def to(self, device: torch.device) -> LinearCode:
        """The same on a device."""
        return LinearCode(mean=self.mean.to(device), analysis=self.analysis.to(device))

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, 3, 1, H, W) -> code (B, 16, 1, H/8, W/8)."""
        code = (_patches(pixels) - self.mean) @ self.analysis
        return code.permute(0, 3, 1, 2).unsqueeze(2)
