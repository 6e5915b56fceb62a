"""From a checkpoint to a bundle: trace, check every graph and whole answers, write atomically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from tqdm import tqdm

from lavin_deploy import __version__, manifest
from lavin_deploy.bundle import Bundle, BundleWriter
from lavin_deploy.bundle_io.store import FolderStore
from lavin_deploy.config import ContextMode, ModelConfig
from lavin_deploy.errors import InputError
from lavin_deploy.export.clip import check_video, measure_streams
from lavin_deploy.export.end_to_end import answer_by_graphs, answer_by_models, check_answers
from lavin_deploy.export.graphs import GraphChoice, plan_graphs
from lavin_deploy.export.parity import Parity, check_graph
from lavin_deploy.export.refresh import measure_refresh
from lavin_deploy.export.savings import ALL, Savings
from lavin_deploy.export.stored_tasks import add_tasks
from lavin_deploy.export.trace import trace
from lavin_deploy.export.validation import add_validation, read_validation
from lavin_deploy.export.weights import WeightFile
from lavin_deploy.flow.grids import Grid, grid_for
from lavin_deploy.flow.guidance import check_weight
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.create_task import npy
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.onnxruntime_backend import OnnxRuntimeBackend
from lavin_deploy.runtime.sampler import Sampler
from lavin_deploy.tasks.stored import StoredTask

PRECISION, DIALECT = "fp32", "native"
TABLE = "tables/modulation.npy"


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to export.

    Attributes:
        name: name of the bundle.
        out: folder to write, ``NAME.lavin``.
        config: the model's config.
        source: kind and sha256 of the weights.
        licence: of the weights, as text.
        sizes: (H, W) in pixels, multiples of 16; the first is the default.
        pairs: numbers of example pairs; the first is the default.
        steps: default model evaluations.
        guidance: default weight.
        context: ``joint`` or ``frozen``, see :class:`GraphChoice`.
        refresh: for ``frozen`` exports of joint models: evaluations from one computation of the
            context to the next.
        euler: also export a step with the Euler update inside.
        savings: what the graphs leave out.
        clips: frames of whole clips to encode and decode at once, each 4k + 1.
        stream: latents of a stream's piece (4 frames each); None: no stream graphs.
        model_card: README.md of the bundle, or None.
        tasks: tasks to store, each with the folder of its pairs.
        validation: folder of held-out samples to store, one folder per task, or None.
    """

    name: str
    out: Path
    config: ModelConfig
    source: manifest.Source
    licence: str
    sizes: Sequence[tuple[int, int]]
    pairs: Sequence[int]
    steps: int
    guidance: float
    context: ContextMode = "joint"
    refresh: int = 4
    euler: bool = False
    savings: Savings = ALL
    clips: Sequence[int] = ()
    stream: int | None = None
    model_card: str | None = None
    tasks: Sequence[tuple[StoredTask, Path]] = ()
    validation: Path | None = None

    def __post_init__(self) -> None:
        for height, width in self.sizes:
            if height < 16 or width < 16 or height % 16 or width % 16:
                raise InputError(
                    f"size {height}x{width} cannot be exported; both sides must be multiples of 16."
                )
        if any(count < 1 for count in self.pairs):
            raise InputError(f"pairs {list(self.pairs)} must all be at least 1.")
        for name, given in (("size", self.sizes), ("pairs", self.pairs)):
            if len(set(given)) != len(given):
                raise InputError(f"a {name} is given twice: {list(given)}; give each once.")
        if self.context == "joint" and self.config.dit.context == "frozen":
            raise InputError(
                "this model was trained with a frozen context and cannot be exported as a joint "
                "one; use --context frozen."
            )
        if self.context == "frozen" and self.savings != ALL:
            raise InputError("savings can be switched off in joint exports only; use one of both.")
        if self.refresh < 1:
            raise InputError(f"refresh is {self.refresh}; it counts evaluations and is at least 1.")
        check_video(self.clips, self.stream)
        check_weight(self.guidance)
        grid_for(self.steps, self.config.inference.grid)


def export_bundle(dit: JDiT, vae: STVAE, request: ExportRequest) -> manifest.Manifest:
    """Trace all graphs, check them, and write the bundle.

    Raises:
        InputError: sizes, pairs or steps that cannot be had.
        WorkError: a graph or a whole answer deviates from the model; nothing is left behind.
    """
    samples = read_validation(request.validation, [task.name for task, _ in request.tasks])
    choice = GraphChoice(
        sizes=request.sizes,
        pairs=request.pairs,
        context=request.context,
        euler=request.euler,
        savings=request.savings,
        clips=request.clips,
        chunk=request.stream,
    )
    plans = list(plan_graphs(dit, vae, choice))
    grid = grid_for(request.steps, request.config.inference.grid)
    with BundleWriter(request.out) as writer:
        weights = WeightFile(writer.folder / "graphs" / f"{PRECISION}.weights")
        graphs = []
        for plan in tqdm(plans, desc="trace", unit="graph", disable=None):
            model = weights.externalise(trace(plan))
            file = f"graphs/{plan.stem}.onnx"
            onnx.save(model, writer.folder / file)
            writer.claim(file)
            graphs.append(_describe(file, plan.name, plan.bucket, model))
        writer.claim(f"graphs/{weights.path.name}")
        draft = replace(_manifest(request, graphs, grid, weights), files=writer.files)
        bundle = Bundle(FolderStore(writer.folder, unfinished=True), draft)
        variant = draft.variants[0]
        rows: list[Parity] = []
        for plan, graph in zip(tqdm(plans, desc="check", disable=None), graphs, strict=True):
            with OnnxRuntimeBackend(bundle, variant) as backend:  # one graph in memory at a time
                rows += check_graph(plan, backend, graph)
        with OnnxRuntimeBackend(bundle, variant) as backend:
            defaults, modulation = draft.defaults, Modulation(backend, draft)
            codecs = {size: Codec(backend, draft.latent, *size) for size in request.sizes}
            height, width = defaults.size
            sampler = Sampler(backend, modulation, height=height, width=width, pairs=defaults.pairs)
            answer = answer_by_graphs(codecs[defaults.size], sampler, draft.latent, defaults, grid)
            wanted = answer_by_models(dit, vae, defaults, answer.noise, grid)
            rows += check_answers(answer, wanted)
            times = grid[:-1] if request.context == "joint" else grid
            table = np.concatenate([modulation.row(t) for t in times])
            encoders = {size: codec.encode for size, codec in codecs.items()}
            tasks = add_tasks(writer, request.tasks, encoders, min(request.pairs))
            stream = measure_streams(vae, backend, request.sizes, request.stream)
        variant = replace(variant, stream=stream)
        draft = replace(draft, variants=(variant,))
        selftest = {}
        for name in ("context", "noise", "latents", "pixels"):
            selftest[name] = f"selftest/{name}.npy"
            writer.add_file(selftest[name], npy(getattr(answer, name)))
        writer.add_file(TABLE, npy(table))
        if request.model_card is not None:
            writer.add_file("README.md", request.model_card.encode())
        validation = add_validation(writer, samples)
        if variant.refresh is not None:
            tried = measure_refresh(bundle, variant, request.refresh, answer, wanted, grid)
            draft = replace(draft, variants=(replace(variant, refresh=tried),))
        return writer.finish(
            replace(
                draft,
                tables={"modulation": manifest.Table(file=TABLE, grid=tuple(map(float, times)))},
                tasks=tasks,
                validation=validation,
                selftest=selftest,
                report={"parity": [row.to_dict() for row in rows], "versions": _versions()},
            )
        )


def _versions() -> dict[str, str]:
    return {m.__name__: str(m.__version__) for m in (torch, onnx, ort)}


def _refreshes(request: ExportRequest) -> bool:
    return request.context == "frozen" and request.config.dit.context == "joint"


def _describe(
    file: str, name: str, bucket: Mapping[str, int | None], model: onnx.ModelProto
) -> manifest.Graph:
    """The manifest's entry of a traced graph; inputs that a run need not give are left out."""
    stored = {tensor.name for tensor in model.graph.initializer}

    def tensors(infos: Any) -> tuple[manifest.Tensor, ...]:
        return tuple(
            manifest.Tensor(
                name=info.name,
                dtype="float32",
                shape=tuple(d.dim_value for d in info.type.tensor_type.shape.dim),
            )
            for info in infos
            if info.name not in stored
        )

    return manifest.Graph(
        name=name,
        file=file,
        inputs=tensors(model.graph.input),
        outputs=tensors(model.graph.output),
        **bucket,
    )


def _manifest(
    request: ExportRequest, graphs: Sequence[manifest.Graph], grid: Grid, weights: WeightFile
) -> manifest.Manifest:
    """The manifest without what the checks and the tasks add."""
    config = request.config
    return manifest.Manifest(
        name=request.name,
        created_by=f"lavin-deploy {__version__}",
        licence=request.licence,
        source=request.source,
        model=config.to_dict(),
        latent=manifest.Latent(
            shift=config.latent_shift,
            scale=config.latent_scale,
            channels=config.vae.latent_channels,
        ),
        time=manifest.Time(kind=config.inference.grid, default_grid=tuple(float(t) for t in grid)),
        defaults=manifest.Defaults(
            steps=request.steps,
            guidance=request.guidance,
            precision=PRECISION,
            pairs=request.pairs[0],
            size=request.sizes[0],
        ),
        buckets=tuple(
            manifest.Bucket(height=h, width=w, pairs=p)
            for h, w in request.sizes
            for p in request.pairs
        ),
        variants=(
            manifest.Variant(
                precision=PRECISION,
                dialect=DIALECT,
                context=request.context,
                refresh=manifest.Refresh(every=1) if _refreshes(request) else None,
                weights=(f"graphs/{weights.path.name}",),
                graphs=tuple(graphs),
            ),
        ),
        tables={},
    )
