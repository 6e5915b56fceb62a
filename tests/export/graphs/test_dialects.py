"""The portable dialect: opset 18, two operators as functions, and the numbers of the native one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from lavin_deploy.arrays import Array
from lavin_deploy.config import preset
from lavin_deploy.export.checks.backends import low_outputs
from lavin_deploy.export.checks.interpreter import Interpreter
from lavin_deploy.export.graphs.catalogue import GraphChoice, graph_specs
from lavin_deploy.export.graphs.spec import GraphSpec
from lavin_deploy.export.graphs.trace import Traced, trace
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.export.precision.lowering import Lowering, choose_wide, lower
from lavin_deploy.export.precision.rules import NORMS
from lavin_deploy.names import Dialect
from lavin_deploy.portable import bare, functions, inlined
from tests.helpers.checkpoints import random_models

pytestmark = pytest.mark.parity
TINY = preset("tiny")
STEPS = (
    *("joint-step", "frozen-context", "frozen-query", "frozen-step", "frozen-query_null"),
    *("merged-context", "merged-step", "merged-context_null"),
)
GRAPHS = (*STEPS, "joint-encoder", "joint-decoder", "joint-modulation")
SAME, LOW = 1e-5, {"fp16": 3e-3, "bf16": 2.5e-2}
"""Relative L2: float32's own noise, and about three times the unit roundoff of a lower type."""
FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
TYPES = {FLOAT: np.dtype(np.float32), FLOAT16: np.dtype(np.float16)}


@cache
def specs(kind: str, dialect: Dialect) -> dict[str, GraphSpec]:
    changes = {"context": "frozen", "pairing": "merged"} if kind == "merged" else {"context": kind}
    config = replace(TINY, dit=replace(TINY.dit, **changes))
    choice = GraphChoice(sizes=[(32, 48)], pairs=[1], context=config.dit.context, dialect=dialect)
    return {spec.name: spec for spec in graph_specs(*random_models(config), choice)}


def spec_of(graph: str, dialect: Dialect = "portable") -> GraphSpec:
    kind, name = graph.split("-")
    return specs(kind, dialect)[name]


@cache
def traced_of(graph: str, dialect: Dialect = "portable") -> Traced:
    return trace(spec_of(graph, dialect))


def written(traced: Traced, folder: Path) -> onnx.ModelProto:
    """The model as files, checked."""
    return checked(WeightFile(folder / "all.weights").externalise(traced), folder)


def checked(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    onnx.save(model, folder / "graph.onnx")
    onnx.checker.check_model(folder / "graph.onnx", full_check=True)
    return model


def feed(graph: str, model: onnx.ModelProto) -> dict[str, Array]:
    types = {info.name: TYPES[info.type.tensor_type.elem_type] for info in model.graph.input}
    return {name: x.astype(types[name]) for name, x in spec_of(graph).example(3).feed.items()}


def run(graph: str, model: onnx.ModelProto, folder: Path) -> list[Array]:
    """Run the model in the folder in ONNX Runtime."""
    session = ort.InferenceSession(folder / "graph.onnx")
    outputs: list[Array] = session.run(list(spec_of(graph).outputs), feed(graph, model))
    return outputs


@cache
def reference(graph: str) -> list[Array]:
    spec = spec_of(graph, "native")
    with torch.no_grad():
        return [part.numpy() for part in spec.reference(**spec.example(3).model_inputs)]


def distance(outputs: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest relative L2 of all outputs."""
    pairs = [(a.astype(np.float64), b) for a, b in zip(outputs, expected, strict=True)]
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


def custom(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.domain]


@pytest.mark.parametrize("graph", GRAPHS)
def test_both_forms_and_the_native_dialect_agree(graph: str, tmp_path: Path) -> None:
    native = run(graph, written(traced_of(graph, "native"), tmp_path), tmp_path)
    assert distance(native, reference(graph)) < SAME
    model = written(traced_of(graph), tmp_path)
    portable = run(graph, model, tmp_path)
    assert distance(portable, native) < SAME
    assert bool(model.functions) == (graph in STEPS)
    plain = checked(inlined(model), tmp_path)
    assert not plain.functions
    assert not custom(plain)
    assert distance(run(graph, plain, tmp_path), portable) < SAME


@pytest.mark.parametrize("graph", GRAPHS)
def test_eager_operators_give_the_same(graph: str) -> None:
    spec = spec_of(graph)
    example = spec.example(3)
    module = spec.build()
    with torch.no_grad():
        result = module(*(torch.from_numpy(array) for array in example.feed.values()))
    outputs = [result] if isinstance(result, torch.Tensor) else result
    assert distance([part.numpy() for part in outputs], reference(graph)) < SAME


@pytest.mark.parametrize("graph", GRAPHS)
def test_no_operator_is_newer_than_opset_18(graph: str) -> None:
    model = inlined(traced_of(graph).model)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    assert versions[""] == 18
    for node in model.graph.node:
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=18)
        assert not schema.deprecated
    for function in functions():
        assert [(entry.domain, entry.version) for entry in function.opset_import] == [("", 18)]


@pytest.mark.parametrize("graph", STEPS)
def test_a_bare_graph_holds_what_a_plugin_needs(graph: str) -> None:
    model = bare(traced_of(graph).model)
    assert not model.functions
    assert {(node.domain, node.op_type) for node in custom(model)} == {
        ("lavin", "RoPE3D"),
        ("lavin", "GroupedQueryAttention"),
    }
    config = TINY.dit
    shapes = {
        info.name: [axis.dim_value for axis in info.type.tensor_type.shape.dim]
        for info in (*model.graph.value_info, *model.graph.input, *model.graph.output)
    }
    for node in custom(model):
        attributes = {part.name: onnx.helper.get_attribute_value(part) for part in node.attribute}
        assert attributes.pop("plugin_namespace") == b"lavin"
        assert attributes.pop("plugin_version") == b"1"
        assert not node.overload
        assert attributes.pop("kv_num_heads") == config.num_kv_heads
        assert attributes.pop("head_dim") == config.head_dim
        queries = node.op_type == "GroupedQueryAttention" or len(node.input) == 6
        heads = config.num_heads if queries else config.num_kv_heads
        assert attributes.pop("num_heads") == heads
        if node.op_type == "GroupedQueryAttention":
            assert attributes == {"scale": pytest.approx(config.head_dim**-0.5)}
            for name in node.input[1:]:
                assert shapes[name][1] == config.num_kv_heads
        else:
            assert attributes == {"epsilon": pytest.approx(1e-6), "queries": int(queries)}
    assert not {"Expand", "Tile"} & {node.op_type for node in model.graph.node}


def test_keys_of_a_frozen_context_go_straight_into_attention() -> None:
    model = bare(traced_of("frozen-step").model)
    inputs = {info.name for info in model.graph.input}
    attention = [node for node in custom(model) if node.op_type == "GroupedQueryAttention"]
    assert [list(node.input[3:]) for node in attention] == [
        [f"k.{index}", f"v.{index}"] for index in range(TINY.dit.depth)
    ]
    readers = Counter(name for node in model.graph.node for name in node.input if name in inputs)
    assert all(readers[name] == 1 for node in attention for name in node.input[3:])
    assert "Concat" not in {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("graph", GRAPHS[:-1])
def test_lowered_graphs_agree(graph: str, tmp_path: Path) -> None:
    traced = lower(traced_of(graph), Lowering(low="fp16"))
    low = set(low_outputs(traced.model.graph))
    assert low
    for node in custom(traced.model):
        assert set(node.output) <= low
    model = written(traced, tmp_path)
    assert distance(run(graph, model, tmp_path), reference(graph)) < LOW["fp16"]
    plain = checked(inlined(model), tmp_path)
    assert distance(run(graph, plain, tmp_path), reference(graph)) < LOW["fp16"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("graph", ["joint-step", "frozen-query_null", "joint-decoder"])
def test_the_interpreter_runs_the_operators(graph: str, precision: str, tmp_path: Path) -> None:
    traced = traced_of(graph)
    if precision != "fp32":
        traced = lower(traced, Lowering(low=precision))  # type: ignore[arg-type]
    model = written(traced, tmp_path)
    tensors = {k: torch.from_numpy(x) for k, x in spec_of(graph).example(3).feed.items()}
    results = Interpreter(model, tmp_path).run(tensors)
    outputs = [results[name].float().numpy() for name in spec_of(graph).outputs]
    assert distance(outputs, reference(graph)) < LOW.get(precision, SAME)


@pytest.mark.parametrize("graph", ["joint-step", "joint-decoder"])
def test_norms_are_wide_with_their_weights(graph: str) -> None:
    model = traced_of(graph).model
    wide = choose_wide(model, Lowering(low="fp16"))
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in NORMS:
            assert wide[node.output[0]] == "norm_statistics"
        before = [makers[name].op_type for name in node.input if name in makers]
        if "Div" in before or "ReduceMean" in before:
            assert wide[node.output[0]] in ("norm_affine", "update", "norm_statistics")
        if node.op_type in ("MatMul", "Conv", "Sigmoid", "RoPE3D", "GroupedQueryAttention"):
            assert wide.get(node.output[0]) in (None, "embedders")
    assert set(wide.values()) <= {
        *("norm_statistics", "norm_affine", "between", "embedders", "modulation", "update")
    }


@pytest.mark.parametrize("graph", GRAPHS)
def test_inlined_graphs_run_in_openvino(graph: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    model = written(traced_of(graph), tmp_path)
    checked(inlined(model), tmp_path)  # the file that is read below
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(tmp_path / "graph.onnx", "CPU", exact)
    results = compiled(feed(graph, model))
    outputs = [results[name] for name in spec_of(graph).outputs]
    assert distance(outputs, reference(graph)) < 1e-4


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_tensorrt_takes_inlined_graphs_in_their_own_types(precision: str, tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    for graph in GRAPHS:
        traced = lower(traced_of(graph), Lowering(low=precision))  # type: ignore[arg-type]
        checked(inlined(written(traced, tmp_path)), tmp_path)
        logger = trt.Logger(trt.Logger.ERROR)
        typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = trt.Builder(logger).create_network(typed)
        parser = trt.OnnxParser(network, logger)
        assert parser.parse_from_file(str(tmp_path / "graph.onnx")), parser.get_error(0).desc()
