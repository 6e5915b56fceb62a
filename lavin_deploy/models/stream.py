"""The ST-VAE on a stream of frames: every causal convolution hands its last frames on.

A stream is one ``start`` (the first frame alone, in the 2D form) and then any number of ``next``
(4k frames, k latents). A causal 3x3x3 convolution sees two frames back, so its cache is the last
two frames that it saw; 1x1x1 convolutions, pools, resizes and per-frame norms need none. With
``temporal_norm="frame"`` the chunks are exactly the whole clip. With ``"clip"`` the norms take
their statistics over a chunk instead of the clip, which makes an error at chunk boundaries.
"""

from __future__ import annotations

import copy
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.models.clip3d import causal_convs, mean_only, padded, rebuild
from lavin_deploy.models.resample import Deconv, ResizeConv, per_frame
from lavin_deploy.models.stvae import STVAE, CausalConv3d
from lavin_deploy.models.vae2d import Decoder2d, Encoder2d

Part = Literal["encoder", "decoder"]
Form = Literal["start", "next"]

CACHE_FRAMES = 2
"""Frames of its input that a causal 3x3x3 convolution sees before the newest one."""


class Tape:
    """The caches of one call, by the names of their convolutions.

    Neither a module nor a container, so that an exporter takes it for what it is: a note from one
    layer to the end of ``forward``, not state.
    """

    def __init__(self) -> None:
        self.older: dict[str, Tensor] = {}
        self.newer: dict[str, Tensor] = {}


class FirstConv(nn.Module):
    """A causal convolution on the first frame, in its 2D form; leaves the frame twice."""

    def __init__(self, conv: nn.Module, tape: Tape, name: str) -> None:
        super().__init__()
        self.conv = conv
        self.name = name
        self.tape = tape

    def forward(self, x: Tensor) -> Tensor:
        """(1, Cin, H, W) -> (1, Cout, H, W)."""
        self.tape.newer[self.name] = torch.stack((x, x), dim=2)
        return cast(Tensor, self.conv(x))


class NextConv3d(nn.Module):
    """A causal convolution on later frames, behind the cached ones."""

    def __init__(self, conv: CausalConv3d, tape: Tape, name: str) -> None:
        super().__init__()
        self.conv = padded(conv)
        self.name = name
        self.tape = tape

    def forward(self, x: Tensor) -> Tensor:
        """(1, Cin, T, H, W) -> (1, Cout, T, H, W)."""
        clip = torch.cat((self.tape.older[self.name], x), dim=2)
        self.tape.newer[self.name] = clip[:, :, -CACHE_FRAMES:]
        return cast(Tensor, self.conv(clip))


class NextResizeConv(nn.Module):
    """Nearest-resize, then a 3x3 convolution per frame, of frames that are all later ones."""

    def __init__(self, layer: ResizeConv) -> None:
        super().__init__()
        self.scale = (2.0 if layer.temporal else 1.0, 2.0, 2.0)
        self.conv = layer.conv

    def forward(self, x: Tensor) -> Tensor:
        """(1, C, T, H, W) -> (1, C, T or 2T, 2H, 2W)."""
        return per_frame(self.conv, F.interpolate(x, scale_factor=self.scale))


class _Stream(nn.Module):
    """What both halves do: caches in and out around a net of rebuilt convolutions."""

    def __init__(self, vae: STVAE, part: Part, form: Form) -> None:
        super().__init__()
        if form not in ("start", "next"):
            raise unknown_name("form", form, ("start", "next"))
        self.form = form
        self.names = list(causal_convs(getattr(vae, part)))
        self.tape = Tape()
        self.net = self._start(vae, part) if form == "start" else self._next(vae, part)

    def _start(self, vae: STVAE, part: Part) -> nn.Module:
        net = Encoder2d(vae).encoder if part == "encoder" else Decoder2d(vae).decoder
        for name in self.names:
            net.set_submodule(name, FirstConv(net.get_submodule(name), self.tape, name))
        return net

    def _next(self, vae: STVAE, part: Part) -> nn.Module:
        half = mean_only(vae) if part == "encoder" else copy.deepcopy(vae.decoder)
        net = rebuild(half, lambda name, conv: NextConv3d(conv, self.tape, name))
        for name, module in list(net.named_modules()):
            if isinstance(module, ResizeConv):
                net.set_submodule(name, NextResizeConv(module))
            elif isinstance(module, Deconv):
                net.set_submodule(name, module.conv)
        return net

    def _run(self, x: Tensor, caches: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self.form == "start":
            out = self.net(x.squeeze(2)).unsqueeze(2)
        else:
            self.tape.older = dict(zip(self.names, caches, strict=True))
            out = self.net(x)
        newer = tuple(self.tape.newer[name] for name in self.names)
        self.tape.older, self.tape.newer = {}, {}
        return (out, *newer)


class StreamEncoder(_Stream):
    """The encoder on a chunk of a stream; batch 1.

    Args:
        vae: the autoencoder; it stays as it is.
        form: ``"start"`` or ``"next"``.
    """

    def __init__(self, vae: STVAE, form: Form) -> None:
        super().__init__(vae, "encoder", form)

    def forward(self, pixels: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Encode the first frame or the next 4k.

        Args:
            pixels: (1, 3, 1, H, W) at the start, (1, 3, 4k, H, W) later; in [-1, 1].
            caches: none at the start; later those of the chunk before, as it left them.

        Returns:
            The unscaled posterior mean (1, 16, 1 or k, H/8, W/8), then the caches.

        Raises:
            InputError: the number of frames fits neither.
        """
        frames = pixels.shape[2]
        if frames != 1 if self.form == "start" else frames % 4 or not frames:
            raise InputError(
                f"a stream's {self.form} takes {'1 frame' if self.form == 'start' else '4k frames'}"
                f"; given: {frames}. Give the first frame to 'start' and then 4, 8, ... to 'next'."
            )
        return self._run(pixels, caches)


class StreamDecoder(_Stream):
    """The decoder on a chunk of a stream; batch 1.

    Args:
        vae: the autoencoder; it stays as it is.
        form: ``"start"`` or ``"next"``.
    """

    def __init__(self, vae: STVAE, form: Form) -> None:
        super().__init__(vae, "decoder", form)

    def forward(self, latents: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """Decode the first latent or the next k.

        Args:
            latents: unscaled, (1, 16, 1, h, w) at the start, (1, 16, k, h, w) later.
            caches: none at the start; later those of the chunk before, as it left them.

        Returns:
            Pixels (1, 3, 1 or 4k, 8h, 8w), about [-1, 1], then the caches.

        Raises:
            InputError: not one latent at the start.
        """
        if self.form == "start" and latents.shape[2] != 1:
            raise InputError(
                f"a stream's start takes 1 latent; given: {latents.shape[2]}. Give the first one "
                "to 'start' and the others to 'next'."
            )
        return self._run(latents, caches)


def cache_shapes(vae: STVAE, part: Part, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all caches of a stream, in the order of the modules' inputs.

    Args:
        vae: the autoencoder.
        part: ``"encoder"`` or ``"decoder"``.
        height: of the pixels, a multiple of 8.
        width: likewise.

    Returns:
        E.g. ``encoder.down_blocks.0.resnets.0.conv1`` -> (1, C, 2, H, W), the same at every chunk.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, conv in causal_convs(getattr(vae, part)).items():
        halvings = _halvings(name, part)
        size = (height >> halvings, width >> halvings)
        shapes[f"{part}.{name}"] = (1, conv.conv.in_channels, CACHE_FRAMES, *size)
    return shapes


def _halvings(name: str, part: Part) -> int:
    """How often space was halved where a convolution stands: 0 at pixels, 3 at latents."""
    block, _, rest = name.partition(".")
    if block in ("down_blocks", "up_blocks"):
        stage = int(rest.partition(".")[0])
        return stage if part == "encoder" else 3 - stage
    at_pixels = "conv_in" if part == "encoder" else "conv_out"
    return 0 if block == at_pixels else 3
