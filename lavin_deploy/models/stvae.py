"""ST-VAE: the spatio-temporal autoencoder (paper section 3.2; names as in the released weights).

Shapes: B batch, C channels, T frames, H W pixels. Pixels are RGB in [-1, 1]; 4k + 1 frames become
k + 1 latents of (H/8, W/8). A clip of one frame takes a 2D path that equals the 3D one: with the
first frame repeated in front, a causal 3x3x3 kernel on one frame is the kernel summed over time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavin_deploy.config import LATENT_SCALE, LATENT_SHIFT, TemporalNorm, VAEConfig
from lavin_deploy.errors import InputError
from lavin_deploy.models.resample import Downsample, make_upsample, split_first

EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Gaussian over latents: ``mean`` and ``logvar`` (B, 16, T, h, w), unscaled.

    ``logvar`` is clamped to [-30, 20].
    """

    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Reparameterised draw with standard normal ``noise`` of the same shape."""
        return self.mean + torch.exp(0.5 * self.logvar) * noise


class CausalConv3d(nn.Module):
    """Conv3d that sees no later frame: the first frame is repeated in front, space is zero-padded.

    (B, Cin, T, H, W) -> (B, Cout, T, H, W). ``kernel`` is 1 or 3 along all axes.
    """

    def __init__(self, cin: int, cout: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv3d(cin, cout, kernel)
        self.pad = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; one frame goes through the equal 2D convolution."""
        if x.shape[2] == 1:
            weight = self.conv.weight.sum(dim=2)
            return F.conv2d(x.squeeze(2), weight, self.conv.bias, padding=self.pad).unsqueeze(2)
        return convolve(self.conv, self.padded(x))

    def padded(self, x: Tensor) -> Tensor:
        """The first frame of (B, C, T, H, W) repeated in front, zeros around."""
        first = x[:, :, :1].expand(-1, -1, 2 * self.pad, -1, -1)
        space = (self.pad, self.pad, self.pad, self.pad, 0, 0)
        return F.pad(torch.cat((first, x), dim=2), space)


def convolve(conv: nn.Module, x: Tensor) -> Tensor:
    """A convolution of stride 1 of what is padded already; :mod:`vae2d` has 2D ones in its place.

    In bfloat16 on CPUs it goes by frames: the gradients of oneDNN's 3D kernels are NaN for some
    shapes there, and kill the process for others (torch 2.13 on a CPU with AMX).
    """
    lowered = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if lowered and isinstance(conv, nn.Conv3d):
        return by_frames(x, conv.weight, conv.bias)
    return cast(Tensor, conv(x))


def by_frames(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 3D convolution as a 2D one over the channels of the frames that each kernel sees.

    Args:
        x: (B, Cin, T, H, W), padded.
        weight: (Cout, Cin, kt, kh, kw).
        bias: (Cout,) or None.

    Returns:
        (B, Cout, T - kt + 1, H - kh + 1, W - kw + 1).
    """
    span = weight.shape[2]
    frames = x.shape[2] - span + 1
    seen = torch.cat([x[:, :, lag : lag + frames] for lag in range(span)], dim=1)
    flat = F.conv2d(seen.transpose(1, 2).flatten(0, 1), weight.transpose(1, 2).flatten(1, 2), bias)
    return cast(Tensor, flat.unflatten(0, (len(x), frames))).transpose(1, 2)


class Norm(nn.GroupNorm):
    """GroupNorm of the encoder; takes and ignores the latent, like the decoder's norm."""

    def __init__(self, channels: int, config: VAEConfig) -> None:
        super().__init__(config.norm_groups, channels, eps=EPS)
        self.temporal: TemporalNorm = config.temporal_norm

    def forward(self, input: Tensor, z: Tensor | None = None) -> Tensor:
        """Normalise (B, C, T, H, W)."""
        if self.temporal == "clip" or input.shape[2] == 1:
            return super().forward(input)
        frames = input.transpose(1, 2)
        normed: Tensor = super().forward(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return normed.transpose(1, 2)


class SpatialNorm(nn.Module):
    """Decoder norm conditioned on the latent z: ``GN(f) * conv_y(z) + conv_b(z)``.

    z is nearest-resized to f. The 1x1x1 convolutions run before the resize, which is the same and
    costs a fraction. With an odd T > 1 the first frame of z is resized on its own.
    """

    def __init__(self, channels: int, config: VAEConfig) -> None:
        super().__init__()
        self.norm_layer = Norm(channels, config)
        self.conv_y = CausalConv3d(config.latent_channels, channels, kernel=1)
        self.conv_b = CausalConv3d(config.latent_channels, channels, kernel=1)
        # Start as a plain norm: random scales, one behind another, would stall training.
        nn.init.zeros_(self.conv_y.conv.weight)
        nn.init.zeros_(self.conv_b.conv.weight)
        for conv, value in ((self.conv_y.conv, 1.0), (self.conv_b.conv, 0.0)):
            assert conv.bias is not None
            nn.init.constant_(conv.bias, value)

    def forward(self, f: Tensor, z: Tensor) -> Tensor:
        """Normalise f (B, C, T, H, W) under z (B, 16, Tz, h, w)."""
        scale = _resize_like(self.conv_y(z), f)
        return cast(Tensor, self.norm_layer(f) * scale + _resize_like(self.conv_b(z), f))


def _resize_like(z: Tensor, f: Tensor) -> Tensor:
    frames, rows, cols = f.shape[2:]
    if frames == 1:
        return F.interpolate(z.squeeze(2), size=(rows, cols)).unsqueeze(2)
    if frames % 2 == 0:
        return F.interpolate(z, size=(frames, rows, cols))
    first, rest = split_first(z)
    resized_first = F.interpolate(first, size=(1, rows, cols))
    return torch.cat((resized_first, F.interpolate(rest, size=(frames - 1, rows, cols))), dim=2)


class ResBlock(nn.Module):
    """norm -> SiLU -> conv, twice, beside a 1x1x1 shortcut where the width changes."""

    def __init__(self, cin: int, cout: int, config: VAEConfig, norm: type[nn.Module]) -> None:
        super().__init__()
        self.norm1 = norm(cin, config)
        self.norm2 = norm(cout, config)
        self.conv1 = CausalConv3d(cin, cout)
        self.conv2 = CausalConv3d(cout, cout)
        self.conv_shortcut = nn.Conv3d(cin, cout, 1) if cin != cout else None
        nn.init.zeros_(self.conv2.conv.weight)  # start as the identity

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """(B, Cin, T, H, W) -> (B, Cout, T, H, W)."""
        h: Tensor = self.conv1(F.silu(self.norm1(x, z)))
        h = self.conv2(F.silu(self.norm2(h, z)))
        return h + (x if self.conv_shortcut is None else convolve(self.conv_shortcut, x))


class Stage(nn.Module):
    """Residual blocks and, behind them, a resampler of its own kind or none."""

    def __init__(self, resnets: list[ResBlock]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.downsamplers: nn.ModuleList | None = None
        self.upsamplers: nn.ModuleList | None = None

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Run the blocks, then the resampler."""
        for resnet in self.resnets:
            x = resnet(x, z)
        for resampler in (*(self.downsamplers or ()), *(self.upsamplers or ())):
            x = resampler(x)
        return x


class Encoder(nn.Module):
    """Pixels (B, 3, T, H, W) -> moments (B, 32, T', H/8, W/8): mean, then log-variance."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths = config.block_out_channels
        self.conv_in = CausalConv3d(3, widths[0])
        self.down_blocks = nn.ModuleList()
        cin = widths[0]
        for index, width in enumerate(widths):
            blocks = [
                ResBlock(cin if layer == 0 else width, width, config, Norm)
                for layer in range(config.layers_per_block)
            ]
            stage = Stage(blocks)
            if index < 3:
                stage.downsamplers = nn.ModuleList([Downsample(width, temporal=index < 2)])
            self.down_blocks.append(stage)
            cin = width
        self.mid_block = Stage([ResBlock(cin, cin, config, Norm) for _ in range(2)])
        self.norm_out = Norm(cin, config)
        self.conv_out = CausalConv3d(cin, 2 * config.latent_channels)
        # Start with a narrow posterior (standard deviation 0.05): a wide one drowns the mean.
        assert self.conv_out.conv.bias is not None
        nn.init.constant_(self.conv_out.conv.bias[config.latent_channels :], -6.0)

    def forward(self, x: Tensor) -> Tensor:
        """Encode; H and W are multiples of 8."""
        x = self.conv_in(x)
        for stage in self.down_blocks:
            x = stage(x)
        return cast(Tensor, self.conv_out(F.silu(self.norm_out(self.mid_block(x)))))


class Decoder(nn.Module):
    """Unscaled latents (B, 16, T, h, w) -> pixels (B, 3, 4T - 3, 8h, 8w)."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths = config.block_out_channels[::-1]
        self.conv_in = CausalConv3d(config.latent_channels, widths[0])
        self.mid_block = Stage(
            [ResBlock(widths[0], widths[0], config, SpatialNorm) for _ in range(2)]
        )
        self.up_blocks = nn.ModuleList()
        cin = widths[0]
        for index, width in enumerate(widths):
            blocks = [
                ResBlock(cin if layer == 0 else width, width, config, SpatialNorm)
                for layer in range(config.layers_per_block + 1)
            ]
            stage = Stage(blocks)
            if index < 3:
                stage.upsamplers = nn.ModuleList(
                    [make_upsample(config.upsampler, width, temporal=index < 2)]
                )
            self.up_blocks.append(stage)
            cin = width
        self.norm_out = SpatialNorm(cin, config)
        self.conv_out = CausalConv3d(cin, 3)

    def forward(self, z: Tensor) -> Tensor:
        """Decode."""
        x = self.mid_block(self.conv_in(z), z)
        for stage in self.up_blocks:
            x = stage(x, z)
        return cast(Tensor, self.conv_out(F.silu(self.norm_out(x, z))))


class STVAE(nn.Module):
    """The autoencoder with the shift and scale that J-DiT's latents need."""

    def __init__(
        self,
        config: VAEConfig,
        latent_shift: float = LATENT_SHIFT,
        latent_scale: float = LATENT_SCALE,
    ) -> None:
        super().__init__()
        self.config = config
        self.latent_shift = latent_shift
        self.latent_scale = latent_scale
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, pixels: Tensor) -> Posterior:
        """Posterior of a clip.

        Args:
            pixels: (B, 3, T, H, W) in [-1, 1]; T = 4k + 1, H and W multiples of 8.

        Returns:
            Moments (B, 16, k + 1, H/8, W/8), unscaled.

        Raises:
            InputError: the clip's shape would not come back from a round trip.
        """
        if pixels.ndim != 5 or pixels.shape[1] != 3:
            raise InputError(f"pixels {tuple(pixels.shape)} must be (B, 3, T, H, W).")
        frames, height, width = pixels.shape[2:]
        if frames % 4 != 1:
            raise InputError(
                f"a clip of {frames} frames does not round-trip; give 4k + 1 frames (1, 5, 9, ...) "
                "or repeat the last frame until it fits."
            )
        if height % 8 or width % 8:
            raise InputError(f"a frame of {height} x {width} must have sides divisible by 8.")
        mean, logvar = self.encoder(pixels).chunk(2, dim=1)
        return Posterior(mean=mean, logvar=logvar.clamp(-30.0, 20.0))

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (B, 3, 4T - 3, 8h, 8w), about [-1, 1], of unscaled latents (B, 16, T, h, w)."""
        channels = self.config.latent_channels
        if latents.ndim != 5 or latents.shape[1] != channels:
            raise InputError(f"latents {tuple(latents.shape)} must be (B, {channels}, T, h, w).")
        return cast(Tensor, self.decoder(latents))

    def scale(self, latents: Tensor) -> Tensor:
        """VAE latents -> what J-DiT sees: (z - shift) * scale."""
        return (latents - self.latent_shift) * self.latent_scale

    def unscale(self, latents: Tensor) -> Tensor:
        """Inverse of :meth:`scale`."""
        return latents / self.latent_scale + self.latent_shift
