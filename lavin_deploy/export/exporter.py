"""From a checkpoint to a bundle: trace, check every graph and whole answers, write atomically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
from lavin_deploy.export.end_to_end import answer_by_graphs, answer_by_models, check_answers
from lavin_deploy.export.gate import read_limits
from lavin_deploy.export.graphs import GraphChoice, plan_graphs
from lavin_deploy.export.judge import Judge, TaskAnswers
from lavin_deploy.export.parity import Parity, cases_of, check_graph
from lavin_deploy.export.refresh import measure_refresh
from lavin_deploy.export.savings import ALL, Savings
from lavin_deploy.export.stored_tasks import add_tasks
from lavin_deploy.export.validation import add_validation, read_validation
from lavin_deploy.export.variants import Made, make
from lavin_deploy.export.weights import WeightFile
from lavin_deploy.export.workshop import FP32, Workshop, files_of
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
        precisions: of the variants, the default first.
        dialects: ``native`` or ``portable`` or both.
        gate: JSON file with limits in place of the package's, or None.
        auto: search float32 islands where a lowering does not pass.
        force: ship what the gate refuses, unless it overflows.
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
    precisions: Sequence[str] = (FP32,)
    dialects: Sequence[str] = ("native",)
    gate: Path | None = None
    auto: bool = False
    force: bool = False
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
        for name, given in (
            ("size", self.sizes),
            ("pairs", self.pairs),
            ("precision", self.precisions),
            ("dialect", self.dialects),
        ):
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
        check_weight(self.guidance)
        grid_for(self.steps, self.config.inference.grid)

    @property
    def choice(self) -> GraphChoice:
        """Which graphs to make."""
        return GraphChoice(
            sizes=self.sizes,
            pairs=self.pairs,
            context=self.context,
            euler=self.euler,
            savings=self.savings,
        )


def export_bundle(dit: JDiT, vae: STVAE, request: ExportRequest) -> manifest.Manifest:
    """Trace all graphs, check them, lower what is asked for, judge it, and write the bundle.

    Raises:
        InputError: sizes, pairs or steps that cannot be had.
        WorkError: a graph or a whole answer deviates from the model, or the gate refuses a
            variant; nothing is left behind.
    """
    samples = read_validation(request.validation, [task.name for task, _ in request.tasks])
    limits = {p: read_limits(p, request.gate) for p in request.precisions if p != FP32}
    grid = grid_for(request.steps, request.config.inference.grid)
    with BundleWriter(request.out) as writer:
        weights: dict[str, WeightFile] = {}
        shops, bases = {}, {}
        for dialect in request.dialects:
            plans = list(plan_graphs(dit, vae, request.choice))
            shops[dialect] = Workshop(
                writer=writer,
                dialect=dialect,
                plans=plans,
                context=request.context,
                weights=weights,
            )
            shops[dialect].trace()
            base = shops[dialect].write(FP32, shops[dialect].traced)
            bases[dialect] = replace(base, refresh=_refresh(request))
        draft = replace(_manifest(request, tuple(bases.values()), grid), files=writer.files)
        bundle = Bundle(FolderStore(writer.folder, unfinished=True), draft)
        first = shops[request.dialects[0]]
        cases = {plan.stem: cases_of(plan) for plan in tqdm(first.plans, "model", disable=None)}
        rows: list[Parity] = []
        for shop, base in zip(shops.values(), bases.values(), strict=True):
            checked = zip(tqdm(shop.plans, "check", disable=None), base.graphs, strict=True)
            for plan, graph in checked:
                with OnnxRuntimeBackend(bundle, base) as backend:  # one graph in memory at a time
                    rows += check_graph(backend, graph, cases[plan.stem])
        variant = bases[request.dialects[0]]
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
            bases = {name: replace(base, refresh=tried) for name, base in bases.items()}
        draft = replace(
            draft,
            variants=tuple(bases.values()),
            tables={"modulation": manifest.Table(file=TABLE, grid=tuple(map(float, times)))},
            tasks=tasks,
            validation=validation,
            selftest=selftest,
        )
        judge = Judge(bundle=bundle.with_manifest(draft), cases=cases, wanted=wanted)
        judge = judge.over(writer.files)
        variants = []
        exact = judge.tasks(variant, runtime=True) if limits else TaskAnswers()
        made: list[Made] = []
        for precision in request.precisions:
            for dialect, base in bases.items():
                if precision == FP32:
                    variants.append(base)
                    continue
                made.append(
                    make(
                        shops[dialect],
                        base,
                        judge,
                        precision,
                        limits[precision],
                        exact,
                        auto=request.auto,
                        force=request.force,
                    )
                )
                variants.append(made[-1].variant)
        if FP32 not in request.precisions:
            for path in {p for base in bases.values() for p in files_of(base)}:
                writer.discard(path)
        return writer.finish(
            replace(
                draft,
                variants=tuple(variants),
                report={"parity": [row.to_dict() for row in rows], "versions": _versions()},
            )
        )


def _versions() -> dict[str, str]:
    return {m.__name__: str(m.__version__) for m in (torch, onnx, ort)}


def _refresh(request: ExportRequest) -> manifest.Refresh | None:
    refreshes = request.context == "frozen" and request.config.dit.context == "joint"
    return manifest.Refresh(every=1) if refreshes else None


def _manifest(
    request: ExportRequest, variants: tuple[manifest.Variant, ...], grid: Grid
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
            precision=request.precisions[0],
            pairs=request.pairs[0],
            size=request.sizes[0],
        ),
        buckets=tuple(
            manifest.Bucket(height=h, width=w, pairs=p)
            for h, w in request.sizes
            for p in request.pairs
        ),
        variants=variants,
        tables={},
    )
