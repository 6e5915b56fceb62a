"""The graphs for video in ONNX Runtime against the plain model in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from lavin_deploy.bundle import open_bundle
from lavin_deploy.config import TemporalNorm, Upsampler
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.export.clip import check_stream, plan_clips
from lavin_deploy.models.seam import seam_error
from lavin_deploy.models.stream import cache_shapes
from lavin_deploy.runtime.onnxruntime_backend import OnnxRuntimeBackend
from tests.helpers.clips import SIZE, clip_model, draw, trace_clip, video, write_clips

pytestmark = pytest.mark.parity

NAMES = [
    "clip_encoder",
    "clip_decoder",
    "encoder_start",
    "encoder_next",
    "decoder_start",
    "decoder_next",
]


# Every norm, every up-sampler; a chunk of one latent has layers that see a single frame.
@pytest.mark.parametrize(
    ("norm", "upsampler", "chunk"),
    [("frame", "resize_conv", 1), ("frame", "deconv", 2), ("clip", "deconv", 1)],
)
@torch.no_grad()
def test_graphs_compute_what_the_model_does(
    norm: TemporalNorm, upsampler: Upsampler, chunk: int
) -> None:
    vae = clip_model(norm, upsampler)
    plans = list(plan_clips(vae, [SIZE], chunk, [5]))
    assert [plan.name for plan in plans] == NAMES
    for plan in plans:
        model = trace_clip(plan)
        assert {node.domain for node in model.graph.node} == {""}
        shapes = {
            i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim)
            for i in model.graph.input
        }
        assert shapes == plan.inputs
        inputs = draw(plan, 1)
        session = ort.InferenceSession(model.SerializeToString())
        given = session.run(list(plan.outputs), {n: t.numpy() for n, t in inputs.items()})
        for name, array, wanted in zip(plan.outputs, given, plan.reference(**inputs), strict=True):
            error = np.abs(array - wanted.numpy()).max() / wanted.abs().max()
            assert error < 1e-5, (plan.name, name)


def test_caches_are_named_after_their_convolutions() -> None:
    vae = clip_model()
    for part in ("encoder", "decoder"):
        start, later = (p for p in plan_clips(vae, [SIZE], 1, []) if p.name.startswith(part))
        caches = cache_shapes(vae, part, *SIZE)
        assert len(start.inputs) == 1
        assert start.outputs[1:] == later.outputs[1:] == tuple(f"cache_out.{n}" for n in caches)
        taken = {n: s for n, s in later.inputs.items() if n.startswith("cache.")}
        assert taken == {f"cache.{n}": s for n, s in caches.items()}
        onnx.checker.check_model(trace_clip(later), full_check=True)


def test_a_clip_of_one_frame_keeps_its_3d_convolutions() -> None:
    vae = clip_model()
    encoder = next(plan_clips(vae, [SIZE], 1, [1]))
    weights = {
        tuple(i.dims)
        for i in trace_clip(encoder).graph.initializer
        if tuple(i.dims)[-3:] == (3,) * 3
    }
    assert weights
    with torch.no_grad():
        mean = encoder.build()(video(1))
        torch.testing.assert_close(mean, vae.encode(video(1)).mean, rtol=1e-4, atol=1e-5)


def test_streams_through_graphs_are_the_whole_clip(tmp_path: Path) -> None:
    vae = clip_model()
    write_clips(tmp_path / "clips.lavin", vae, chunk=2)
    with (
        open_bundle(tmp_path / "clips.lavin") as bundle,
        OnnxRuntimeBackend(bundle, bundle.variant()) as backend,
    ):
        measured = check_stream(vae, backend, [video(9), video(17, seed=6)])
        assert (measured.chunk, measured.frames) == (2, (9, 17))
        assert max(measured.encoder.max, measured.decoder.max) < 1e-5
        with torch.no_grad():
            vae.encoder.mid_block.resnets[1].conv2.conv.weight[:, :, 0] *= 1.01
        with pytest.raises(WorkError, match="stream graphs at 16x24 are wrong: pieces of 8 frames"):
            check_stream(vae, backend, [video(9)])


def test_seams_through_graphs_are_those_of_the_model(tmp_path: Path) -> None:
    vae = clip_model("clip")
    write_clips(tmp_path / "clips.lavin", vae, chunk=1)
    with (
        open_bundle(tmp_path / "clips.lavin") as bundle,
        OnnxRuntimeBackend(bundle, bundle.variant()) as backend,
    ):
        measured = check_stream(vae, backend, [video(9)])
    wanted = seam_error(vae, [video(9)], chunk=1)
    assert measured.encoder.l2 == pytest.approx(wanted.encoder.l2, rel=1e-3)
    assert measured.decoder.max == pytest.approx(wanted.decoder.max, rel=1e-3)
    assert min(measured.encoder.l2, measured.decoder.l2) > 1e-3


@pytest.mark.parametrize(
    ("size", "chunk", "length", "sentence"),
    [
        ((16, 20), 1, 5, "16x20 cannot be exported"),
        ((16, 16), 0, 5, "pieces of 0 latents"),
        ((16, 16), 1, 8, "clips of 8 frames"),
    ],
)
def test_what_cannot_be_exported(
    size: tuple[int, int], chunk: int, length: int, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        list(plan_clips(clip_model(), [size], chunk, [length]))
