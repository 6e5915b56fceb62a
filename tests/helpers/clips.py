"""A real bundle with nothing but graphs for video, of a tiny model with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import torch

from lavin_deploy.bundle.manifest import (
    Bucket,
    Defaults,
    Graph,
    Latent,
    Manifest,
    Tensor,
    Time,
    Variant,
    WeightSource,
)
from lavin_deploy.bundle.writer import BundleWriter
from lavin_deploy.config import DiTConfig, ModelConfig, TemporalNorm, Upsampler, preset
from lavin_deploy.export.graphs.clip import clip_specs
from lavin_deploy.export.graphs.trace import Traced, trace
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.models.stvae import STVAE
from tests.helpers.checkpoints import random_models

SIZE = (16, 32)


def clip_config(norm: TemporalNorm = "frame", upsampler: Upsampler = "resize_conv") -> ModelConfig:
    """A tiny ST-VAE beside a J-DiT that is as small as one can be."""
    vae = replace(preset("tiny").vae, temporal_norm=norm, upsampler=upsampler)
    return ModelConfig(dit=DiTConfig(hidden_size=48, depth=1, num_heads=2, kv_group=2), vae=vae)


def clip_model(norm: TemporalNorm = "frame", upsampler: Upsampler = "resize_conv") -> STVAE:
    """A tiny ST-VAE whose every weight is random."""
    return random_models(clip_config(norm, upsampler))[1]


def video(frames: int, seed: int = 5) -> torch.Tensor:
    """Noise (1, 3, frames, *SIZE) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, frames, *SIZE, generator=generator) * 2 - 1


def save(traced: Traced, folder: Path) -> onnx.ModelProto:
    """Write ``graph.onnx`` and its weights into a new folder, and check the file."""
    model = WeightFile(folder / "all.weights").externalise(traced)
    onnx.save(model, folder / "graph.onnx")
    onnx.checker.check_model(folder / "graph.onnx", full_check=True)
    return model


def write_clips(path: Path, vae: STVAE, chunk: int, lengths: Sequence[int] = ()) -> Manifest:
    """Write the bundle of all graphs for video at ``SIZE``."""
    with BundleWriter(path) as writer:
        graphs = []
        weights = WeightFile(writer.folder / "graphs" / "all.weights")
        for spec in clip_specs(vae, [SIZE], chunk, lengths):
            model = weights.externalise(trace(spec))
            file = f"graphs/{spec.stem}.onnx"
            writer.add_file(file, model.SerializeToString())
            graphs.append(
                Graph(
                    name=spec.name,
                    file=file,
                    inputs=_specs(model.graph.input),
                    outputs=_specs(model.graph.output),
                    **spec.bucket,
                )
            )
        writer.claim("graphs/all.weights")
        variant = Variant(
            precision="fp32",
            dialect="native",
            weights=("graphs/all.weights",),
            graphs=tuple(graphs),
        )
        return writer.finish(
            Manifest(
                name="clips",
                created_by="tests",
                licence="CC0-1.0",
                source=WeightSource(kind="random", sha256="0" * 64),
                model=preset("tiny").to_dict(),
                latent=Latent(shift=0.0, scale=1.0),
                time=Time(kind="uniform", default_grid=(0.0, 1.0)),
                defaults=Defaults(steps=1, precision="fp32", pairs=1, size=SIZE),
                buckets=(Bucket(height=SIZE[0], width=SIZE[1], pairs=1),),
                variants=(variant,),
                tables={},
            )
        )


def _specs(infos: Sequence[onnx.ValueInfoProto]) -> tuple[Tensor, ...]:
    def shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
        return tuple(d.dim_value for d in info.type.tensor_type.shape.dim)

    return tuple(Tensor(name=i.name, dtype="float32", shape=shape(i)) for i in infos)
