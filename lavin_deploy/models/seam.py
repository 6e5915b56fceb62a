"""What a stream of pieces differs from the whole clip by: nothing, or the seams of clip norms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lavin_deploy.errors import InputError
from lavin_deploy.models.stream import StreamDecoder, StreamEncoder
from lavin_deploy.models.stvae import STVAE


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far pieces put together lie from the whole.

    Attributes:
        l2: norm of the difference over the norm of the whole.
        max: largest difference over the whole's largest value.
    """

    l2: float
    max: float

    @classmethod
    def between(cls, given: Iterable[Tensor], whole: Iterable[Tensor]) -> Deviation:
        """Measure over all clips at once; clips of both in one order, of equal shapes."""
        squares = scale = worst = largest = 0.0
        for one, other in zip(given, whole, strict=True):
            difference = one.double() - other.double()
            squares += float(difference.square().sum())
            scale += float(other.double().square().sum())
            worst = max(worst, float(difference.abs().max()))
            largest = max(largest, float(other.abs().max()))
        return cls(l2=(squares / scale) ** 0.5, max=worst / largest)


@dataclass(frozen=True, kw_only=True)
class SeamError:
    """Deviation of streams from whole clips.

    Attributes:
        chunk: latents of a piece; 4 ``chunk`` frames.
        frames: of every clip.
        encoder: of the latents.
        decoder: of the pixels, both decoded from the whole clip's latents.
    """

    chunk: int
    frames: tuple[int, ...]
    encoder: Deviation
    decoder: Deviation


def in_pieces(
    start: StreamEncoder | StreamDecoder,
    later: StreamEncoder | StreamDecoder,
    clip: Tensor,
    sizes: Iterable[int],
) -> Tensor:
    """Run a clip through a stream.

    Args:
        start: of form ``"start"``.
        later: the same half of form ``"next"``.
        clip: (1, C, T, H, W).
        sizes: of the pieces behind the first frame, together T - 1.

    Returns:
        All answers, along time.
    """
    first, *rest = clip.split([1, *sizes], dim=2)
    out, *caches = start(first)
    outs = [out]
    for piece in rest:
        out, *caches = later(piece, *caches)
        outs.append(out)
    return torch.cat(outs, dim=2)


@torch.no_grad()
def seam_error(vae: STVAE, clips: Sequence[Tensor], chunk: int) -> SeamError:
    """Measure what streaming costs; with ``temporal_norm="frame"`` it is rounding only.

    Args:
        vae: the autoencoder.
        clips: each (1, 3, 1 + 4 * chunk * n, H, W) in [-1, 1], n at least 1.
        chunk: latents of a piece.

    Returns:
        The deviations over all clips.

    Raises:
        InputError: no clip, or one that does not fall into whole pieces.
    """
    if chunk < 1 or not clips:
        raise InputError(
            f"given {len(clips)} clips and pieces of {chunk} latents; give at least one of each."
        )
    frames = tuple(clip.shape[2] for clip in clips)
    for count in frames:
        if count == 1 or count % (4 * chunk) != 1 % (4 * chunk):
            raise InputError(
                f"a clip of {count} frames does not fall into the first one and pieces of "
                f"{4 * chunk}; give {4 * chunk + 1}, {8 * chunk + 1}, ... frames."
            )
    latents = [vae.encode(clip).mean for clip in clips]
    pixels = [vae.decode(one) for one in latents]
    encoders = StreamEncoder(vae, "start").eval(), StreamEncoder(vae, "next").eval()
    decoders = StreamDecoder(vae, "start").eval(), StreamDecoder(vae, "next").eval()
    pieces = [(count - 1) // (4 * chunk) for count in frames]
    coded = [
        in_pieces(*encoders, clip, [4 * chunk] * n) for clip, n in zip(clips, pieces, strict=True)
    ]
    shown = [in_pieces(*decoders, z, [chunk] * n) for z, n in zip(latents, pieces, strict=True)]
    return SeamError(
        chunk=chunk,
        frames=frames,
        encoder=Deviation.between(coded, latents),
        decoder=Deviation.between(shown, pixels),
    )
