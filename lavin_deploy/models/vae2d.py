"""The 2D form of the causal ST-VAE: what it computes on a single frame, with 2D weights.

With the first frame repeated in front, a causal kernel on one frame is the kernel summed over time
(exact; 0.34 of the encoder's and 0.39 of the decoder's work at full size). The released module
tree is kept and only its leaves are replaced, so names still tell where a node comes from.
"""

from __future__ import annotations

import copy
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from lavin_deploy.models.resample import Deconv, Downsample, ResizeConv
from lavin_deploy.models.stvae import STVAE, CausalConv3d, Norm, SpatialNorm


def _conv2d(conv: nn.Conv3d, padding: int) -> nn.Conv2d:
    kernel = (conv.kernel_size[1], conv.kernel_size[2])
    flat = nn.Conv2d(conv.in_channels, conv.out_channels, kernel, padding=padding)
    flat.weight.data = conv.weight.detach().sum(dim=2)
    if conv.bias is not None and flat.bias is not None:
        flat.bias.data = conv.bias.detach()
    return flat


def _standardised(x: Tensor, groups: int, eps: float) -> Tensor:
    """GroupNorm without weight and bias, (B, C, H, W) -> the same.

    Written as the InstanceNorm of the groups, an operator that ONNX Runtime has a kernel for; it
    splits GroupNormalization into elementary ones (docs/LOG.md).
    """
    return F.instance_norm(x.reshape(x.shape[0], groups, -1), eps=eps).reshape(x.shape)


class Norm2d(nn.Module):
    """GroupNorm that takes and ignores the latent: (B, C, H, W)."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.num_groups, self.eps = norm.num_groups, norm.eps
        self.weight = nn.Parameter(norm.weight.detach()[:, None, None])
        self.bias = nn.Parameter(norm.bias.detach()[:, None, None])

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Normalise."""
        return _standardised(x, self.num_groups, self.eps) * self.weight + self.bias


class SpatialNorm2d(nn.Module):
    """``GN(f) * up(conv_y(z)) + up(conv_b(z))`` with nearest resizing by a whole factor.

    The norm's own weight and bias are folded into the convolutions: (n w + b) y + c is
    n (w y) + (c + b y).
    """

    def __init__(self, norm: SpatialNorm) -> None:
        super().__init__()
        own = norm.norm_layer
        self.num_groups, self.eps = own.num_groups, own.eps
        self.conv_y = _conv2d(norm.conv_y.conv, 0)
        self.conv_b = _conv2d(norm.conv_b.conv, 0)
        weight, bias = own.weight.detach(), own.bias.detach()
        for name in ("weight", "bias"):
            y, b = self.conv_y.get_parameter(name), self.conv_b.get_parameter(name)
            rest = (-1,) + (1,) * (y.ndim - 1)
            b.data = b.data + bias.reshape(rest) * y.data
            y.data = y.data * weight.reshape(rest)

    def forward(self, f: Tensor, z: Tensor) -> Tensor:
        """Normalise f (B, C, H, W) under z (B, 16, h, w)."""
        scale, shift = self.conv_y(z), self.conv_b(z)
        factor = f.shape[-1] // z.shape[-1]
        if factor > 1:
            scale = F.interpolate(scale, scale_factor=float(factor))
            shift = F.interpolate(shift, scale_factor=float(factor))
        return cast(Tensor, _standardised(f, self.num_groups, self.eps) * scale + shift)


def _downsample2d(layer: Downsample) -> nn.Module:
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), layer.conv)


def _deconv2d(layer: Deconv) -> nn.Module:
    channels = layer.conv.in_channels
    flat = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)
    flat.weight.data = layer.conv.weight.detach().mean(dim=2)
    assert flat.bias is not None
    assert layer.conv.bias is not None
    flat.bias.data = layer.conv.bias.detach()
    return flat


def _replace(module: nn.Module) -> nn.Module:
    if isinstance(module, CausalConv3d):
        return _conv2d(module.conv, module.pad)
    if isinstance(module, nn.Conv3d):
        return _conv2d(module, 0)
    if isinstance(module, SpatialNorm):
        return SpatialNorm2d(module)
    if isinstance(module, Norm):
        return Norm2d(module)
    if isinstance(module, Downsample):
        return _downsample2d(module)
    if isinstance(module, ResizeConv):
        return nn.Sequential(nn.Upsample(scale_factor=2.0), module.conv)
    if isinstance(module, Deconv):
        return _deconv2d(module)
    for name, child in module.named_children():
        module.register_module(name, _replace(child))
    return module


class Encoder2d(nn.Module):
    """Pixels (1, 3, 1, H, W) in [-1, 1] -> unscaled posterior mean (1, 16, 1, H/8, W/8)."""

    def __init__(self, vae: STVAE) -> None:
        super().__init__()
        self.encoder = _replace(copy.deepcopy(vae.encoder))
        # Only the mean is read: the log-variance half of conv_out is dropped.
        conv_out = self.encoder.conv_out
        assert isinstance(conv_out, nn.Conv2d)
        assert conv_out.bias is not None
        channels = vae.config.latent_channels
        conv_out.weight.data = conv_out.weight.data[:channels]
        conv_out.bias.data = conv_out.bias.data[:channels]

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode one frame."""
        mean: Tensor = self.encoder(pixels.squeeze(2))
        return mean.unsqueeze(2)


class Decoder2d(nn.Module):
    """Unscaled latents (1, 16, 1, h, w) -> pixels (1, 3, 1, 8h, 8w), about [-1, 1]."""

    def __init__(self, vae: STVAE) -> None:
        super().__init__()
        self.decoder = _replace(copy.deepcopy(vae.decoder))

    def forward(self, latents: Tensor) -> Tensor:
        """Decode one frame."""
        pixels: Tensor = self.decoder(latents.squeeze(2))
        return pixels.unsqueeze(2)
