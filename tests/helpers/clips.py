"""A real bundle with nothing but graphs for video, of a tiny model with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import torch

from lavin_deploy.bundle import BundleWriter
from lavin_deploy.config import ModelConfig, TemporalNorm, Upsampler, preset
from lavin_deploy.export.clip import plan_clips
from lavin_deploy.export.plan import GraphPlan
from lavin_deploy.export.trace import OPSET, _quiet
from lavin_deploy.manifest import (
    Bucket,
    Defaults,
    Graph,
    Latent,
    Manifest,
    Source,
    Tensor,
    Time,
    Variant,
)
from lavin_deploy.models.stvae import STVAE
from tests.helpers.checkpoints import random_models

SIZE = (16, 24)


def clip_model(norm: TemporalNorm = "frame", upsampler: Upsampler = "resize_conv") -> STVAE:
    """A tiny ST-VAE whose every weight is random."""
    tiny = preset("tiny")
    vae = replace(tiny.vae, temporal_norm=norm, upsampler=upsampler)
    return random_models(ModelConfig(dit=tiny.dit, vae=vae))[1]


def video(frames: int, seed: int = 5) -> torch.Tensor:
    """Noise (1, 3, frames, *SIZE) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, frames, *SIZE, generator=generator) * 2 - 1


def draw(plan: GraphPlan, seed: int) -> dict[str, torch.Tensor]:
    """Seeded inputs, all N(0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in plan.inputs.items()}


def trace_clip(plan: GraphPlan) -> onnx.ModelProto:
    """Trace to ONNX."""
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            plan.build().eval(),
            tuple(draw(plan, 0).values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(plan.inputs),
            output_names=list(plan.outputs),
            verbose=False,
        )
        assert program is not None
        program.optimize()
    return program.model_proto


def write_clips(path: Path, vae: STVAE, chunk: int, lengths: Sequence[int] = ()) -> Manifest:
    """Write the bundle of all graphs for video at ``SIZE``."""
    with BundleWriter(path) as writer:
        graphs = []
        for plan in plan_clips(vae, [SIZE], chunk, lengths):
            model = trace_clip(plan)
            file = f"graphs/{plan.stem}.onnx"
            writer.add_file(file, model.SerializeToString())
            graphs.append(
                Graph(
                    name=plan.name,
                    file=file,
                    inputs=_specs(model.graph.input),
                    outputs=_specs(model.graph.output),
                    **plan.bucket,
                )
            )
        return writer.finish(
            Manifest(
                name="clips",
                created_by="tests",
                licence="CC0-1.0",
                source=Source(kind="random", sha256="0" * 64),
                model=preset("tiny").to_dict(),
                latent=Latent(shift=0.0, scale=1.0),
                time=Time(kind="uniform", default_grid=(0.0, 1.0)),
                defaults=Defaults(steps=1, precision="fp32", pairs=1, size=SIZE),
                buckets=(Bucket(height=SIZE[0], width=SIZE[1], pairs=1),),
                variants=(Variant(precision="fp32", dialect="native", graphs=tuple(graphs)),),
                tables={},
            )
        )


def _specs(infos: Sequence[onnx.ValueInfoProto]) -> tuple[Tensor, ...]:
    def shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
        return tuple(d.dim_value for d in info.type.tensor_type.shape.dim)

    return tuple(Tensor(name=i.name, dtype="float32", shape=shape(i)) for i in infos)
