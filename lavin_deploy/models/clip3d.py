"""The 3D form of the causal ST-VAE: whole clips, with shapes that a tracer can fix.

What :mod:`vae2d` is for single frames. The model itself branches on the number of frames; here
every causal convolution is a 3D one, for one frame too, and pads space inside the convolution.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from lavin_deploy.models.stvae import STVAE, CausalConv3d, Decoder, Encoder


class ClipConv3d(nn.Module):
    """A causal 3x3x3 convolution on a whole clip; takes over the convolution of ``conv``."""

    def __init__(self, conv: CausalConv3d) -> None:
        super().__init__()
        self.conv = padded(conv)

    def forward(self, x: Tensor) -> Tensor:
        """(1, Cin, T, H, W) -> (1, Cout, T, H, W); the first frame is repeated in front."""
        first = x[:, :, :1]
        return cast(Tensor, self.conv(torch.cat((first, first, x), dim=2)))


class ClipEncoder(nn.Module):
    """Pixels (1, 3, 4k + 1, H, W) in [-1, 1] -> unscaled posterior mean (1, 16, k + 1, h, w)."""

    def __init__(self, vae: STVAE) -> None:
        super().__init__()
        self.encoder = rebuild(mean_only(vae), lambda name, conv: ClipConv3d(conv))

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode a clip."""
        return cast(Tensor, self.encoder(pixels))


class ClipDecoder(nn.Module):
    """Unscaled latents (1, 16, T, h, w) -> pixels (1, 3, 4T - 3, 8h, 8w), about [-1, 1]."""

    def __init__(self, vae: STVAE) -> None:
        super().__init__()
        self.decoder = rebuild(copy.deepcopy(vae.decoder), lambda name, conv: ClipConv3d(conv))

    def forward(self, latents: Tensor) -> Tensor:
        """Decode a clip."""
        return cast(Tensor, self.decoder(latents))


def padded(conv: CausalConv3d) -> nn.Conv3d:
    """The convolution inside, set to pad space by itself and time not at all."""
    conv.conv.padding = (0, conv.pad, conv.pad)
    return conv.conv


def mean_only(vae: STVAE) -> Encoder:
    """A copy of the encoder that gives the posterior's mean: the log-variance half is dropped."""
    encoder = copy.deepcopy(vae.encoder)
    conv, channels = encoder.conv_out.conv, vae.config.latent_channels
    assert conv.bias is not None
    conv.weight = nn.Parameter(conv.weight.detach()[:channels].clone())
    conv.bias = nn.Parameter(conv.bias.detach()[:channels].clone())
    return encoder


def causal_convs(half: Encoder | Decoder) -> dict[str, CausalConv3d]:
    """The causal 3x3x3 convolutions of an encoder or decoder by their names in it, in order."""
    return {
        name: module
        for name, module in half.named_modules()
        if isinstance(module, CausalConv3d) and module.pad
    }


def rebuild(
    half: Encoder | Decoder, make: Callable[[str, CausalConv3d], nn.Module]
) -> Encoder | Decoder:
    """Put other modules in place of the causal convolutions, in place.

    Args:
        half: a copy of an encoder or decoder; its weights are taken over.
        make: name and 3x3x3 convolution -> what takes its place.

    Returns:
        ``half``; its 1x1x1 causal convolutions, which see one frame each, became plain ones.
    """
    for name, conv in causal_convs(half).items():
        half.set_submodule(name, make(name, conv))
    for name, module in list(half.named_modules()):
        if isinstance(module, CausalConv3d):
            half.set_submodule(name, module.conv)
    return half
