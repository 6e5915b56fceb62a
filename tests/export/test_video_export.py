"""Video through whole exports: streams in any chunks, their boundary errors, whole clips."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from lavin_deploy.arrays import F32
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.cli.export import export
from lavin_deploy.config import TemporalNorm
from lavin_deploy.errors import BundleError, InputError, WorkError
from lavin_deploy.export.graphs.clip import check_stream, draw_clips
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from lavin_deploy.runtime.clip import ClipStream, Part
from lavin_deploy.runtime.letterbox import Letterbox, to_pixels
from lavin_deploy.runtime.video.reader import VideoReader
from tests.helpers.checkpoints import random_models, write_released
from tests.helpers.chunks import chunk_boundary_error
from tests.helpers.clips import SIZE, clip_config, clip_model, video
from tests.helpers.shared import made_once

pytestmark = pytest.mark.parity
HEIGHT, WIDTH = SIZE
SAMPLE = Path(__file__).parents[2] / "examples" / "sample.mp4"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A bundle by ``lavin-export``, active, beside its model and what the command printed."""

    vae: STVAE
    backend: Backend
    printed: str


def exported(factory: pytest.TempPathFactory, norm: TemporalNorm, video: str) -> Iterator[Exported]:
    config = clip_config(norm)

    def make(folder: Path) -> None:
        write_released(folder / "ckpt", config)
        words = f"--ckpt {folder}/ckpt --out {folder}/m.lavin --size {HEIGHT}x{WIDTH} --pairs 1"
        words += f" --steps 3 --guidance 1 {video}"
        result = CliRunner().invoke(export, words.split(), catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        (folder / "printed").write_text(result.stdout)

    folder = made_once(factory, f"video-{norm}", make)
    with (
        open_bundle(folder / "m.lavin") as bundle,
        OnnxRuntimeBackend(bundle, bundle.variant(), threads=1) as backend,
    ):
        printed = (folder / "printed").read_text()
        yield Exported(vae=random_models(config)[1], backend=backend, printed=printed)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """Norms per frame; chunks of 2 latents."""
    yield from exported(tmp_path_factory, "frame", "--stream 2 --clip 5 --clip 9")


@pytest.fixture(scope="module")
def over_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """Norms over time; chunks of 1 latent."""
    yield from exported(tmp_path_factory, "clip", "--stream 1")


def through(backend: Backend, part: Part, clip: F32, cuts: list[int]) -> F32:
    """The answer of a stream that is pushed in parts which end at the cuts."""
    codec = ClipStream(backend, part, height=HEIGHT, width=WIDTH)
    answers = [codec.push(part) for part in np.split(clip, sorted(cuts), axis=2)]
    return np.concatenate([*answers, codec.finish()], axis=2)


def off(output: F32, expected: torch.Tensor) -> float:
    assert output.shape == expected.shape
    return float(np.abs(output - expected.numpy()).max() / expected.abs().max())


@settings(deadline=None, max_examples=12)
@given(k=st.integers(0, 6), cuts=st.lists(st.integers(0, 25), max_size=5), seed=st.integers(0, 99))
def test_a_stream_is_the_whole_clip_however_it_is_cut(
    exact: Exported, k: int, cuts: list[int], seed: int
) -> None:
    pixels = video(4 * k + 1, seed)
    with torch.no_grad():
        latents = exact.vae.encode(pixels).mean
        decoded = exact.vae.decode(latents)
    assert off(through(exact.backend, "encoder", pixels.numpy(), cuts), latents) < 1e-5
    assert off(through(exact.backend, "decoder", latents.numpy(), cuts), decoded) < 1e-5


def test_frames_of_a_real_video(exact: Exported) -> None:
    with VideoReader(SAMPLE) as reader:
        images = [frame.image for frame in itertools.islice(reader, 13)]
    box = Letterbox(source=images[0].shape[:2], bucket=SIZE)
    pixels = np.concatenate([to_pixels(box.forward(image)) for image in images], axis=2)
    with torch.no_grad():
        latents = exact.vae.encode(torch.from_numpy(pixels)).mean
        decoded = exact.vae.decode(latents)
    coded = through(exact.backend, "encoder", pixels, [6, 10])
    assert off(coded, latents) < 1e-5
    assert off(through(exact.backend, "decoder", latents.numpy(), [2]), decoded) < 1e-5


def test_memory_does_not_grow_with_the_video(exact: Exported) -> None:
    held = set()
    for frames in (9, 41):
        codec = ClipStream(exact.backend, "encoder", height=HEIGHT, width=WIDTH)
        codec.push(video(frames).numpy())
        held.add((codec.cache_bytes, sum(c.nbytes for c in codec._caches.values())))
    assert held == {(codec.cache_bytes, codec.cache_bytes)}


def test_the_export_measured_that_streams_are_exact(exact: Exported) -> None:
    stream = exact.backend.variant.stream
    assert stream is not None
    assert (stream.chunk, set(stream.frames)) == (2, {17})
    assert max(stream.encoder.max, stream.decoder.max) < 1e-5
    assert f"streams (fp32, norms per frame): {stream}" in exact.printed


def test_the_export_measured_the_chunk_boundary_errors(over_time: Exported) -> None:
    stream = over_time.backend.variant.stream
    assert stream is not None
    expected = chunk_boundary_error(over_time.vae, draw_clips(*SIZE, 1), chunk=1)
    assert (stream.chunk, stream.frames) == (expected.chunk, expected.frames) == (1, (9, 9))
    for part in ("encoder", "decoder"):
        measured, of_model = getattr(stream, part), getattr(expected, part)
        assert measured.l2 == pytest.approx(of_model.l2, rel=1e-3)
        assert measured.max == pytest.approx(of_model.max, rel=1e-3)
        assert 1e-3 < measured.l2 < 10
    assert f"streams (fp32, norms over time): {stream}" in over_time.printed
    assert f"{stream.encoder.l2:.2e} of the latents" in over_time.printed


def test_whole_clips_are_the_models(exact: Exported) -> None:
    variant = exact.backend.variant
    for frames in (5, 9):
        place = {"height": HEIGHT, "width": WIDTH, "frames": frames}
        pixels = video(frames)
        with torch.no_grad():
            latents = exact.vae.encode(pixels).mean
            decoded = exact.vae.decode(latents)
        encoder, decoder = (variant.graph(f"clip_{p}", **place) for p in ("encoder", "decoder"))
        assert off(exact.backend.infer_one(encoder, pixels=pixels.numpy()), latents) < 1e-5
        assert off(exact.backend.infer_one(decoder, latents=latents.numpy()), decoded) < 1e-5


def test_every_video_graph_was_checked(exact: Exported) -> None:
    rows = exact.backend.bundle.manifest.report["parity"]
    checked = {row["graph"].partition(":")[0] for row in rows if row["max"] < 1e-5}
    files = {graph.file for graph in exact.backend.variant.graphs if graph.frames}
    assert files == {
        f"graphs/{stem}.onnx"
        for stem in (
            *(f"clip_{part}-16x32-f{n}" for part in ("encoder", "decoder") for n in (5, 9)),
            *(f"{part}_start-16x32-f1" for part in ("encoder", "decoder")),
            *(f"{part}_next-16x32-f8" for part in ("encoder", "decoder")),
        )
    }
    assert files <= checked


def test_graphs_are_found_by_their_frames(exact: Exported) -> None:
    variant, size = exact.backend.variant, {"height": HEIGHT, "width": WIDTH}
    assert variant.graph("clip_encoder", **size, frames=9).inputs[0].shape[2] == 9
    assert variant.graph("encoder_next", **size).frames == 8
    with pytest.raises(BundleError, match="has 2 graphs 'clip_encoder' for 16x32; it has: 16x32 w"):
        variant.graph("clip_encoder", **size)
    with pytest.raises(BundleError, match="no graph 'clip_encoder' for 16x32 with 13 frames; it"):
        variant.graph("clip_encoder", **size, frames=13)


def test_a_stream_graph_that_is_wrong_is_refused(exact: Exported) -> None:
    vae = clip_model()
    with torch.no_grad():
        vae.encoder.mid_block.resnets[1].conv2.conv.weight[:, :, 0] *= 1.01
    with pytest.raises(WorkError, match="stream graphs at 16x32 are wrong: chunks of 8 frames"):
        check_stream(vae, exact.backend, [video(9)])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--clip", "6"], "clips of 6 frames cannot be exported; give 4k"),
        (["--clip", "5", "--clip", "5"], "a clip length is given twice"),
        (["--stream", "0"], "chunks of 0 latents cannot be exported"),
    ],
)
def test_video_that_cannot_be_exported(golden: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        export(["--ckpt", str(golden), "--size", "32x32", *words], standalone_mode=False)
