"""Answers of a checkpoint folder in torch, as a bundle of it would give them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.flow import noise
from lavin_deploy.models.checkpoint import find_files, load_checkpoint, read_config
from lavin_deploy.models.vae2d import Decoder2d, Encoder2d
from lavin_deploy.runtime.letterbox import Letterbox, to_pixels, to_u8
from lavin_deploy.tasks.samples import Pairs
from lavin_deploy.training.losses.consistency import answer as integrate

REMEMBERED = 32
"""Pictures whose latents are kept: measurements ask with the same ones again and again."""


class TorchAnswers:
    """A checkpoint that answers from any number of pairs, at its own number of steps.

    Args:
        folder: with ``config.json`` and both weight files.

    Raises:
        CheckpointError: what :func:`load_checkpoint` raises.
        InputError: it is run with guidance or on a grid that is not uniform.
    """

    def __init__(self, folder: Path) -> None:
        self.config = read_config(find_files(folder))
        inference = self.config.inference
        if inference.guidance != 1 or (inference.grid != "uniform" and inference.steps > 1):
            raise InputError(
                f"{folder} is run with guidance {inference.guidance:g} on a {inference.grid} grid, "
                "and in torch answers are unguided on a uniform one; export it and give the bundle."
            )
        self.dit, vae = load_checkpoint(folder)
        self.encoder, self.decoder = Encoder2d(vae).eval(), Decoder2d(vae).eval()
        self._kept: dict[tuple[tuple[int, ...], bytes], Tensor] = {}

    @torch.no_grad()
    def __call__(self, pairs: Pairs, query: U8) -> U8:
        """Answer a query (H, W, 3) uint8 in its size, from the noise of seed 0."""
        config = self.config
        box = Letterbox((query.shape[0], query.shape[1]), config.inference.size)
        pictures = [*(picture for pair in pairs for picture in pair), query]
        z = torch.cat([self._encode(picture) for picture in pictures])
        shown = z[:-1].transpose(0, 2)  # (1, 16, 2P, h, w)
        start = torch.from_numpy(noise.normal(0, tuple(z[-1:].shape)))
        steps = config.inference.steps
        latents = integrate(self.dit, start, (shown, z[-1:]), steps, bf16=False)
        decoded = self.decoder(latents / config.latent_scale + config.latent_shift)
        return box.backward(to_u8(decoded.numpy()))

    def _encode(self, picture: U8) -> Tensor:
        """Scaled latents (1, 16, 1, h, w) of (H, W, 3) uint8."""
        key = (picture.shape, picture.tobytes())
        if key not in self._kept:
            box = Letterbox((picture.shape[0], picture.shape[1]), self.config.inference.size)
            means = self.encoder(torch.from_numpy(to_pixels(box.forward(picture))))
            if len(self._kept) == REMEMBERED:
                self._kept.clear()
            self._kept[key] = (means - self.config.latent_shift) * self.config.latent_scale
        return self._kept[key]
