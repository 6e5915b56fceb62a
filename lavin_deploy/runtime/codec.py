"""Pictures to scaled latents and back, through a bundle's encoder and decoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import U8
from lavin_deploy.bundle.manifest import Latent
from lavin_deploy.errors import InputError
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.letterbox import Letterbox, check_image, to_pixels, to_u8
from lavin_deploy.tasks.samples import Pairs


class Codec:
    """Encodes and decodes single pictures of one size.

    Args:
        backend: active back end.
        latent: shift, scale and sizes from the manifest.
        height: pixels; the bundle has graphs for it.
        width: likewise.
    """

    def __init__(self, backend: Backend, latent: Latent, height: int, width: int) -> None:
        self.size = (height, width)
        self._backend = backend
        self._encoder = backend.variant.graph("encoder", height=height, width=width)
        self._decoder = backend.variant.graph("decoder", height=height, width=width)
        self._shift = np.float32(latent.shift)
        self._scale = np.float32(latent.scale)

    def prepare(self) -> None:
        """Load both graphs now rather than with the first picture."""
        self._backend.prepare(self._encoder)
        self._backend.prepare(self._decoder)

    def encode(self, image: U8) -> Latents:
        """Encode one picture: the posterior's mean, shifted and scaled.

        Args:
            image: (height, width, 3) uint8.

        Returns:
            (1, 16, 1, height/8, width/8) float32, scaled.
        """
        mean = self._backend.infer_one(self._encoder, pixels=to_pixels(image))
        scaled: Latents = (mean - self._shift) * self._scale
        return scaled

    def decode(self, latents: Latents) -> U8:
        """Decode scaled latents.

        Args:
            latents: (1, 16, 1, height/8, width/8) float32, scaled.

        Returns:
            (height, width, 3) uint8.
        """
        return to_u8(self.decode_pixels(latents))

    def decode_pixels(self, latents: Latents) -> NDArray[np.float32]:
        """Decode scaled latents to (1, 3, 1, height, width) float32, nominally in [-1, 1]."""
        unscaled = latents / self._scale + self._shift
        pixels: NDArray[np.float32] = self._backend.infer_one(self._decoder, latents=unscaled)
        return pixels

    def encode_pairs(self, pairs: Pairs) -> Latents:
        """Letterbox and encode example pairs; see :func:`encode_pairs`."""
        return encode_pairs(pairs, self.size, self.encode)


def encode_pairs(pairs: Pairs, size: tuple[int, int], encode: Callable[[U8], Latents]) -> Latents:
    """Letterbox example pairs and encode them one picture at a time.

    Args:
        pairs: P of them, at least one, each of any size.
        size: (height, width) in pixels to fit them into.
        encode: (height, width, 3) uint8 -> (1, 16, 1, height/8, width/8) float32 scaled.

    Returns:
        (1, 16, 2P, height/8, width/8) float32, scaled; frames in1, tgt1, in2, tgt2, ...

    Raises:
        InputError: a pair's pictures are not (H, W, 3) uint8 of one size.
    """
    frames = []
    for number, (source, target) in enumerate(pairs, 1):
        check_pair(number, source, target)
        box = Letterbox((source.shape[0], source.shape[1]), size)
        frames += [encode(box.forward(source)), encode(box.forward(target))]
    return np.concatenate(frames, axis=2)


def check_pair(name: int | str, source: U8, target: U8) -> None:
    """Raise InputError unless both pictures of a pair are (H, W, 3) uint8 of one size."""
    check_image(source)
    check_image(target)
    if source.shape != target.shape:
        raise InputError(
            f"the input of pair {name} has {source.shape[0]}x{source.shape[1]} pixels and its "
            f"target {target.shape[0]}x{target.shape[1]}; give both in one size."
        )
