"""The graphs for video in ONNX Runtime against the plain model in torch."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import pytest
import torch

from lavin_deploy.config import TemporalNorm, Upsampler
from lavin_deploy.errors import InputError
from lavin_deploy.export.checks.backends import low_outputs
from lavin_deploy.export.checks.interpreter import Interpreter
from lavin_deploy.export.graphs.clip import clip_specs
from lavin_deploy.export.graphs.trace import trace
from lavin_deploy.export.precision.lowering import Lowering, lower
from lavin_deploy.models.stream import cache_shapes
from tests.helpers.clips import SIZE, clip_model, save, video

pytestmark = pytest.mark.parity

NAMES = [
    "clip_encoder",
    "clip_decoder",
    "encoder_start",
    "encoder_next",
    "decoder_start",
    "decoder_next",
]
BOUNDS = {"fp32": 1e-5, "fp16": 3e-3}
"""Relative L2; that of fp16 is about three times its unit roundoff."""


# Every norm, every up-sampler; a chunk of one latent has layers that see a single frame. Whole
# exports have chunks of two.
@pytest.mark.parametrize(
    ("norm", "upsampler", "chunk"),
    [("frame", "resize_conv", 1), ("clip", "deconv", 1)],
)
@torch.no_grad()
def test_graphs_compute_what_the_model_does(
    norm: TemporalNorm, upsampler: Upsampler, chunk: int, tmp_path: Path
) -> None:
    vae = clip_model(norm, upsampler)
    specs = list(clip_specs(vae, [SIZE], chunk, [5]))
    assert [spec.name for spec in specs] == NAMES
    for spec in specs:
        traced = trace(spec)
        assert {node.domain for node in traced.model.graph.node} == {""}
        shapes = {
            i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim)
            for i in traced.model.graph.input
        }
        assert shapes == spec.inputs
        example = spec.example(1)
        expected = spec.reference(**example.model_inputs)
        for precision, bound in BOUNDS.items():
            folder = tmp_path / f"{spec.name}-{precision}"
            lowered = traced if precision == "fp32" else lower(traced, Lowering(low="fp16"))
            model = save(lowered, folder)
            assert any(low_outputs(model.graph)) == (precision == "fp16")
            session = ort.InferenceSession(folder / "graph.onnx")
            in_onnxruntime = session.run(list(spec.outputs), example.feed)
            in_torch = Interpreter(model, folder).run(example.model_inputs)
            for name, array, reference in zip(spec.outputs, in_onnxruntime, expected, strict=True):
                for answer in (torch.from_numpy(array), in_torch[name]):
                    assert answer.dtype == torch.float32
                    error = (answer - reference).norm() / reference.norm()
                    assert error < bound, (spec.name, name, precision)


def test_caches_are_named_after_their_convolutions() -> None:
    vae = clip_model()
    for part in ("encoder", "decoder"):
        start, later = (p for p in clip_specs(vae, [SIZE], 1, []) if p.name.startswith(part))
        caches = cache_shapes(vae, part, *SIZE)
        assert len(start.inputs) == 1
        assert start.outputs[1:] == later.outputs[1:] == tuple(f"cache_out.{n}" for n in caches)
        taken = {n: s for n, s in later.inputs.items() if n.startswith("cache.")}
        assert taken == {f"cache.{n}": s for n, s in caches.items()}


def test_a_clip_of_one_frame_keeps_its_3d_convolutions() -> None:
    vae = clip_model()
    encoder = next(clip_specs(vae, [SIZE], None, [1]))
    model = trace(encoder).model
    assert {tuple(i.dims)[2:] for i in model.graph.initializer if len(i.dims) == 5} >= {(3, 3, 3)}
    with torch.no_grad():
        mean = encoder.build()(video(1))
        torch.testing.assert_close(mean, vae.encode(video(1)).mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "chunk", "length", "sentence"),
    [
        ((16, 20), 1, 5, "16x20 cannot be exported"),
        ((16, 16), 0, 5, "chunks of 0 latents"),
        ((16, 16), None, 8, "clips of 8 frames"),
    ],
)
def test_what_cannot_be_exported(
    size: tuple[int, int], chunk: int | None, length: int, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        list(clip_specs(clip_model(), [size], chunk, [length]))
