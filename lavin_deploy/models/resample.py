"""Resamplers of the ST-VAE: halve or double space, and time in two of three stages.

All take and give (B, C, T, H, W). The first frame of a clip stands for itself: it is never pooled
with, nor spread over, later frames, so 4k + 1 frames become 2k + 1 and come back.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavin_deploy.config import Upsampler


def split_first(x: Tensor) -> tuple[Tensor, Tensor]:
    """The first frame and the rest, along axis 2."""
    return x[:, :, :1], x[:, :, 1:]


def per_frame(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a 2D layer to every frame of (B, C, T, H, W)."""
    if x.shape[2] == 1:
        out: Tensor = layer(x.squeeze(2))
        return out.unsqueeze(2)
    frames = x.transpose(1, 2)
    folded: Tensor = layer(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    return folded.transpose(1, 2)


class Downsample(nn.Module):
    """Average pairs of frames if ``temporal``, then a strided 3x3 convolution per frame."""

    def __init__(self, channels: int, *, temporal: bool) -> None:
        super().__init__()
        self.temporal = temporal
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T or (T + 1) / 2, H/2, W/2)."""
        if self.temporal and x.shape[2] > 1:
            if x.shape[2] % 2:
                first, rest = split_first(x)
                x = torch.cat((first, F.avg_pool3d(rest, (2, 1, 1))), dim=2)
            else:
                x = F.avg_pool3d(x, (2, 1, 1))
        return per_frame(self.conv, F.pad(x, (0, 1, 0, 1)))


class ResizeConv(nn.Module):
    """Nearest-resize, then a 3x3 convolution per frame (the release's up-sampler)."""

    def __init__(self, channels: int, *, temporal: bool) -> None:
        super().__init__()
        self.temporal = temporal
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T or 2T - 1, 2H, 2W)."""
        if x.shape[2] == 1:
            x = F.interpolate(x.squeeze(2), scale_factor=2.0).unsqueeze(2)
        elif self.temporal:
            first, rest = split_first(x)
            first = F.interpolate(first, scale_factor=(1.0, 2.0, 2.0))
            x = torch.cat((first, F.interpolate(rest, scale_factor=2.0)), dim=2)
        else:
            x = F.interpolate(x, scale_factor=(1.0, 2.0, 2.0))
        return per_frame(self.conv, x)


class Deconv(nn.Module):
    """Transposed convolution (the paper's text): kernel 4, stride 2 in space, 2 in time.

    The first frame goes through the kernel's mean over time; later frame i makes 2i - 1 and 2i.
    """

    def __init__(self, channels: int, *, temporal: bool) -> None:
        super().__init__()
        self.taps = 2 if temporal else 1
        self.conv = nn.ConvTranspose3d(
            channels, channels, (self.taps, 4, 4), stride=(self.taps, 2, 2), padding=(0, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T or 2T - 1, 2H, 2W)."""
        first, rest = split_first(x)
        weight = self.conv.weight.mean(dim=2)
        out = F.conv_transpose2d(first.squeeze(2), weight, self.conv.bias, stride=2, padding=1)
        if rest.shape[2] == 0:
            return out.unsqueeze(2)
        return torch.cat((out.unsqueeze(2), self.conv(rest)), dim=2)


def make_upsample(kind: Upsampler, channels: int, *, temporal: bool) -> nn.Module:
    """Build the up-sampler that the config names."""
    cls = ResizeConv if kind == "resize_conv" else Deconv
    return cls(channels, temporal=temporal)
