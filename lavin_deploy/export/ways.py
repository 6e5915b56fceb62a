"""How the graphs of a dialect get a lower precision: lowered by rules, or quantised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx
import torch

from lavin_deploy import manifest
from lavin_deploy.export.graphs import GraphPlan
from lavin_deploy.export.islands import Contribution, out_of_range, rank
from lavin_deploy.export.judge import Judge
from lavin_deploy.export.precision import Low, Lowering, choose_wide, lower
from lavin_deploy.export.torch_backend import TorchBackend
from lavin_deploy.export.trace import Traced
from lavin_deploy.export.workshop import Workshop


class Way(Protocol):
    """From float32 graphs to those of one precision."""

    @property
    def shop(self) -> Workshop:
        """Where the float32 graphs are."""

    def graph(self, plan: GraphPlan, traced: Traced, islands: frozenset[str]) -> Traced:
        """Convert one graph; what is in the modules of ``islands`` stays as it is."""

    def kept(self, islands: frozenset[str]) -> dict[str, int]:
        """Rule or island -> number of nodes that it keeps in float32, in all graphs."""

    def ranking(self, base: manifest.Variant, judge: Judge) -> list[Contribution]:
        """Modules by what they alone add to the error, worst first."""


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """To fp16 or bf16.

    Attributes:
        shop: has the float32 graphs.
        low: the lower precision.
        wide: stem of a graph's file -> nodes that stay in float32 for their range.
    """

    shop: Workshop
    low: Low
    wide: Mapping[str, frozenset[str]]

    @classmethod
    def measured(
        cls, shop: Workshop, low: Low, base: manifest.Variant, judge: Judge, limit: float
    ) -> Lowered:
        """Measure the range of every tensor in float32; what is beyond ``limit`` stays there."""
        wide = {}
        with TorchBackend(judge.bundle, base) as backend:
            for plan, graph, traced in zip(shop.plans, base.graphs, shop.traced, strict=True):
                for case in judge.cases[plan.stem]:
                    backend.infer(graph, case.feed)
                largest = backend.largest[graph.file] | _largest_weights(traced)
                wide[plan.stem] = out_of_range(traced.model, largest, limit)
                backend.deactivate()  # one graph in memory at a time
        return cls(shop=shop, low=low, wide=wide)

    def graph(self, plan: GraphPlan, traced: Traced, islands: frozenset[str]) -> Traced:
        """See :class:`Way`."""
        return lower(traced, self._lowering(plan, islands))

    def kept(self, islands: frozenset[str]) -> dict[str, int]:
        """See :class:`Way`."""
        counts: dict[str, int] = {}
        for plan, traced in zip(self.shop.plans, self.shop.traced, strict=True):
            for reason in choose_wide(traced.model, self._lowering(plan, islands)).values():
                counts[reason] = counts.get(reason, 0) + 1
        return counts

    def ranking(self, base: manifest.Variant, judge: Judge) -> list[Contribution]:
        """See :class:`Way`."""
        found = []
        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[self.low]
        with TorchBackend(judge.bundle, base) as backend:
            for plan, graph in zip(self.shop.plans, base.graphs, strict=True):
                if judge.answers_by(graph):
                    feed = judge.cases[plan.stem][-1].feed
                    found += rank(graph.file, backend.interpreter(graph), feed, dtype)
        return sorted(found, key=lambda one: -one.rel_l2)

    def _lowering(self, plan: GraphPlan, islands: frozenset[str]) -> Lowering:
        # bf16 keys and values would need a type that numpy, hence the runtime, does not have.
        return Lowering(
            low=self.low,
            islands=islands,
            wide=self.wide[plan.stem],
            keys_values=self.low == "fp16",
        )


def _largest_weights(traced: Traced) -> dict[str, float]:
    """Largest absolute value of every float32 initialiser."""
    found = {name: float(np.abs(load()).max()) for name, load in traced.weights.items()}
    for tensor in traced.model.graph.initializer:
        if tensor.name not in found and tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor)
            found[tensor.name] = float(np.abs(array).max()) if array.size else 0.0
    return found
