"""Run an ONNX graph in torch, node by node, in the very types that the graph says.

ONNX Runtime's CPU provider computes fp16 in float32 and cannot show an overflow, and has hardly any
bf16. Here every tensor is rounded to its type after every node, as on a device, and can be watched.
Matrix products and convolutions accumulate in float32, as tensor cores do. A float32 graph can also
be run with some or all nodes in a lower type (``Rounded``): what that type costs, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from lavin_deploy.errors import WorkError
from lavin_deploy.export.checks.operators import OPERATORS, Attributes, Operator
from lavin_deploy.export.graphs.trace import PENDING, Load, Traced

Watch = Callable[[str, Tensor], None]

TORCH_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""Of the precisions that are computed in torch op by op."""
RAW = (
    ("bfloat16", np.int16, torch.bfloat16),
    ("float8_e4m3fn", np.int8, torch.float8_e4m3fn),
)
"""Types that numpy has from ml_dtypes only: name, numpy's type of equal size, torch's type."""


def to_tensor(array: NDArray[Any]) -> Tensor:
    """A numpy array, those of ml_dtypes included, as a tensor."""
    for name, raw, dtype in RAW:
        if array.dtype.name == name:
            return torch.from_numpy(array.view(raw).copy()).view(dtype)
    return torch.from_numpy(np.array(array))


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """Nodes of a float32 graph that compute in a lower type: operands and results are rounded.

    Attributes:
        dtype: float16 or bfloat16.
        nodes: their names; None for all.
    """

    dtype: torch.dtype
    nodes: frozenset[str] | None = None

    def apply(
        self, operator: Operator, name: str, operands: Sequence[Tensor], a: Attributes
    ) -> Any:
        """Run one node, in the lower type if it is one of these."""
        if self.nodes is not None and name not in self.nodes:
            return operator(operands, a)
        low = [x.to(self.dtype) if x.dtype == torch.float32 else x for x in operands]
        result = operator(low, a)
        if isinstance(result, Tensor):
            return result.float() if result.dtype == self.dtype else result
        return [x.float() if x.dtype == self.dtype else x for x in result]


class Interpreter:
    """One graph; external weights stay in their file and are mapped, not read.

    Args:
        model: with external weights in ``folder``, or none.
        folder: where the external weights lie.
        pending: weights that are in no file yet, by the names of their initialisers.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        folder: Path | None = None,
        pending: Mapping[str, Load] | None = None,
    ) -> None:
        self.graph = model.graph
        self._constants = {
            tensor.name: _constant(tensor, folder)
            for tensor in self.graph.initializer
            if not _is_pending(tensor)
        }
        self._constants |= {name: to_tensor(load()) for name, load in (pending or {}).items()}
        self._last = {n: index for index, node in enumerate(self.graph.node) for n in node.input}

    @classmethod
    def of(cls, traced: Traced) -> Interpreter:
        """A graph that was not written yet, with its weights in memory."""
        return cls(traced.model, pending=traced.weights)

    @torch.no_grad()
    def run(
        self,
        feed: Mapping[str, Tensor],
        watch: Watch | None = None,
        rounded: Rounded | None = None,
        exact: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Compute all outputs.

        Args:
            feed: every input.
            watch: is shown each tensor that a node makes.
            rounded: nodes that compute in a lower type than the graph says.
            exact: every tensor of a run with the same feed; what does not depend on a rounded
                node is taken from it.

        Raises:
            WorkError: an operator that the interpreter does not have.
        """
        tensors = {**self._constants, **feed}
        results = {info.name for info in self.graph.output}
        changed: set[str] = set()
        for index, node in enumerate(self.graph.node):
            if exact is not None and rounded is not None:
                if node.name not in (rounded.nodes or ()) and not changed & set(node.input):
                    tensors |= {name: exact[name] for name in node.output if name}
                    continue
                changed |= set(node.output)
            operator = OPERATORS.get(node.op_type)
            if operator is None:
                raise WorkError(f"the torch interpreter has no operator {node.op_type!r}.")
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            attributes["outputs"] = len(node.output)
            operands = [tensors[name] for name in node.input if name]
            if rounded is None or node.op_type == "Cast":
                result = operator(operands, attributes)
            else:
                result = rounded.apply(operator, node.name, operands, attributes)
            outputs = [result] if isinstance(result, Tensor) else result
            for name, tensor in zip(node.output, outputs, strict=False):
                tensors[name] = tensor
                if watch is not None:
                    watch(name, tensor)
            for name in node.input:
                if self._last.get(name) == index and name not in results:
                    tensors.pop(name, None)
        return {name: tensors[name] for name in results}


def _is_pending(tensor: onnx.TensorProto) -> bool:
    return any(e.key == "location" and e.value == PENDING for e in tensor.external_data)


def _constant(tensor: onnx.TensorProto, folder: Path | None) -> Tensor:
    """An initialiser; an external one as a private mapping of its file."""
    place = {entry.key: entry.value for entry in tensor.external_data}
    if not place:
        return to_tensor(numpy_helper.to_array(tensor))
    assert folder is not None, "external weights need their folder"
    mapped = np.memmap(
        folder / place["location"],
        dtype=helper.tensor_dtype_to_np_dtype(tensor.data_type),
        mode="c",
        offset=int(place["offset"]),
        shape=tuple(tensor.dims),
    )
    for name, raw, dtype in RAW:
        if mapped.dtype.name == name:
            return torch.from_numpy(mapped.view(raw)).view(dtype)
    return torch.from_numpy(mapped)
