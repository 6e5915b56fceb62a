"""Streams and clip forms of the ST-VAE against the plain model, in torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lavin_deploy.config import TemporalNorm, Upsampler
from lavin_deploy.errors import InputError
from lavin_deploy.models.clip3d import ClipDecoder, ClipEncoder
from lavin_deploy.models.deviation import Deviation
from lavin_deploy.models.stream import Part, StreamDecoder, StreamEncoder, cache_shapes
from lavin_deploy.models.stvae import STVAE
from tests.helpers.chunks import chunk_boundary_error, in_chunks
from tests.helpers.clips import SIZE, video
from tests.helpers.clips import clip_model as model

pytestmark = pytest.mark.unit

UPSAMPLERS = ("resize_conv", "deconv")
CHUNKS = ([4, 4, 4], [8, 4], [4, 8], [12])
"""Frames of the chunks behind the first one: 13 frames in all."""


def encode(vae: STVAE, pixels: Tensor, chunks: list[int]) -> Tensor:
    return in_chunks(StreamEncoder(vae, "start"), StreamEncoder(vae, "next"), pixels, chunks)


def decode(vae: STVAE, latents: Tensor, chunks: list[int]) -> Tensor:
    return in_chunks(StreamDecoder(vae, "start"), StreamDecoder(vae, "next"), latents, chunks)


def deviation(outputs: Tensor, references: Tensor) -> float:
    assert outputs.shape == references.shape
    return float((outputs - references).abs().max() / references.abs().max())


@pytest.mark.parametrize("upsampler", UPSAMPLERS)
@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@torch.no_grad()
def test_chunks_are_the_whole(upsampler: Upsampler, chunks: list[int]) -> None:
    vae, pixels = model("frame", upsampler), video(13)
    latents = vae.encode(pixels).mean
    assert deviation(encode(vae, pixels, chunks), latents) < 1e-5
    decoded = decode(vae, latents, [count // 4 for count in chunks])
    assert deviation(decoded, vae.decode(latents)) < 1e-5


@torch.no_grad()
def test_every_cache_matters() -> None:
    vae, pixels = model(), video(5)
    for part, start, later, first, rest in (
        ("encoder", StreamEncoder(vae, "start"), StreamEncoder(vae, "next"), *split(pixels)),
        (
            "decoder",
            StreamDecoder(vae, "start"),
            StreamDecoder(vae, "next"),
            *split(vae.encode(pixels).mean),
        ),
    ):
        _, *caches = start(first)
        expected = later(rest, *caches)[0]
        for index, name in enumerate(cache_shapes(vae, part, 16, 24)):
            changed = list(caches)
            changed[index] = torch.zeros_like(changed[index])
            assert deviation(later(rest, *changed)[0], expected) > 1e-4, name


def split(clip: Tensor) -> tuple[Tensor, Tensor]:
    return clip[:, :, :1], clip[:, :, 1:]


@pytest.mark.parametrize("upsampler", UPSAMPLERS)
@pytest.mark.parametrize("norm", ["clip", "frame"])
@pytest.mark.parametrize("frames", [1, 5, 13])
@torch.no_grad()
def test_whole_clips(norm: TemporalNorm, upsampler: Upsampler, frames: int) -> None:
    vae, pixels = model(norm, upsampler), video(frames)
    latents = vae.encode(pixels).mean
    assert deviation(ClipEncoder(vae)(pixels), latents) < 1e-5
    assert deviation(ClipDecoder(vae)(latents), vae.decode(latents)) < 1e-5


@torch.no_grad()
def test_one_frame_goes_through_3d_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, kinds = model(), []
    monkeypatch.setattr(
        torch.nn.Conv3d,
        "_conv_forward",
        lambda self, x, w, b: (
            kinds.append(w.shape[2])
            or torch.nn.functional.conv3d(x, w, b, self.stride, self.padding)
        ),
    )
    expected = sum(
        isinstance(m, torch.nn.Conv3d) and m.kernel_size[0] == 3 for m in vae.encoder.modules()
    )
    ClipEncoder(vae)(video(1))
    assert kinds.count(3) == expected


@torch.no_grad()
def test_later_frames_change_nothing_before_them() -> None:
    vae, pixels = model(), video(13)
    altered = torch.cat((pixels[:, :, :9], video(4, seed=6)), dim=2)
    original, changed = (encode(vae, clip, [8, 4]) for clip in (pixels, altered))
    assert torch.equal(original[:, :, :3], changed[:, :, :3])
    assert deviation(original[:, :, 3:], changed[:, :, 3:]) > 1e-2
    decoded = [decode(vae, latents, [2, 1]) for latents in (original, changed)]
    assert torch.equal(decoded[0][:, :, :9], decoded[1][:, :, :9])
    assert deviation(decoded[0][:, :, 9:], decoded[1][:, :, 9:]) > 1e-2


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("upsampler", UPSAMPLERS)
@torch.no_grad()
def test_caches_keep_their_shapes(part: Part, upsampler: Upsampler) -> None:
    vae = model("frame", upsampler)
    shapes = cache_shapes(vae, part, *SIZE)
    assert all(shape[2] == 2 for shape in shapes.values())
    kind = StreamEncoder if part == "encoder" else StreamDecoder
    start, later = kind(vae, "start"), kind(vae, "next")
    cells = SIZE[0] // 8, SIZE[1] // 8
    clip = video(41) if part == "encoder" else torch.randn(1, 16, 11, *cells)
    chunks = clip.split([1] + [4 if part == "encoder" else 1] * 10, dim=2)
    _, *caches = start(chunks[0])
    for chunk in chunks[1:]:
        assert [cache.shape for cache in caches] == list(shapes.values())
        _, *caches = later(chunk, *caches)
    assert len(caches) == len(shapes)


def test_names_of_caches() -> None:
    vae = model()
    names = [*cache_shapes(vae, "encoder", 16, 16), *cache_shapes(vae, "decoder", 16, 16)]
    assert "encoder.down_blocks.0.resnets.0.conv1" in names
    modules = dict(vae.named_modules())
    kernels = {name: modules[name].conv.kernel_size for name in names}
    assert set(kernels.values()) == {(3, 3, 3)}
    every = [n for n, m in modules.items() if getattr(m, "kernel_size", None) == (3, 3, 3)]
    assert sorted(f"{name}.conv" for name in names) == sorted(every)


@torch.no_grad()
def test_clip_norms_have_the_measured_chunk_boundary_error() -> None:
    vae, pixels = model("clip"), video(9)
    measured = chunk_boundary_error(vae, [pixels], chunk=1)
    whole = vae.encode(pixels).mean
    chunks = encode(vae, pixels, [4, 4])
    assert measured.encoder.l2 == pytest.approx(float((chunks - whole).norm() / whole.norm()), 1e-4)
    assert measured.encoder.max == pytest.approx(deviation(chunks, whole), 1e-4)
    decoded, expected = decode(vae, whole, [1, 1]), vae.decode(whole)
    assert measured.decoder.l2 == pytest.approx(
        float((decoded - expected).norm() / expected.norm()), 1e-4
    )
    assert measured.decoder.max == pytest.approx(deviation(decoded, expected), 1e-4)
    for part in (measured.encoder, measured.decoder):
        assert 1e-3 < part.l2 < 10


def test_frame_norms_have_no_chunk_boundary_error() -> None:
    measured = chunk_boundary_error(model(), [video(9), video(5)], chunk=1)
    assert measured.frames == (9, 5)
    assert max(measured.encoder.max, measured.decoder.max) < 1e-5


def test_deviation_is_over_all_clips() -> None:
    outputs, whole = [torch.tensor([1.0, 2.0]), torch.tensor([4.0])], torch.tensor([1.0, 2.0])
    measured = Deviation.between(outputs, [whole, torch.tensor([2.0])])
    assert measured == Deviation(l2=(4 / 9) ** 0.5, max=1.0)


def test_streams_leave_the_model_alone() -> None:
    vae = model()
    before = {k: v.clone() for k, v in vae.state_dict().items()}
    with torch.no_grad():
        expected = vae.encode(video(5)).mean
        chunk_boundary_error(vae, [video(5)], chunk=1)
        assert torch.equal(vae.encode(video(5)).mean, expected)
    assert vae.state_dict().keys() == before.keys()
    assert all(torch.equal(v, before[k]) for k, v in vae.state_dict().items())


@pytest.mark.parametrize(
    ("form", "frames", "sentence"),
    [
        ("start", 5, "start takes 1 frame; given: 5"),
        ("next", 1, "next takes 4k frames; given: 1"),
        ("next", 6, "next takes 4k frames; given: 6"),
        ("later", 4, "form"),
    ],
)
def test_chunks_that_do_not_fit(form: str, frames: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        StreamEncoder(model(), form)(video(frames))  # type: ignore[arg-type]


def test_a_decoder_starts_with_one_latent() -> None:
    with pytest.raises(InputError, match="takes 1 latent; given: 2"):
        StreamDecoder(model(), "start")(torch.zeros(1, 16, 2, 2, 2))


@pytest.mark.parametrize(("frames", "chunk"), [(9, 3), (1, 1), (7, 1)])
def test_clips_without_a_chunk_boundary_error(frames: int, chunk: int) -> None:
    with pytest.raises(InputError, match=f"a clip of {frames} frames does not fall"):
        chunk_boundary_error(model(), [video(frames)], chunk=chunk)
    with pytest.raises(InputError, match="given 0 clips"):
        chunk_boundary_error(model(), [], chunk=chunk)
