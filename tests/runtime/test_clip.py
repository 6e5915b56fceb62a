"""Streams of frames and latents through a bundle's graphs, however they are pushed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lavin_deploy.arrays import F32
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.errors import BundleError, InputError
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from lavin_deploy.runtime.clip import ClipStream, Part
from tests.helpers.bundles import edit
from tests.helpers.clips import SIZE, clip_model, video, write_clips

pytestmark = pytest.mark.unit
HEIGHT, WIDTH = SIZE


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    """Norms per frame; chunks of 2 latents or 8 frames."""
    path = tmp_path_factory.mktemp("clips") / "clips.lavin"
    write_clips(path, clip_model(), chunk=2)
    with open_bundle(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def backend(bundle: Bundle) -> Iterator[Backend]:
    with OnnxRuntimeBackend(bundle, bundle.variant(), threads=1) as active:
        yield active


def stream(backend: Backend, part: Part) -> ClipStream:
    return ClipStream(backend, part, height=HEIGHT, width=WIDTH)


def whole(frames: int) -> tuple[F32, F32, F32]:
    """A video, its latents and those decoded, by the plain model."""
    vae, pixels = clip_model(), video(frames)
    with torch.no_grad():
        latents = vae.encode(pixels).mean
        return pixels.numpy(), latents.numpy(), vae.decode(latents).numpy()


def run(codec: ClipStream, clip: F32, sizes: list[int]) -> list[F32]:
    assert sum(sizes) == clip.shape[2]
    ends = np.cumsum(sizes)[:-1]
    return [*(codec.push(chunk) for chunk in np.split(clip, ends, axis=2)), codec.finish()]


def assert_same(answers: list[F32], expected: F32) -> None:
    joined = np.concatenate(answers, axis=2)
    assert joined.shape == expected.shape
    assert joined.dtype == np.float32
    assert np.abs(joined - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    "sizes", [[17], [1, 8, 8], [9, 8], [5, 8, 4], [1] * 17, [3, 0, 13, 1]], ids=str
)
def test_frames_pushed_in_any_way(backend: Backend, sizes: list[int]) -> None:
    pixels, latents, _ = whole(17)
    assert_same(run(stream(backend, "encoder"), pixels, sizes), latents)


@pytest.mark.parametrize("sizes", [[5], [1, 2, 2], [3, 2], [1] * 5], ids=str)
def test_latents_pushed_in_any_way(backend: Backend, sizes: list[int]) -> None:
    _, latents, expected = whole(17)
    assert_same(run(stream(backend, "decoder"), latents, sizes), expected)


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_a_last_chunk_that_is_not_full(backend: Backend, frames: int) -> None:
    pixels, latents, expected = whole(frames)
    assert_same(run(stream(backend, "encoder"), pixels, [frames]), latents)
    assert_same(run(stream(backend, "decoder"), latents, [latents.shape[2]]), expected)


def test_answers_come_as_soon_as_a_chunk_is_full(backend: Backend) -> None:
    codec = stream(backend, "encoder")
    assert codec.chunk == 8
    counts = [codec.push(frame).shape[2] for frame in np.split(video(17).numpy(), 17, axis=2)]
    assert counts == [1] + ([0] * 7 + [2]) * 2
    assert codec.finish().shape == (1, 16, 0, HEIGHT // 8, WIDTH // 8)


def test_one_video_after_another(backend: Backend) -> None:
    codec = stream(backend, "encoder")
    pixels, latents, _ = whole(9)
    codec.push(video(5, seed=8).numpy())
    codec.reset()
    assert_same(run(codec, pixels, [9]), latents)
    assert_same(run(codec, pixels, [4, 5]), latents)


def test_a_long_video_takes_no_more_memory(backend: Backend) -> None:
    codec, sizes = stream(backend, "decoder"), set()
    rng = np.random.default_rng(0)
    for _ in range(12):
        codec.push(rng.standard_normal((1, 16, 2, HEIGHT // 8, WIDTH // 8)).astype(np.float32))
        sizes.add((sum(c.nbytes for c in codec._caches.values()), codec._waiting.nbytes))
    assert sizes == {(codec.cache_bytes, 16 * HEIGHT // 8 * WIDTH // 8 * 4)}


def test_a_video_that_does_not_round_trip_may_be_pushed_on(backend: Backend) -> None:
    codec = stream(backend, "encoder")
    pixels, latents, _ = whole(13)
    begin = codec.push(pixels[:, :, :11])
    with pytest.raises(InputError, match=r"11 frames does not round-trip; push 2 more"):
        codec.finish()
    assert_same([begin, codec.push(pixels[:, :, 11:]), codec.finish()], latents)


@pytest.mark.parametrize(
    "clip",
    [
        np.zeros((1, 3, 4, HEIGHT, WIDTH)),
        np.zeros((1, 3, 4, WIDTH, HEIGHT), np.float32),
        np.zeros((3, 4, HEIGHT, WIDTH), np.float32),
    ],
)
def test_clips_of_another_kind(backend: Backend, clip: F32) -> None:
    codec = stream(backend, "encoder")
    with pytest.raises(InputError, match=r"takes float32 \(1, 3, any number, 16, 32\); given: "):
        codec.push(clip)


def test_a_bundle_without_stream_graphs(backend: Backend) -> None:
    with pytest.raises(BundleError, match="no graph 'encoder_start' for 32x32"):
        ClipStream(backend, "encoder", height=32, width=32)


def test_caches_that_do_not_fit_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "clips.lavin"
    shutil.copytree(bundle.path, path)

    def widen(data: dict[str, Any]) -> None:
        graph = next(g for g in data["variants"][0]["graphs"] if g["name"] == "encoder_start")
        graph["outputs"][1]["shape"][1] += 1

    edit(path, widen)
    with open_bundle(path) as opened:
        odd = OnnxRuntimeBackend(opened, opened.variant())
        with pytest.raises(BundleError, match=r"does not leave the cache 'encoder\.conv_in' as"):
            stream(odd, "encoder")
