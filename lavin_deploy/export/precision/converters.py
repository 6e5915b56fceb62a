"""How the graphs of a dialect get a lower precision: lowered by rules, or quantised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx

from lavin_deploy.arrays import Array
from lavin_deploy.bundle import manifest
from lavin_deploy.export.checks.backends import TorchBackend
from lavin_deploy.export.checks.checker import Run, VariantChecker, distances
from lavin_deploy.export.checks.interpreter import TORCH_TYPES, Interpreter, to_tensor
from lavin_deploy.export.dialect_export import DialectExport
from lavin_deploy.export.graphs.spec import Arrays, GraphSpec
from lavin_deploy.export.graphs.trace import Traced
from lavin_deploy.export.precision.calibration import Feeds
from lavin_deploy.export.precision.lowering import Lowering, choose_wide, lower
from lavin_deploy.export.precision.quantise import Quantisation, products, quantise
from lavin_deploy.export.precision.sensitivity import Contribution, out_of_range, rank, units
from lavin_deploy.names import Low, Quantised


class PrecisionConverter(Protocol):
    """From float32 graphs to those of one precision."""

    @property
    def dialect_export(self) -> DialectExport:
        """Where the float32 graphs are."""

    def graphs(self, fp32_modules: frozenset[str]) -> list[Traced]:
        """Convert every graph; what is in ``fp32_modules`` stays as it is."""

    def kept(self, fp32_modules: frozenset[str]) -> dict[str, int]:
        """Rule or module -> number of nodes that it keeps in float32, in all graphs."""

    def ranking(self, base: manifest.Variant, checker: VariantChecker) -> list[Contribution]:
        """Modules by what they alone add to the error, worst first."""


@dataclass(frozen=True, kw_only=True)
class CastConverter:
    """To fp16 or bf16.

    Attributes:
        dialect_export: has the float32 graphs.
        low: the lower precision.
        wide: stem of a graph's file -> nodes that stay in float32 for their range.
    """

    dialect_export: DialectExport
    low: Low
    wide: Mapping[str, frozenset[str]]

    @classmethod
    def measured(
        cls,
        dialect_export: DialectExport,
        low: Low,
        base: manifest.Variant,
        checker: VariantChecker,
        limit: float,
    ) -> CastConverter:
        """Measure the range of every tensor in float32; what is beyond ``limit`` stays there."""
        wide = {}
        with TorchBackend(checker.bundle, base) as backend:
            for spec, graph, traced in zip(
                dialect_export.specs, base.graphs, dialect_export.traced, strict=True
            ):
                for case in checker.cases[spec.stem]:
                    backend.infer(graph, case.feed)
                largest = backend.largest[graph.file] | _largest_weights(traced)
                wide[spec.stem] = out_of_range(traced.model, largest, limit)
                backend.deactivate()  # one graph in memory at a time
        return cls(dialect_export=dialect_export, low=low, wide=wide)

    def graphs(self, fp32_modules: frozenset[str]) -> list[Traced]:
        """See :class:`PrecisionConverter`."""
        pairs = zip(self.dialect_export.specs, self.dialect_export.traced, strict=True)
        return [lower(traced, self._lowering(spec, fp32_modules)) for spec, traced in pairs]

    def kept(self, fp32_modules: frozenset[str]) -> dict[str, int]:
        """See :class:`PrecisionConverter`."""
        counts: dict[str, int] = {}
        for spec, traced in zip(self.dialect_export.specs, self.dialect_export.traced, strict=True):
            for reason in choose_wide(traced.model, self._lowering(spec, fp32_modules)).values():
                counts[reason] = counts.get(reason, 0) + 1
        return counts

    def ranking(self, base: manifest.Variant, checker: VariantChecker) -> list[Contribution]:
        """See :class:`PrecisionConverter`."""
        ranking = []
        with TorchBackend(checker.bundle, base) as backend:
            for spec, graph in zip(self.dialect_export.specs, base.graphs, strict=True):
                if checker.answers_by(graph):
                    feed = checker.cases[spec.stem][-1].feed
                    interpreter, dtype = backend.interpreter(graph), TORCH_TYPES[self.low]
                    ranking += rank(graph.file, interpreter, feed, dtype)
        return sorted(ranking, key=lambda one: -one.rel_l2)

    def _lowering(self, spec: GraphSpec, fp32_modules: frozenset[str]) -> Lowering:
        # bf16 keys and values would need a type that numpy, hence the runtime, does not have.
        return Lowering(
            low=self.low,
            fp32_modules=fp32_modules,
            wide=self.wide[spec.stem],
            keys_values=self.low == "fp16",
        )


@dataclass(frozen=True, kw_only=True)
class QdqConverter:
    """To int8 or fp8, fitted to calibration data.

    Attributes:
        dialect_export: has the float32 graphs.
        precision: ``int8`` or ``fp8``.
        feeds: what every graph, by its file, is fed in real runs.
        base: the float32 variant.
    """

    dialect_export: DialectExport
    precision: Quantised
    feeds: Feeds
    base: manifest.Variant

    def graphs(self, fp32_modules: frozenset[str]) -> list[Traced]:
        """See :class:`PrecisionConverter`."""
        traced = dict(zip(self._files, self.dialect_export.traced, strict=True))
        quantised = quantise(traced, self.feeds.graphs, self._quantisation(fp32_modules))
        return [quantised[file] for file in self._files]

    def kept(self, fp32_modules: frozenset[str]) -> dict[str, int]:
        """See :class:`PrecisionConverter`: products with weights that stay in float32."""
        counts = {"first, last and norms": 0}
        for traced in self.dialect_export.traced:
            every = {n.name for n in traced.model.graph.node if n.op_type in ("MatMul", "Conv")}
            some = {n.name for n in products(traced.model, self._quantisation(frozenset()))}
            fewer = {n.name for n in products(traced.model, self._quantisation(fp32_modules))}
            counts["first, last and norms"] += len(every - some)
            if fp32_modules:
                counts["islands"] = counts.get("islands", 0) + len(some - fewer)
        return counts

    def ranking(self, base: manifest.Variant, checker: VariantChecker) -> list[Contribution]:
        """See :class:`PrecisionConverter`: one graph at a time, with one module quantised."""
        ranking = []
        for spec, graph, traced in zip(
            self.dialect_export.specs, base.graphs, self.dialect_export.traced, strict=True
        ):
            names = units(traced.model.graph)
            feeds = {graph.file: self.feeds.graphs.get(graph.file, ())[:1]}
            if not checker.answers_by(graph) or not feeds[graph.file]:
                continue
            case = checker.cases[spec.stem][-1]
            for name in names:
                alone = self._quantisation(frozenset(names) - {name})
                if products(traced.model, alone):
                    (quantised,) = quantise({graph.file: traced}, feeds, alone).values()
                    distances_of = distances(in_torch(Interpreter.of(quantised)), [case])
                    worst = max(distance.rel_l2 for distance in distances_of.values())
                    ranking.append(Contribution(graph=graph.file, module=name, rel_l2=worst))
        return sorted(ranking, key=lambda one: -one.rel_l2)

    def _quantisation(self, fp32_modules: frozenset[str]) -> Quantisation:
        return Quantisation(precision=self.precision, fp32_modules=fp32_modules)

    @property
    def _files(self) -> list[str]:
        return [graph.file for graph in self.base.graphs]


def in_torch(interpreter: Interpreter) -> Run:
    """Run a graph that was not written yet."""
    types = {i.name: i.type.tensor_type.elem_type for i in interpreter.graph.input}

    def run(feed: Arrays) -> dict[str, Array]:
        tensors = {
            name: to_tensor(array.astype(onnx.helper.tensor_dtype_to_np_dtype(types[name])))
            for name, array in feed.items()
        }
        return {name: tensor.numpy() for name, tensor in interpreter.run(tensors).items()}

    return run


def _largest_weights(traced: Traced) -> dict[str, float]:
    """Largest absolute value of every float32 initialiser."""
    largest = {name: float(np.abs(load()).max()) for name, load in traced.weights.items()}
    for tensor in traced.model.graph.initializer:
        if tensor.name not in largest and tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor)
            largest[tensor.name] = float(np.abs(array).max()) if array.size else 0.0
    return largest
