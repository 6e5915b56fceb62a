"""Make the variants of a bundle: trace once, then lower, judge, mend, and write what passes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import onnx
import torch
from tqdm import tqdm

from lavin_deploy import manifest
from lavin_deploy.bundle import BundleWriter
from lavin_deploy.errors import WorkError
from lavin_deploy.export.gate import Check, Limits, Verdict
from lavin_deploy.export.graphs import Arrays, GraphPlan
from lavin_deploy.export.interpreter import Interpreter, to_tensor
from lavin_deploy.export.islands import Contribution, out_of_range, rank, smallest_island
from lavin_deploy.export.judge import Judge, TaskAnswers, distances
from lavin_deploy.export.precision import Low, Lowering, choose_wide, lower
from lavin_deploy.export.torch_backend import TorchBackend
from lavin_deploy.export.trace import Traced, trace
from lavin_deploy.export.weights import WeightFile
from lavin_deploy.runtime.backend import Array

RANKED_BYTES = 1 << 30
"""Weights from this size on are ranked only where the gate refuses: a run for each module."""
FP32 = "fp32"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A variant that was judged.

    Attributes:
        variant: as the manifest has it.
        verdict: of the gate.
        wide: rule or island -> number of nodes that it keeps in float32.
        ranking: modules by what they add, worst first.
        answers: of the bundle's tasks.
    """

    variant: manifest.Variant
    verdict: Verdict
    wide: Mapping[str, int]
    ranking: Sequence[Contribution]
    answers: TaskAnswers


@dataclass(kw_only=True)
class Workshop:
    """Traces the plans of one dialect and writes variants of them into a bundle being made.

    Attributes:
        writer: of the bundle.
        dialect: ``native`` or ``portable``.
        plans: what to export.
        context: ``joint`` or ``frozen``.
        weights: precision -> the file that all dialects of that precision share.
        traced: the plans' graphs in float32.
    """

    writer: BundleWriter
    dialect: str
    plans: Sequence[GraphPlan]
    context: str
    weights: dict[str, WeightFile]
    traced: list[Traced] = field(default_factory=list)

    def trace(self) -> None:
        """Trace every plan."""
        self.traced = [trace(p) for p in tqdm(self.plans, desc="trace", disable=None)]

    def write(
        self, precision: str, graphs: Sequence[Traced], islands: Sequence[str] = ()
    ) -> manifest.Variant:
        """Write one graph for each plan."""
        if precision not in self.weights:
            folder = self.writer.folder / "graphs"
            self.weights[precision] = WeightFile(folder / f"{precision}.weights")
        file = self.weights[precision]
        marks = [m for m in (self.dialect, precision) if m not in ("native", FP32)]
        described = []
        for plan, traced in zip(self.plans, graphs, strict=True):
            model = file.externalise(traced)
            path = f"graphs/{'.'.join((plan.stem, *marks))}.onnx"
            onnx.save(model, self.writer.folder / path)
            self.writer.claim(path)
            described.append(_describe(path, plan, model))
        self.writer.claim(f"graphs/{file.path.name}")
        return manifest.Variant(
            precision=precision,
            dialect=self.dialect,
            context=self.context,
            weights=(f"graphs/{file.path.name}",),
            graphs=tuple(described),
            islands=tuple(islands),
        )

    def lowered(
        self, precision: Low, base: manifest.Variant, judge: Judge, limits: Limits
    ) -> Lowered:
        """Measure the range of every tensor, so that the graphs can be lowered."""
        wide = {}
        with TorchBackend(judge.bundle, base) as backend:
            for plan, graph, traced in zip(self.plans, base.graphs, self.traced, strict=True):
                for case in judge.cases[plan.stem]:
                    backend.infer(graph, case.feed)
                largest = backend.largest[graph.file] | _largest_weights(traced)
                wide[plan.stem] = out_of_range(traced.model, largest, limits.range)
                backend.deactivate()
        return Lowered(shop=self, low=precision, wide=wide)

    def ranking(self, base: manifest.Variant, judge: Judge, precision: Low) -> list[Contribution]:
        """Rank the modules of every graph that an answer of default size runs."""
        defaults, found = judge.bundle.manifest.defaults, []
        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
        with TorchBackend(judge.bundle, base) as backend:
            for graph, plan in zip(base.graphs, self.plans, strict=True):
                size, pairs = (graph.height, graph.width), graph.pairs
                null = plan.name.endswith("_null") or "euler" in plan.name
                if null or size != defaults.size or pairs not in (None, defaults.pairs):
                    continue
                feed = judge.cases[plan.stem][0].feed
                found += rank(graph.file, backend.interpreter(graph), feed, dtype)
        return sorted(found, key=lambda one: -one.rel_l2)


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """How the graphs of a dialect become fp16 or bf16.

    Attributes:
        shop: has the float32 graphs.
        low: the lower precision.
        wide: stem of a graph's file -> nodes that stay in float32 for their range.
    """

    shop: Workshop
    low: Low
    wide: Mapping[str, frozenset[str]]

    def graph(self, plan: GraphPlan, traced: Traced, islands: frozenset[str]) -> Traced:
        """Lower one graph."""
        return lower(traced, self._lowering(plan, islands))

    def graphs(self, islands: frozenset[str]) -> list[Traced]:
        """Lower all."""
        shop = self.shop
        return [
            self.graph(plan, traced, islands)
            for plan, traced in zip(shop.plans, shop.traced, strict=True)
        ]

    def kept(self, islands: frozenset[str]) -> dict[str, int]:
        """Rule or island -> number of nodes that it keeps in float32, in all graphs."""
        counts: dict[str, int] = {}
        for plan, traced in zip(self.shop.plans, self.shop.traced, strict=True):
            for reason in choose_wide(traced.model, self._lowering(plan, islands)).values():
                counts[reason] = counts.get(reason, 0) + 1
        return counts

    def _lowering(self, plan: GraphPlan, islands: frozenset[str]) -> Lowering:
        # bf16 keys and values would need a type that numpy, hence the runtime, does not have.
        return Lowering(
            low=self.low,
            islands=islands,
            wide=self.wide[plan.stem],
            keys_values=self.low == "fp16",
        )


def make(
    shop: Workshop,
    base: manifest.Variant,
    judge: Judge,
    precision: str,
    limits: Limits,
    exact: TaskAnswers,
    *,
    auto: bool,
    force: bool,
) -> Made:
    """Lower, judge, and with ``auto`` mend a variant.

    Args:
        shop: of the variant's dialect, traced.
        base: its float32 variant, written.
        judge: with the bundle so far.
        precision: ``fp16`` or ``bf16``.
        limits: of the gate.
        exact: what float32 answers to the bundle's tasks.
        auto: search the smallest island that passes where the plain lowering does not.
        force: ship what does not pass, unless it overflows.

    Raises:
        WorkError: the gate refuses the variant; the message names check and modules.
    """
    way = shop.lowered(cast(Low, precision), base, judge, limits)
    runtime = precision != "bf16"
    islands: frozenset[str] = frozenset()
    ranking: list[Contribution] = []
    small = sum(judge.bundle.manifest.files[file].size for file in base.weights) < RANKED_BYTES
    if small or auto:
        ranking = shop.ranking(base, judge, way.low)
    if auto:
        names = list(dict.fromkeys(one.module for one in ranking))
        island = smallest_island(names, _Trial(way=way, judge=judge, base=base, limits=limits))
        islands = frozenset() if island is None else island
    variant = replace(
        shop.write(precision, way.graphs(islands), sorted(islands)), refresh=base.refresh
    )
    judge = judge.over(shop.writer.files)
    checks = list(judge.graphs(variant, base, limits, runtime=runtime))
    checks += judge.answer(variant, limits, runtime=runtime)
    answers = judge.tasks(variant, runtime=runtime)
    verdict = Verdict(
        limits=limits,
        checks=tuple(checks),
        tasks=answers.against(exact, limits),
        speed=judge.speed(variant, base, limits.speedup) if runtime else None,
        not_run="" if runtime else f"{precision} was not run in a runtime, only in torch",
    )
    if not verdict.passed:
        if not force or not verdict.sound:
            ranking = ranking or shop.ranking(base, judge, way.low)
            raise WorkError(_refusal(precision, shop.dialect, verdict, ranking, auto=auto))
        verdict = replace(verdict, forced=True)
    return Made(
        variant=variant,
        verdict=verdict,
        wide=way.kept(islands),
        ranking=ranking,
        answers=answers,
    )


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """Whether the graphs of the default size pass with an island, judged in torch."""

    way: Lowered
    judge: Judge
    base: manifest.Variant
    limits: Limits

    def __call__(self, islands: frozenset[str]) -> bool:
        shop = self.way.shop
        for plan, traced in zip(shop.plans, shop.traced, strict=True):
            lowered = self.way.graph(plan, traced, islands)
            found = distances(_in_torch(Interpreter.of(lowered)), self.judge.cases[plan.stem])
            for output, distance in found.items():
                check = Check(graph=plan.stem, output=output, runtime="torch", distance=distance)
                if check.judged(self.limits).why:
                    return False
        return True


def _in_torch(interpreter: Interpreter) -> Any:
    types = {i.name: i.type.tensor_type.elem_type for i in interpreter.graph.input}

    def run(feed: Arrays) -> dict[str, Array]:
        given = {
            name: to_tensor(array.astype(onnx.helper.tensor_dtype_to_np_dtype(types[name])))
            for name, array in feed.items()
        }
        return {name: tensor.numpy() for name, tensor in interpreter.run(given).items()}

    return run


def files_of(variant: manifest.Variant) -> set[str]:
    """Every file of a variant."""
    return {*variant.weights, *(graph.file for graph in variant.graphs)}


def _refusal(
    precision: str, dialect: str, verdict: Verdict, ranking: Sequence[Contribution], *, auto: bool
) -> str:
    failures = verdict.failures
    worst = ", ".join(
        f"{one.module} ({'overflows' if math.isinf(one.rel_l2) else f'{one.rel_l2:.1e}'})"
        for one in ranking[:3]
    )
    more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    advice = "" if auto else "let --auto search an island in float32, "
    return (
        f"the {precision} {dialect} variant is refused: {failures[0]}{more}; modules that add "
        f"most: {worst or 'not ranked'}; {advice}choose another precision or, if nothing "
        "overflows, --force it; nothing was exported."
    )


def _largest_weights(traced: Traced) -> dict[str, float]:
    """Largest absolute value of every float32 initialiser."""
    found = {name: float(np.abs(load()).max()) for name, load in traced.weights.items()}
    for tensor in traced.model.graph.initializer:
        if tensor.name not in found and tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor)
            found[tensor.name] = float(np.abs(array).max()) if array.size else 0.0
    return found


def _describe(path: str, plan: GraphPlan, model: onnx.ModelProto) -> manifest.Graph:
    """The manifest's entry of a graph; inputs that a run need not give are left out."""
    stored = {tensor.name for tensor in model.graph.initializer}

    def tensors(infos: Any) -> tuple[manifest.Tensor, ...]:
        return tuple(
            manifest.Tensor(
                name=info.name,
                dtype=onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).name,
                shape=tuple(d.dim_value for d in info.type.tensor_type.shape.dim),
            )
            for info in infos
            if info.name not in stored
        )

    return manifest.Graph(
        name=plan.name,
        file=path,
        inputs=tensors(model.graph.input),
        outputs=tensors(model.graph.output),
        **plan.bucket,
    )
