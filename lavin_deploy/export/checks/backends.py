"""A back end that runs a bundle's ONNX files in torch, in their real types, for the gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import torch
from onnx import TensorProto

from lavin_deploy.arrays import Array
from lavin_deploy.bundle.manifest import Graph, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.export.checks.interpreter import Interpreter, Rounded, to_tensor
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend


class TorchBackend(Backend):
    """One interpreter for each graph; notes the largest value of every floating-point tensor.

    Args:
        bundle: open bundle.
        variant: the variant to run.
        rounded: nodes to compute in a lower type than the graph says.

    Attributes:
        largest: file of the graph -> tensor -> largest absolute value so far (NaN counts as inf).
    """

    name = "torch"

    def __init__(self, bundle: Bundle, variant: Variant, rounded: Rounded | None = None) -> None:
        super().__init__(bundle, variant)
        self.rounded = rounded
        self.largest: dict[str, dict[str, float]] = {}
        self._interpreters: dict[str, Interpreter] = {}

    def activate(self) -> None:
        """Do nothing: graphs are read when they first run."""

    def deactivate(self) -> None:
        """Drop the weights."""
        self._interpreters.clear()

    def describe(self) -> str:
        """See :class:`Backend`."""
        return f"torch {torch.__version__} on the CPU, in the types of the graph"

    def prepare(self, graph: Graph) -> None:
        """See :class:`Backend`."""
        self.interpreter(graph)

    def interpreter(self, graph: Graph) -> Interpreter:
        """The graph, ready to run."""
        if graph.file not in self._interpreters:
            file = self.bundle.graph_file(self.variant, graph)
            model = onnx.load(file, load_external_data=False)
            self._interpreters[graph.file] = Interpreter(model, file.parent)
        return self._interpreters[graph.file]

    def low_tensors(self, graph: Graph) -> set[str]:
        """Tensors that the graph computes in fp16 or bf16."""
        return set(low_outputs(self.interpreter(graph).graph))

    def infer_impl(self, graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
        """See :class:`Backend`."""
        largest = self.largest.setdefault(graph.file, {})

        def watch(name: str, tensor: torch.Tensor) -> None:
            if tensor.is_floating_point():
                top = float(tensor.float().abs().max().nan_to_num(np.inf, np.inf))
                largest[name] = max(top, largest.get(name, 0.0))

        tensors = {name: to_tensor(array) for name, array in feed.items()}
        outputs = self.interpreter(graph).run(tensors, watch, self.rounded)
        return {each.name: outputs[each.name].numpy() for each in graph.outputs}


def low_outputs(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of the tensors that a graph computes in fp16 or bf16."""
    for info in (*graph.value_info, *graph.output):
        if info.type.tensor_type.elem_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            yield info.name


LARGE = 1 << 30
"""Bytes of weights. From here on they stay mapped from their file, nothing is timed that no limit
asks for, and modules are ranked only where the gate refuses."""


def is_large(bundle: Bundle, variant: Variant) -> bool:
    """Whether a variant's weight files reach ``LARGE``."""
    return sum(bundle.manifest.files[file].size for file in variant.weights) >= LARGE


def in_onnxruntime(bundle: Bundle, variant: Variant) -> OnnxRuntimeBackend:
    """The back end that checks are run in: as a user's, but for large variants mapped."""
    return OnnxRuntimeBackend(bundle, variant, mapped=is_large(bundle, variant))
