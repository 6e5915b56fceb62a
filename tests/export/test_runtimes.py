"""The graphs of whole exports in runtimes that had no part in making them."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from lavin_deploy.bundle.manifest import Graph, Variant
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.cli.export import export
from lavin_deploy.config import preset
from lavin_deploy.errors import WorkError
from lavin_deploy.export.graphs.catalogue import GraphChoice, graph_specs
from lavin_deploy.export.graphs.spec import GraphSpec
from lavin_deploy.export.graphs.trace import Traced, trace
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.export.precision.lowering import Lowering, lower
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from lavin_deploy.runtime.pipeline import DEFAULT_BUNDLE
from tests.export.checks.test_gate import SMALL
from tests.helpers import rtx
from tests.helpers.checkpoints import random_models, write_released

pytestmark = pytest.mark.parity
TOLERANCE = 1e-4
"""Largest deviation between two runtimes at fp32, relative to the largest value."""


@pytest.fixture
def bundle(exported: Bundle) -> Bundle:
    return exported


def files(bundle: Bundle, precision: str, dialect: str = "native") -> list[tuple[Graph, Path]]:
    variant = bundle.variant(precision, dialect)
    return [(graph, bundle.graph_file(variant, graph)) for graph in variant.graphs]


def feed(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        spec.name: rng.standard_normal(spec.shape).clip(-1, 1).astype(spec.dtype)
        for spec in graph.inputs
    }


def agree(bundle: Bundle, variant: Variant) -> None:
    """ONNX Runtime and OpenVINO give the same numbers for every graph."""
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    with OnnxRuntimeBackend(bundle, variant) as backend:
        for graph in variant.graphs:
            file = bundle.graph_file(variant, graph)
            exact = {"INFERENCE_PRECISION_HINT": "f32"}
            compiled = core.compile_model(file, "CPU", exact)
            inputs = feed(graph)
            outputs = compiled(inputs)
            for name, expected in backend.infer(graph, inputs).items():
                off = np.abs(outputs[name] - expected).max() / np.abs(expected).max()
                assert off < TOLERANCE, f"{graph.file} {name}: {off}"


def test_openvino_agrees(bundle: Bundle) -> None:
    agree(bundle, bundle.variant("fp32", "native"))


def test_openvino_agrees_on_the_bundle_that_ships() -> None:
    with open_bundle(DEFAULT_BUNDLE) as opened:
        agree(opened, opened.variant("fp32"))


def test_dialects_agree(bundle: Bundle) -> None:
    native, portable = (bundle.variant("fp32", name) for name in ("native", "portable"))
    with (
        OnnxRuntimeBackend(bundle, native) as one,
        OnnxRuntimeBackend(bundle, portable) as other,
    ):
        for left, right in zip(native.graphs, portable.graphs, strict=True):
            assert left.inputs == right.inputs
            outputs = other.infer(right, feed(right))
            for name, expected in one.infer(left, feed(left)).items():
                assert np.abs(outputs[name] - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("dialect", ["native", "portable"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_checker_knows_every_shape(bundle: Bundle, precision: str, dialect: str) -> None:
    for _, file in files(bundle, precision, dialect):
        onnx.checker.check_model(file, full_check=True)
        model = onnx.shape_inference.infer_shapes(
            onnx.load(file, load_external_data=False), strict_mode=True, data_prop=True
        )
        typed = {i.name for i in (*model.graph.value_info, *model.graph.output)}
        outputs = {name for node in model.graph.node for name in node.output if name}
        assert outputs <= typed


def test_no_node_has_more_outputs_than_browsers_take(bundle: Bundle) -> None:
    """WebGPU guarantees eight storage buffers a stage: an input and seven outputs."""
    for variant in bundle.manifest.variants:
        for graph, file in files(bundle, variant.precision, variant.dialect):
            model = onnx.load(file, load_external_data=False)
            bodies = (model.graph.node, *(function.node for function in model.functions))
            assert max(len(node.output) for body in bodies for node in body) <= 7, graph.file


def read_by_polygraphy(graph: Graph, file: Path) -> None:
    # Not imported here: it serves the library that it is first imported for, in this process.
    if importlib.util.find_spec("polygraphy") is None:
        pytest.skip("polygraphy is not installed")
    tool = Path(sys.executable).with_name("polygraphy")
    told = subprocess.run([tool, "inspect", "model", file], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    for spec in (*graph.inputs, *graph.outputs):
        assert f"{spec.name} [dtype={spec.dtype}" in told.stdout


def test_polygraphy_reads_every_graph(bundle: Bundle) -> None:
    for graph, file in files(bundle, "fp32") + files(bundle, "fp16")[-1:]:
        read_by_polygraphy(graph, file)


def test_the_checkers_accept_the_bundle_that_ships() -> None:
    with open_bundle(DEFAULT_BUNDLE) as opened:
        for graph, file in files(opened, "fp32"):
            onnx.checker.check_model(file, full_check=True)
            read_by_polygraphy(graph, file)


def saved(traced: Traced, folder: Path) -> Path:
    onnx.save(WeightFile(folder / "all.weights").externalise(traced), folder / "graph.onnx")
    return folder / "graph.onnx"


def unpacked(file: Path) -> Traced:
    """Read a graph with its weights; float32 ones that were stored as float16 are so again."""
    model = onnx.load(file)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type == "Cast" and node.input[0] in stored:
            tensor = stored[node.input[0]]
            array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, node.output[0]))
            model.graph.node.remove(node)
    return Traced(model=model)


@pytest.mark.parametrize("name", ["encoder", "decoder", "step"])
def test_tensorrt_builds_what_ships_in_fp16(name: str, tmp_path: Path) -> None:
    with open_bundle(DEFAULT_BUNDLE) as opened:
        (file,) = (file for graph, file in files(opened, "fp32") if graph.name == name)
        lowered = lower(unpacked(file), Lowering(low="fp16"))
    assert rtx.build(saved(lowered, tmp_path)) > 10_000


@functools.cache
def further_specs() -> dict[str, GraphSpec]:
    """Graphs that the exports above have not: refreshing ones, and those for video."""
    models = random_models(preset("tiny"))
    choice = GraphChoice(sizes=[(32, 48)], pairs=[1], context="frozen", clips=[5], chunk=1)
    specs = {spec.name: spec for spec in graph_specs(*models, choice)}
    exported = ("modulation", "encoder", "decoder", "step", "step_null")
    return {name: spec for name, spec in specs.items() if name not in exported}


FURTHER = (
    *("refresh", "refresh_null", "clip_encoder", "clip_decoder"),
    *("encoder_start", "encoder_next", "decoder_start", "decoder_next"),
)


def test_no_graph_is_left_out() -> None:
    assert set(further_specs()) == set(FURTHER)


@pytest.mark.parametrize("name", FURTHER)
def test_further_graphs(name: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    spec = further_specs()[name]
    traced = trace(spec)
    (tmp_path / "fp32").mkdir()
    file = saved(traced, tmp_path / "fp32")
    onnx.checker.check_model(file, full_check=True)
    inputs = spec.example(3).feed
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled(inputs)
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    for output, expected in zip(spec.outputs, session.run(spec.outputs, inputs), strict=True):
        off = np.abs(results[output] - expected).max() / np.abs(expected).max()
        assert off < TOLERANCE, f"{output}: {off}"
    assert rtx.build(saved(lower(traced, Lowering(low="fp16")), tmp_path)) > 10_000


@pytest.mark.soak
def test_tensorrt_builds_the_further_graphs_of_an_int8_export(
    tmp_path: Path, golden_tasks: Path
) -> None:
    write_released(tmp_path / "ckpt", SMALL)
    words = ["--ckpt", str(tmp_path / "ckpt"), "--out", str(tmp_path / "m.lavin"), "--size=32x48"]
    words += ["--pairs=1", "--steps=3", "--tasks", str(golden_tasks), "--force"]
    words += ["--precision=int8", "--context=frozen", "--clip=5", "--stream=1"]
    export(words, standalone_mode=False)
    with open_bundle(tmp_path / "m.lavin") as opened:
        quantised = files(opened, "int8")
        assert {graph.name for graph, _ in quantised} >= set(FURTHER)
        for graph, file in quantised:
            assert rtx.build(file) > 10_000, graph.file


def test_a_graph_that_tensorrt_refuses_is_named(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
    node = helper.make_node("NoSuchOperator", ["a"], ["b"], name="odd", domain="example")
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "g.onnx")
    with pytest.raises(WorkError, match=r"build g\.onnx: .*name: odd and operator: NoSuchOperator"):
        rtx.build(tmp_path / "g.onnx")
