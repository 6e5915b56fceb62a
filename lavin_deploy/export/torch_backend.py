"""A back end that runs a bundle's ONNX files in torch, in their real types: what gates judge by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import torch

from lavin_deploy.bundle import Bundle
from lavin_deploy.export.interpreter import Interpreter, to_tensor
from lavin_deploy.manifest import Graph, Variant
from lavin_deploy.runtime.backend import Array, Backend


class TorchBackend(Backend):
    """One interpreter for each graph; notes the largest value of every half-precision tensor.

    Attributes:
        largest: file of the graph -> tensor -> largest absolute value so far (inf and NaN: inf).
    """

    name = "torch"

    def __init__(self, bundle: Bundle, variant: Variant) -> None:
        super().__init__(bundle, variant)
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
        if graph.file not in self._interpreters:
            file = self.bundle.graph_file(self.variant, graph)
            model = onnx.load(file, load_external_data=False)
            self._interpreters[graph.file] = Interpreter(model, file.parent)

    def infer_impl(self, graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
        """See :class:`Backend`."""
        self.prepare(graph)
        largest = self.largest.setdefault(graph.file, {})

        def watch(name: str, tensor: torch.Tensor) -> None:
            if tensor.dtype in (torch.float16, torch.bfloat16):
                top = float(tensor.abs().max().nan_to_num(np.inf, np.inf))
                largest[name] = max(top, largest.get(name, 0.0))

        given = {name: to_tensor(array) for name, array in feed.items()}
        found = self._interpreters[graph.file].run(given, watch)
        return {spec.name: _to_array(found[spec.name]) for spec in graph.outputs}


def _to_array(tensor: torch.Tensor) -> Array:
    """The tensor in numpy; bfloat16 as that of ml_dtypes."""
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        raw: Array = tensor.view(torch.int16).numpy()
        return raw.view(ml_dtypes.bfloat16)
    array: Array = tensor.numpy()
    return array
