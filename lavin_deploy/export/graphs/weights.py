"""One external weight file for all graphs of a precision.

Equal tensors of different graphs are stored once. A float32 tensor whose values are all exactly
float16 is stored as float16 behind a Cast, which the runtime folds away when it opens the graph:
half the size and the same numbers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from lavin_deploy.export.graphs.trace import Traced

ALIGN = 64


def packs_losslessly(array: NDArray[np.generic]) -> bool:
    """Whether a float32 array survives a trip through float16 unchanged."""
    if array.dtype != np.float32:
        return False
    with np.errstate(over="ignore"):
        return bool(np.array_equal(array.astype(np.float16).astype(np.float32), array))


class WeightFile:
    """Collects tensors in one file beside the graphs that use them.

    Args:
        path: the file to write; graphs must lie in the same folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[bytes, tuple[int, int]] = {}
        self._end = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    def _store(self, array: NDArray[np.generic]) -> tuple[int, int]:
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        key = hashlib.sha256(content).digest()
        if key not in self._places:
            offset = -(-self._end // ALIGN) * ALIGN
            with self.path.open("r+b") as file:
                file.seek(offset)
                file.write(content)
            self._places[key] = (offset, len(content))
            self._end = offset + len(content)
        return self._places[key]

    def externalise(self, traced: Traced) -> onnx.ModelProto:
        """Write the large initialisers of a graph into the file.

        Returns:
            The graph, which refers to the file; ``traced`` is not changed.
        """
        model = onnx.ModelProto()
        model.CopyFrom(traced.model)
        casts = []
        for tensor in model.graph.initializer:
            if tensor.name not in traced.weights:
                continue
            name = tensor.name
            array = traced.weights[name]()
            if packs_losslessly(array):
                array = array.astype(np.float16)
                stored = f"{name}.stored"
                cast = onnx.helper.make_node(
                    "Cast", [stored], [name], name=f"{name}.unpack", to=onnx.TensorProto.FLOAT
                )
                casts.append(cast)
                name = stored
            offset, length = self._store(array)
            tensor.CopyFrom(
                onnx.TensorProto(
                    name=name,
                    dims=array.shape,
                    data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
                    data_location=onnx.TensorProto.EXTERNAL,
                )
            )
            place = {"location": self.path.name, "offset": str(offset), "length": str(length)}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=value)
        nodes = [*casts, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        return model
