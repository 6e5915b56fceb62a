from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from lavin_deploy.export.graphs.trace import Traced
from lavin_deploy.export.graphs.weights import WeightFile, packs_losslessly

pytestmark = pytest.mark.unit


def graph(weight: np.ndarray) -> onnx.ModelProto:
    """y = x @ weight."""
    shapes = [("x", [2, weight.shape[0]]), ("y", [2, weight.shape[1]])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph_proto = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(
        graph_proto, opset_imports=[helper.make_opsetid("", 23)], ir_version=10
    )


@pytest.mark.parametrize("packed", [True, False])
def test_two_graphs_share_their_weights(tmp_path: Path, packed: bool) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((64, 32), dtype=np.float32)
    if packed:
        weight = weight.astype(np.float16).astype(np.float32)
    assert packs_losslessly(weight) is packed
    shared = WeightFile(tmp_path / "all.weights")
    x = rng.standard_normal((2, 64), dtype=np.float32)
    for name in ("a.onnx", "b.onnx"):
        traced = Traced(model=graph(weight), weights={"w": lambda: weight})
        onnx.save(shared.externalise(traced), tmp_path / name)
        session = ort.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ weight, rtol=1e-5, atol=1e-5)
        onnx.checker.check_model(tmp_path / name)
    assert (tmp_path / "all.weights").stat().st_size == weight.size * (2 if packed else 4)


@pytest.mark.parametrize("value", [70000.0, 1e-9, 1.0001])
def test_what_float16_cannot_hold_is_kept(value: float) -> None:
    assert not packs_losslessly(np.full(4, value, np.float32))
