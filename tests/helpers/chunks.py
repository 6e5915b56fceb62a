"""What a stream of chunks differs from the whole clip by: rounding, or chunk boundary errors.

Per-frame norms make it rounding; norms over time take their statistics over a chunk instead of the
clip. In torch, on the plain model: what an export measures is compared with this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lavin_deploy.errors import InputError
from lavin_deploy.models.deviation import Deviation
from lavin_deploy.models.stream import StreamDecoder, StreamEncoder
from lavin_deploy.models.stvae import STVAE


@dataclass(frozen=True, kw_only=True)
class ChunkBoundaryError:
    """Deviation of streams from whole clips.

    Attributes:
        chunk: latents of a chunk; 4 ``chunk`` frames.
        frames: of every clip.
        encoder: of the latents.
        decoder: of the pixels, both decoded from the whole clip's latents.
    """

    chunk: int
    frames: tuple[int, ...]
    encoder: Deviation
    decoder: Deviation


def in_chunks(
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
        sizes: of the chunks behind the first frame, together T - 1.

    Returns:
        All outputs, along time.
    """
    first, *rest = clip.split([1, *sizes], dim=2)
    out, *caches = start(first)
    outs = [out]
    for chunk in rest:
        out, *caches = later(chunk, *caches)
        outs.append(out)
    return torch.cat(outs, dim=2)


@torch.no_grad()
def chunk_boundary_error(vae: STVAE, clips: Sequence[Tensor], chunk: int) -> ChunkBoundaryError:
    """Measure what streaming costs; with ``temporal_norm="frame"`` it is rounding only.

    Args:
        vae: the autoencoder.
        clips: each (1, 3, 1 + 4 * chunk * n, H, W) in [-1, 1], n at least 1.
        chunk: latents of a chunk.

    Returns:
        The deviations over all clips.

    Raises:
        InputError: no clip, or one that does not fall into whole chunks.
    """
    if chunk < 1 or not clips:
        raise InputError(
            f"given {len(clips)} clips and chunks of {chunk} latents; give at least one of each."
        )
    frames = tuple(clip.shape[2] for clip in clips)
    for count in frames:
        if count == 1 or count % (4 * chunk) != 1 % (4 * chunk):
            raise InputError(
                f"a clip of {count} frames does not fall into the first one and chunks of "
                f"{4 * chunk}; give {4 * chunk + 1}, {8 * chunk + 1}, ... frames."
            )
    latents = [vae.encode(clip).mean for clip in clips]
    pixels = [vae.decode(z) for z in latents]
    encoders = StreamEncoder(vae, "start").eval(), StreamEncoder(vae, "next").eval()
    decoders = StreamDecoder(vae, "start").eval(), StreamDecoder(vae, "next").eval()
    counts = [(count - 1) // (4 * chunk) for count in frames]
    encoded = [
        in_chunks(*encoders, clip, [4 * chunk] * n) for clip, n in zip(clips, counts, strict=True)
    ]
    decoded = [in_chunks(*decoders, z, [chunk] * n) for z, n in zip(latents, counts, strict=True)]
    return ChunkBoundaryError(
        chunk=chunk,
        frames=frames,
        encoder=Deviation.between(encoded, latents),
        decoder=Deviation.between(decoded, pixels),
    )
