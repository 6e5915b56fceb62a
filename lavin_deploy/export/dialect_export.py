"""Trace the graphs of a dialect once, and write variants of them into a bundle being made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from tqdm import tqdm

from lavin_deploy.bundle import manifest
from lavin_deploy.bundle.writer import BundleWriter, writing
from lavin_deploy.export.graphs.spec import GraphSpec
from lavin_deploy.export.graphs.trace import Traced, trace
from lavin_deploy.export.graphs.weights import WeightFile

FP32 = "fp32"


@dataclass(kw_only=True)
class DialectExport:
    """One dialect of an export.

    Attributes:
        writer: of the bundle.
        dialect: ``native`` or ``portable``.
        specs: the graphs to export.
        context: ``joint`` or ``frozen``.
        pairing: ``sequence`` or ``merged``, as the model has its pairs.
        weights: precision -> the file that all dialects of that precision share.
        traced: the same graphs in float32.
    """

    writer: BundleWriter
    dialect: str
    specs: Sequence[GraphSpec]
    context: str
    pairing: str
    weights: dict[str, WeightFile]
    traced: list[Traced] = field(default_factory=list)

    def trace(self) -> None:
        """Trace every graph."""
        self.traced = [trace(spec) for spec in tqdm(self.specs, desc="trace", disable=None)]

    def write(
        self, precision: str, graphs: Sequence[Traced], fp32_modules: Sequence[str] = ()
    ) -> manifest.Variant:
        """Write one graph for each spec, with the modules that ``--auto`` kept in fp32.

        Raises:
            WorkError: the disk refused.
        """
        weights = f"graphs/{precision}.weights"
        if precision not in self.weights:
            with writing(f"{weights!r} of the bundle"):
                self.weights[precision] = WeightFile(self.writer.folder / weights)
        file = self.weights[precision]
        marks = [m for m in (self.dialect, precision) if m not in ("native", FP32)]
        described = []
        for spec, traced in zip(self.specs, graphs, strict=True):
            with writing(f"{weights!r} of the bundle"):
                model = file.externalise(traced)
            path = f"graphs/{'.'.join((spec.stem, *marks))}.onnx"
            with writing(f"{path!r} of the bundle"):
                onnx.save(model, self.writer.folder / path)
            self.writer.claim(path)
            described.append(_describe(path, spec, model))
        self.writer.claim(weights)
        return manifest.Variant(
            precision=precision,
            dialect=self.dialect,
            context=self.context,
            pairing=self.pairing,
            weights=(weights,),
            graphs=tuple(described),
            islands=tuple(fp32_modules),
        )


def files_of(variant: manifest.Variant) -> set[str]:
    """Every file of a variant."""
    return {*variant.weights, *(graph.file for graph in variant.graphs)}


def _describe(path: str, spec: GraphSpec, model: onnx.ModelProto) -> manifest.Graph:
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
        name=spec.name,
        file=path,
        inputs=tensors(model.graph.input),
        outputs=tensors(model.graph.output),
        **spec.bucket,
    )
