"""Train what an ST-VAE does over time and leave what it does on single frames as it is.

A causal 3x3x3 kernel sees one frame three times, so single frames only know its sum over time. Here
each kernel W becomes ``W + D - mean_t(D)`` with a trainable D that starts as zero: the sum stays,
latents of pictures stay, and a J-DiT that was trained on them stays valid while clips are learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from lavin_deploy.errors import InputError
from lavin_deploy.models.stvae import STVAE, CausalConv3d, by_frames

CHANGE = ".temporal_change"


class TemporalConv(CausalConv3d):
    """A causal convolution whose kernel may change in any way that keeps its sum over time."""

    temporal_change: nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, T, H, W) -> (B, Cout, T, H, W); one frame does not see the change."""
        if x.shape[2] == 1:
            return super().forward(x)
        weight = _changed(self.conv.weight, self.temporal_change)
        return by_frames(self.padded(x), weight, self.conv.bias)


def _changed(weight: Tensor, change: Tensor) -> Tensor:
    return weight + change - change.mean(dim=2, keepdim=True)


def adapt(vae: STVAE) -> None:
    """Freeze a model and give its causal 3x3x3 convolutions a trainable change.

    Raises:
        InputError: its norms run over time, so single frames and clips share what they learn.
    """
    if vae.config.temporal_norm != "frame":
        raise InputError(
            "temporal_only trains models whose norms are per frame; this one's temporal_norm is "
            f"{vae.config.temporal_norm!r}."
        )
    vae.requires_grad_(False)
    for module in vae.modules():
        if isinstance(module, CausalConv3d) and module.pad:
            module.__class__ = TemporalConv
            changing = cast(TemporalConv, module)
            changing.temporal_change = nn.Parameter(torch.zeros_like(module.conv.weight))


def merged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the plain model, every change put into its kernel."""
    plain = {name: w for name, w in weights.items() if not name.endswith(CHANGE)}
    for name, change in weights.items():
        if name.endswith(CHANGE):
            kernel = f"{name.removesuffix(CHANGE)}.conv.weight"
            plain[kernel] = _changed(plain[kernel], change)
    return plain
