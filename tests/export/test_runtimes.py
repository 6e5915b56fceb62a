"""Every graph in two independent runtimes, through the checkers, and as an engine of TensorRT-RTX.

The second runtime is OpenVINO; TensorRT-RTX parses and builds without a GPU.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import openvino
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lavin_deploy.config import ContextMode, preset
from lavin_deploy.export.graphs import GraphChoice, GraphPlan, plan_graphs
from lavin_deploy.export.precision import Lowering, lower
from lavin_deploy.export.trace import Traced, trace
from lavin_deploy.export.weights import WeightFile
from lavin_deploy.runtime.pipeline import DEFAULT_BUNDLE
from tests.helpers.checkpoints import random_models
from tests.helpers.rtx import build

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4
"""Of the largest value of an output; the runtimes sum in other orders."""

COMMON = ("modulation", "encoder", "decoder", "step", "step_null")
NAMES = {
    "joint": (*COMMON, "step_euler", "step_euler_null"),
    "frozen": (*COMMON, "context", "query", "query_null"),
    "refresh": (*COMMON, "refresh", "refresh_null"),
}
CASES = [
    (kind, name)
    for kind, names in NAMES.items()
    for name in names
    # The ST-VAE and the table of times are the same in all three.
    if kind == "joint" or name not in ("modulation", "encoder", "decoder")
]
SHIPPED = sorted(path.name for path in (DEFAULT_BUNDLE / "graphs").glob("*.onnx"))

Feed = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A graph in two files, and inputs for the first."""

    fp32: Path
    fp16: Path
    feed: Feed


@functools.cache
def plans(kind: str) -> dict[str, GraphPlan]:
    """All graphs of the tiny preset: a joint model, a frozen one, or a joint one with refreshes."""
    trained: ContextMode = "frozen" if kind == "frozen" else "joint"
    config = preset("tiny")
    config = replace(config, dit=replace(config.dit, context=trained))
    choice = GraphChoice(
        sizes=[(32, 48)],
        pairs=[1],
        context="joint" if kind == "joint" else "frozen",
        euler=kind == "joint",
    )
    return {plan.name: plan for plan in plan_graphs(*random_models(config), choice)}


def write(traced: Traced, folder: Path) -> Path:
    model = WeightFile(folder / "all.weights").externalise(traced)
    onnx.save(model, folder / "graph.onnx")
    return folder / "graph.onnx"


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    kind, name = request.param
    plan = plans(kind)[name]
    folder = tmp_path_factory.mktemp(f"{kind}-{name}")
    traced = trace(plan)
    return Made(
        fp32=write(traced, folder / "fp32"),
        fp16=write(lower(traced, Lowering(low="fp16")), folder / "fp16"),
        feed=plan.example(3).feed,
    )


def check_agreement(path: Path, feed: Feed) -> None:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # some CPUs would have it compute in bfloat16
    compiled = openvino.Core().compile_model(str(path), "CPU", exact)
    found = compiled(dict(feed))
    for name, wanted in zip(names, session.run(names, dict(feed)), strict=True):
        assert np.isfinite(wanted).all()
        off = np.abs(found[name] - wanted).max() / np.abs(wanted).max()
        assert off <= TOLERANCE, f"{path.name}, {name}: {off}"


def check_structure(path: Path) -> None:
    onnx.checker.check_model(path, full_check=True)
    tool = "import sys; from polygraphy.tools import main; sys.exit(main())"
    command = [sys.executable, "-c", tool, "inspect", "model", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Graph Output(s)" in done.stdout


@pytest.mark.parametrize("kind", NAMES)
def test_no_graph_is_left_out(kind: str) -> None:
    assert set(plans(kind)) == set(NAMES[kind])


def test_two_runtimes_agree(made: Made) -> None:
    check_agreement(made.fp32, made.feed)


def test_checkers_accept_it(made: Made) -> None:
    check_structure(made.fp32)
    check_structure(made.fp16)


def test_tensorrt_rtx_builds_it(made: Made) -> None:
    build(made.fp16)


@pytest.mark.bundle
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_graphs(name: str) -> None:
    path = DEFAULT_BUNDLE / "graphs" / name
    check_structure(path)
    rng = np.random.default_rng(3)
    feed = {}
    for given in onnx.load(path, load_external_data=False).graph.input:
        shape = [side.dim_value for side in given.type.tensor_type.shape.dim]
        feed[given.name] = rng.uniform(size=shape).astype(np.float32)
    check_agreement(path, feed)


def unpacked(path: Path) -> Traced:
    """Read a graph with its weights; float32 ones that were stored as float16 are so again."""
    model = onnx.load(path)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    for node in nodes:
        if node.op_type == "Cast" and node.input[0] in stored:
            tensor = stored[node.input[0]]
            array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, node.output[0]))
            model.graph.node.remove(node)
    return Traced(model=model)


@pytest.mark.bundle
@pytest.mark.parametrize("name", ["encoder", "decoder", "step"])
def test_tensorrt_rtx_builds_the_shipped_graphs_in_fp16(name: str, tmp_path: Path) -> None:
    (path,) = (DEFAULT_BUNDLE / "graphs").glob(f"{name}-*.onnx")
    build(write(lower(unpacked(path), Lowering(low="fp16")), tmp_path))


def test_a_graph_that_tensorrt_rtx_refuses_is_reported(tmp_path: Path) -> None:
    image = helper.make_tensor_value_info("a", TensorProto.FLOAT, [1])
    answer = helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])
    node = helper.make_node("NoSuchOperator", ["a"], ["b"], name="odd", domain="example")
    graph = helper.make_graph([node], "g", [image], [answer])
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "g.onnx")
    with pytest.raises(AssertionError, match=r"does not parse .*odd \(NoSuchOperator\)"):
        build(tmp_path / "g.onnx")
