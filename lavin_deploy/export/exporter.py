"""From a checkpoint to a bundle: trace, check every graph and whole answers, write atomically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lavin_deploy import __version__, manifest
from lavin_deploy.bundle import BundleWriter
from lavin_deploy.config import Inference, ModelConfig
from lavin_deploy.errors import InputError
from lavin_deploy.export.graphs import GraphPlan, plan_graphs, trace
from lavin_deploy.export.parity import SEEDS, Parity, check_graph, compare, open_session
from lavin_deploy.export.stored_tasks import add_tasks
from lavin_deploy.export.weights import WeightFile
from lavin_deploy.flow.grids import grid_for
from lavin_deploy.flow.solvers import euler
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.runtime.create_task import Encode
from lavin_deploy.runtime.images import to_pixels
from lavin_deploy.tasks.stored import StoredTask

PRECISION, DIALECT = "fp32", "native"
F32 = NDArray[np.float32]


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
        grid_for(self.steps, self.config.inference.grid)


def export_bundle(dit: JDiT, vae: STVAE, request: ExportRequest) -> manifest.Manifest:
    """Trace all graphs, check them, and write the bundle.

    Raises:
        InputError: sizes, pairs or steps that cannot be had.
        WorkError: a graph deviates from the model; nothing is left behind.
    """
    plans = list(plan_graphs(dit, vae, request.sizes, request.pairs))
    grid = grid_for(request.steps, request.config.inference.grid)
    with BundleWriter(request.out) as writer:
        weights = WeightFile(writer.folder / "graphs" / f"{PRECISION}.weights")
        parity: list[Parity] = []
        sessions: dict[str, ort.InferenceSession] = {}
        for plan in tqdm(plans, desc="export", unit="graph", disable=None):
            model = trace(plan)
            weights.externalise(model)
            onnx.save(model, writer.folder / plan.file)
            writer.claim(plan.file)
            sessions[plan.file] = open_session(writer.folder / plan.file)
            parity += check_graph(plan, sessions[plan.file])
        writer.claim(f"graphs/{weights.path.name}")
        answers = _Answers(dit, vae, sessions, request, grid)
        parity += [
            compare("end-to-end", seed, answers.runtime(seed), answers.torch(seed))
            for seed in SEEDS
        ]
        table = np.concatenate([answers.row(t) for t in grid[:-1]])
        _add_array(writer, "tables/modulation.npy", table)
        _add_array(writer, "selftest/context.npy", answers.draw(0)[0])
        _add_array(writer, "selftest/noise.npy", answers.draw(0)[1])
        _add_array(writer, "selftest/latents.npy", answers.runtime(0))
        encoders = {size: _encoder(request, sessions, size) for size in request.sizes}
        tasks = add_tasks(writer, request.tasks, encoders, min(request.pairs))
        if request.model_card is not None:
            writer.add_file("README.md", request.model_card.encode())
        if request.validation is not None:
            for file in sorted(p for p in request.validation.rglob("*") if p.is_file()):
                path = file.relative_to(request.validation).as_posix()
                writer.add_file(f"validation/{path}", file)
        return writer.finish(_manifest(request, plans, grid, weights, parity, tasks))


def _encoder(
    request: ExportRequest, sessions: dict[str, ort.InferenceSession], size: tuple[int, int]
) -> Encode:
    """What turns an (H, W, 3) uint8 picture into a scaled latent (1, 16, 1, H/8, W/8)."""
    session = sessions[f"graphs/encoder-{size[0]}x{size[1]}.onnx"]
    shift, scale = np.float32(request.config.latent_shift), np.float32(request.config.latent_scale)

    def encode(image: NDArray[np.uint8]) -> F32:
        mean: F32 = session.run(None, {"pixels": to_pixels(image)})[0]
        return (mean - shift) * scale

    return encode


class _Answers:
    """Whole answers at the default size and pairs, by the graphs and by the plain model."""

    def __init__(
        self,
        dit: JDiT,
        vae: STVAE,
        sessions: dict[str, ort.InferenceSession],
        request: ExportRequest,
        grid: F32,
    ) -> None:
        (height, width), pairs = request.sizes[0], request.pairs[0]
        self.dit, self.vae, self.grid, self.pairs = dit, vae, grid, pairs
        self.guidance = request.guidance
        self.size = (height, width)
        self.step = sessions[f"graphs/step-{height}x{width}-p{pairs}.onnx"]
        self.null = sessions[f"graphs/step_null-{height}x{width}.onnx"]
        self.modulation = sessions["graphs/modulation.onnx"]

    def draw(self, seed: int) -> tuple[F32, F32]:
        """Context (1, 16, 2P + 1, h, w) and noise (1, 16, 1, h, w)."""
        rng = np.random.default_rng(seed)
        rows, cols = self.size[0] // 8, self.size[1] // 8
        channels = self.dit.config.in_channels
        shape = (1, channels, 2 * self.pairs + 1, rows, cols)
        context = rng.standard_normal(shape, dtype=np.float32)
        return context, rng.standard_normal((*shape[:2], 1, rows, cols), dtype=np.float32)

    def row(self, t: np.float32) -> F32:
        """Modulation row (1, R) of a time."""
        row: F32 = self.modulation.run(None, {"t": np.array([t], np.float32)})[0]
        return row

    def runtime(self, seed: int) -> F32:
        """Scaled latents by the exported graphs."""
        context, noise = self.draw(seed)
        null = _null_context(context)

        def velocity(z: F32, t: np.float32) -> F32:
            feed = {"latent": z, "context": context, "modulation": self.row(t)}
            v: F32 = self.step.run(None, feed)[0]
            if self.guidance == 1:
                return v
            v_null: F32 = self.null.run(None, feed | {"context": null})[0]
            return v_null + np.float32(self.guidance) * (v - v_null)

        return euler(velocity, noise, self.grid)

    def torch(self, seed: int) -> F32:
        """The same by the plain model."""
        context, noise = self.draw(seed)
        null = _null_context(context)

        def run(z: F32, t: np.float32, shown: F32) -> F32:
            with torch.no_grad():
                v: F32 = self.dit(
                    torch.from_numpy(z), torch.tensor([float(t)]), torch.from_numpy(shown)
                ).numpy()
            return v

        def velocity(z: F32, t: np.float32) -> F32:
            v = run(z, t, context)
            if self.guidance == 1:
                return v
            v_null = run(z, t, null)
            return v_null + np.float32(self.guidance) * (v - v_null)

        return euler(velocity, noise, self.grid)


def _null_context(context: F32) -> F32:
    query = context[:, :, -1:]
    return np.concatenate((np.zeros_like(query), query), axis=2)


def _add_array(writer: BundleWriter, path: str, array: F32) -> None:
    target = writer.folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target, np.ascontiguousarray(array), allow_pickle=False)
    writer.claim(path)


def _tensors(shapes: dict[str, tuple[int, ...]]) -> tuple[manifest.Tensor, ...]:
    return tuple(manifest.Tensor(name=n, dtype="float32", shape=s) for n, s in shapes.items())


def _graph(plan: GraphPlan) -> manifest.Graph:
    _, output = plan.example(0)
    return manifest.Graph(
        name=plan.name,
        height=plan.height,
        width=plan.width,
        pairs=plan.pairs,
        file=plan.file,
        inputs=_tensors(plan.inputs),
        outputs=_tensors({plan.output: output.shape}),
    )


def _manifest(
    request: ExportRequest,
    plans: Sequence[GraphPlan],
    grid: F32,
    weights: WeightFile,
    parity: Sequence[Parity],
    tasks: tuple[manifest.TaskEntry, ...],
) -> manifest.Manifest:
    config = request.config
    inference: Inference = config.inference
    report: dict[str, Any] = {
        "parity": [row.to_dict() for row in parity],
        "versions": {
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": ort.__version__,
        },
    }
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
        time=manifest.Time(kind=inference.grid, default_grid=tuple(float(t) for t in grid)),
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
                weights=(f"graphs/{weights.path.name}",),
                graphs=tuple(_graph(plan) for plan in plans),
            ),
        ),
        tables={
            "modulation": manifest.Table(
                file="tables/modulation.npy", grid=tuple(float(t) for t in grid[:-1])
            )
        },
        tasks=tasks,
        selftest={
            "context": "selftest/context.npy",
            "noise": "selftest/noise.npy",
            "latents": "selftest/latents.npy",
        },
        report=report,
    )
