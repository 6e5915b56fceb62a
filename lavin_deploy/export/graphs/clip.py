"""The graphs for video: whole clips of fixed lengths, and streams of any length in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lavin_deploy.bundle.manifest import ChunkBoundaryError, Stream
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.export.graphs.spec import GraphSpec
from lavin_deploy.models.clip3d import ClipDecoder, ClipEncoder, causal_convs
from lavin_deploy.models.deviation import Deviation
from lavin_deploy.models.stream import Part, StreamDecoder, StreamEncoder, cache_shapes
from lavin_deploy.models.stvae import STVAE, CausalConv3d
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.clip import CACHE_IN, CACHE_OUT, ClipStream

TOLERANCE = 1e-5
"""Largest deviation of a stream from the whole clip where norms are per frame, relative to the
largest value of the whole."""


SEED = 1


def check_video(lengths: Sequence[int], chunk: int | None) -> None:
    """Refuse clip lengths and chunks that cannot be exported.

    Raises:
        InputError: a length is not 4k + 1 or given twice, or a chunk has no latent.
    """
    if chunk is not None and chunk < 1:
        raise InputError(f"chunks of {chunk} latents cannot be exported; give at least 1.")
    for frames in lengths:
        if frames < 1 or frames % 4 != 1:
            raise InputError(
                f"clips of {frames} frames cannot be exported; give 4k + 1 frames (1, 5, 9, ...)."
            )
    if len(set(lengths)) != len(lengths):
        raise InputError(f"a clip length is given twice: {list(lengths)}; give each once.")


def clip_specs(
    vae: STVAE, sizes: Sequence[tuple[int, int]], chunk: int | None, lengths: Sequence[int]
) -> Iterator[GraphSpec]:
    """All graphs for video; static shapes, batch 1, all float32.

    The reference of ``*_next``, which the plain model has no counterpart of, is the stream module
    in torch. That it continues a clip correctly is what :func:`check_stream` proves.

    Args:
        vae: the autoencoder.
        sizes: (H, W) in pixels, multiples of 8.
        chunk: latents of a stream's chunk, which has ``4 * chunk`` frames; None: no streams.
        lengths: frames of the whole clips, each 4k + 1.

    Raises:
        InputError: a size, chunk or length that cannot be exported.
    """
    check_video(lengths, chunk)
    for height, width in sizes:
        if min(height, width) < 8 or height % 8 or width % 8:
            raise InputError(
                f"size {height}x{width} cannot be exported; both sides must be multiples of 8."
            )
        for frames in lengths:
            yield from _whole(vae, height, width, frames)
        if chunk is not None:
            for part in ("encoder", "decoder"):
                yield from _stream(vae, part, height, width, chunk)


def draw_clips(height: int, width: int, chunk: int) -> list[Tensor]:
    """Two smooth random clips (1, 3, 8 ``chunk`` + 1, H, W) in [-1, 1] to measure streams on.

    In the first a picture moves by a pixel a frame; the pixels' statistics stay the same. The
    second cuts to another picture where the second chunk begins: there they change.
    """
    generator = torch.Generator().manual_seed(SEED)
    coarse = torch.rand(2, 3, height // 8, width // 8, generator=generator) * 2 - 1
    pictures = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    count = 8 * chunk + 1
    first, second = (
        torch.stack([picture.roll(frame, dims=-1) for frame in range(count)], dim=1)[None]
        for picture in pictures
    )
    cut = 4 * chunk + 1
    return [first, torch.cat((first[:, :, :cut], second[:, :, cut:]), dim=2)]


def measure_streams(
    vae: STVAE, backend: Backend, sizes: Sequence[tuple[int, int]], chunk: int | None
) -> Stream | None:
    """Check the stream graphs of all sizes; the worst of what was measured, None without streams.

    Raises:
        WorkError: as :func:`check_stream`.
    """
    if chunk is None:
        return None
    streams = [check_stream(vae, backend, draw_clips(*size, chunk)) for size in sizes]

    def worst(errors: Sequence[ChunkBoundaryError]) -> ChunkBoundaryError:
        return ChunkBoundaryError(
            l2=max(each.l2 for each in errors), max=max(each.max for each in errors)
        )

    return Stream(
        chunk=chunk,
        frames=streams[0].frames,
        encoder=worst([one.encoder for one in streams]),
        decoder=worst([one.decoder for one in streams]),
    )


def check_stream(vae: STVAE, backend: Backend, clips: Sequence[Tensor]) -> Stream:
    """Measure streams through the graphs against whole clips through the plain model.

    Args:
        vae: the autoencoder that the graphs were made of.
        backend: active; its variant has the stream graphs for the clips' size.
        clips: each (1, 3, 4k + 1, H, W) in [-1, 1], of one size.

    Returns:
        The deviations: rounding with norms per frame, chunk boundary errors with norms
            over time. Print them.

    Raises:
        WorkError: norms are per frame, the variant is fp32, and a stream is not the whole clip.
    """
    height, width = clips[0].shape[3:]
    encoder = ClipStream(backend, "encoder", height=height, width=width)
    decoder = ClipStream(backend, "decoder", height=height, width=width)
    with torch.no_grad():
        latents = [vae.encode(clip).mean for clip in clips]
        pixels = [vae.decode(one) for one in latents]
    latent_error = Deviation.between((_through(encoder, clip) for clip in clips), latents)
    pixel_error = Deviation.between((_through(decoder, one) for one in latents), pixels)
    measured = Stream(
        chunk=decoder.chunk,
        frames=tuple(clip.shape[2] for clip in clips),
        encoder=ChunkBoundaryError(l2=latent_error.l2, max=latent_error.max),
        decoder=ChunkBoundaryError(l2=pixel_error.l2, max=pixel_error.max),
    )
    exact = vae.config.temporal_norm == "frame" and backend.variant.precision == "fp32"
    if exact and not max(latent_error.max, pixel_error.max) <= TOLERANCE:
        raise WorkError(
            f"the stream graphs at {height}x{width} are wrong: {measured}; at most "
            f"{TOLERANCE:.0e} is allowed, nothing was exported."
        )
    return measured


def _through(stream: ClipStream, clip: Tensor) -> Tensor:
    answer = stream.push(clip.numpy())
    return torch.from_numpy(np.concatenate((answer, stream.finish()), axis=2))


def _whole(vae: STVAE, height: int, width: int, frames: int) -> Iterator[GraphSpec]:
    latents = (1, vae.config.latent_channels, (frames + 3) // 4, height // 8, width // 8)
    yield GraphSpec(
        name="clip_encoder",
        height=height,
        width=width,
        frames=frames,
        inputs={"pixels": (1, 3, frames, height, width)},
        outputs=("mean",),
        build=partial(ClipEncoder, vae),
        reference=lambda pixels: (vae.encode(pixels).mean,),
    )
    yield GraphSpec(
        name="clip_decoder",
        height=height,
        width=width,
        frames=frames,
        inputs={"latents": latents},
        outputs=("pixels",),
        build=partial(ClipDecoder, vae),
        reference=lambda latents: (vae.decode(latents),),
    )


def _stream(vae: STVAE, part: Part, height: int, width: int, chunk: int) -> Iterator[GraphSpec]:
    encodes = part == "encoder"
    stream = StreamEncoder if encodes else StreamDecoder
    channels = vae.config.latent_channels
    caches = cache_shapes(vae, part, height, width)
    outputs = ("mean" if encodes else "pixels", *(CACHE_OUT + name for name in caches))

    def main_input(frames: int, latents: int) -> dict[str, tuple[int, ...]]:
        if encodes:
            return {"pixels": (1, 3, frames, height, width)}
        return {"latents": (1, channels, latents, height // 8, width // 8)}

    yield GraphSpec(
        name=f"{part}_start",
        height=height,
        width=width,
        frames=1,
        inputs=main_input(1, 1),
        outputs=outputs,
        build=partial(stream, vae, "start"),
        reference=partial(_plain_start, vae, part),
    )
    yield GraphSpec(
        name=f"{part}_next",
        height=height,
        width=width,
        frames=4 * chunk,
        inputs=main_input(4 * chunk, chunk) | {CACHE_IN + name: caches[name] for name in caches},
        outputs=outputs,
        build=partial(stream, vae, "next"),
        reference=lambda **inputs: stream(vae, "next")(*inputs.values()),
    )


def _plain_start(vae: STVAE, part: Part, **inputs: Tensor) -> tuple[Tensor, ...]:
    """What the plain model makes of a first frame, and what its causal convolutions saw."""
    (frame,) = inputs.values()
    convs = causal_convs(getattr(vae, part))
    seen: dict[CausalConv3d, Tensor] = {}

    def note(conv: Any, arguments: tuple[Tensor, ...]) -> None:
        (seen[conv],) = arguments

    hooks = [conv.register_forward_pre_hook(note) for conv in convs.values()]
    try:
        answer = vae.encode(frame).mean if part == "encoder" else vae.decode(frame)
    finally:
        for hook in hooks:
            hook.remove()
    return (answer, *(torch.cat((seen[conv], seen[conv]), dim=2) for conv in convs.values()))
