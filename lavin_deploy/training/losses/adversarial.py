"""A patch discriminator over space and time, hinge losses, and their adaptive weight.

PatchGAN: Isola et al., 2017 (arXiv 1611.07004); hinge: Lim and Ye, 2017 (arXiv 1705.02894);
adaptive weight: Esser et al., 2021 (arXiv 2012.09841), here from the gradients at the decoder's
output instead of its last layer, which needs no access to sharded weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 1e4


class PatchDiscriminator(nn.Module):
    """Clips (B, 3, T, H, W) in [-1, 1] -> logits (B, 1, T, H/8, W/8), one a patch; T may be 1.

    Args:
        width: channels of the first layer; doubled at each of the two that follow.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        cin = 3
        for level in range(3):
            cout = width * 2**level
            layers.append(nn.Conv3d(cin, cout, (3, 4, 4), stride=(1, 2, 2), padding=1))
            layers += [nn.GroupNorm(8, cout)] if level else []
            layers.append(nn.LeakyReLU(0.2))
            cin = cout
        layers.append(nn.Conv3d(cin, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, clips: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.layers(clips)
        return logits


def discriminator_loss(logits: Tensor) -> Tensor:
    """Hinge loss of a discriminator; the first half of ``logits`` (2B, ...) is of real clips."""
    real, fake = logits.chunk(2)
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def adversarial(
    discriminator: nn.Module, decoded: Tensor, other_loss: Tensor
) -> tuple[Tensor, float]:
    """The generator's loss, weighted so that it pulls as hard as ``other_loss``.

    Args:
        discriminator: the discriminator; its parameters get no gradients.
        decoded: clips, with their graph.
        other_loss: the scalar of all other losses, a function of ``decoded``.

    Returns:
        The weighted loss, and the weight, at most 1e4.
    """
    parameters = list(discriminator.parameters())
    for parameter in parameters:
        parameter.requires_grad_(False)
    loss = -discriminator(decoded).mean()
    for parameter in parameters:
        parameter.requires_grad_(True)
    (toward_other,) = torch.autograd.grad(other_loss, decoded, retain_graph=True)
    (toward_discriminator,) = torch.autograd.grad(loss, decoded, retain_graph=True)
    ratio = toward_other.norm() / (toward_discriminator.norm() + 1e-8)
    weight = float(ratio.clamp(0, LARGEST))
    return weight * loss, weight
