"""Lowered graphs: real types, nodes kept in fp32 by rule, the same numbers as types allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto

from lavin_deploy.config import preset
from lavin_deploy.export.checks.backends import low_outputs
from lavin_deploy.export.checks.interpreter import Interpreter
from lavin_deploy.export.graphs.catalogue import GraphChoice, graph_specs
from lavin_deploy.export.graphs.savings import GraphRewrites
from lavin_deploy.export.graphs.spec import GraphSpec
from lavin_deploy.export.graphs.trace import Traced, trace
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.export.precision.lowering import Lowering, choose_wide, lower
from lavin_deploy.export.precision.rules import MOVEMENT, NORMS, module_of
from tests.helpers.checkpoints import random_models

pytestmark = pytest.mark.parity
TINY = preset("tiny")
TYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
}
BOUNDS = {"fp32": 2e-6, "fp16": 3e-3, "bf16": 2.5e-2}
"""Relative L2: about three times the unit roundoff of each type, and float32's own noise."""


def specs(context: str = "joint") -> dict[str, GraphSpec]:
    config = replace(TINY, dit=replace(TINY.dit, context=context))
    choice = GraphChoice(sizes=[(32, 48)], pairs=[1], context=config.dit.context)
    return {spec.name: spec for spec in graph_specs(*random_models(config), choice)}


def saved(traced: Traced, folder: Path) -> onnx.ModelProto:
    model = WeightFile(folder / "all.weights").externalise(traced)
    onnx.save(model, folder / "graph.onnx")
    onnx.checker.check_model(folder / "graph.onnx", full_check=True)
    return model


def distance(output: torch.Tensor, expected: torch.Tensor) -> float:
    return float((output.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", ["encoder", "decoder", "step", "context", "query"])
def test_a_lowered_graph_computes_the_same(name: str, precision: str, tmp_path: Path) -> None:
    spec = specs("frozen" if name in ("context", "query") else "joint")[name]
    traced = trace(spec)
    if precision != "fp32":
        traced = lower(traced, Lowering(low=precision))  # type: ignore[arg-type]
    model = saved(traced, tmp_path)
    example = spec.example(3)
    types = {i.name: TYPES[i.type.tensor_type.elem_type] for i in model.graph.input}
    feed = {k: torch.from_numpy(v).to(types[k]) for k, v in example.feed.items()}
    with torch.no_grad():
        expected = spec.reference(**example.model_inputs)
    results = Interpreter(model, tmp_path).run(feed)
    for output, reference in zip(spec.outputs, expected, strict=True):
        assert distance(results[output], reference) < BOUNDS[precision]
        if precision != "fp32":
            assert distance(results[output], reference) > BOUNDS["fp32"]  # it was lowered
    if precision == "bf16":
        return  # ONNX Runtime's CPU provider has no bf16 kernels for these
    session = ort.InferenceSession(tmp_path / "graph.onnx")
    outputs = session.run(list(spec.outputs), {k: v.numpy() for k, v in feed.items()})
    for output, reference in zip(outputs, expected, strict=True):
        assert distance(torch.from_numpy(output), reference) < BOUNDS[precision]


@pytest.mark.parametrize("name", ["decoder", "step"])
def test_norms_stay_wide_and_products_do_not(name: str) -> None:
    traced = trace(specs()[name])
    reasons = choose_wide(traced.model, Lowering(low="fp16"))
    low = set(low_outputs(lower(traced, Lowering(low="fp16")).model.graph))
    for node in traced.model.graph.node:
        if node.op_type in NORMS:
            assert reasons[node.output[0]] == "norm_statistics" or "embedder" in module_of(node)
            assert node.output[0] not in low
        if node.op_type in ("MatMul", "Conv", "Attention") and "embedder" not in module_of(node):
            assert node.output[0] in low
    assert "x_embedder" not in {module_of(n) for n in traced.model.graph.node if n.output[0] in low}


def test_the_3d_form_runs_in_the_interpreter_too(tmp_path: Path) -> None:
    rewrites = GraphRewrites.chosen(off=["single_frame_vae"])
    choice = GraphChoice(sizes=[(32, 48)], pairs=[1], rewrites=rewrites)
    spec = next(p for p in graph_specs(*random_models(TINY), choice) if p.name == "encoder")
    model = saved(lower(trace(spec), Lowering(low="fp16")), tmp_path)
    example = spec.example(3)
    results = Interpreter(model, tmp_path).run({"pixels": example.model_inputs["pixels"]})
    with torch.no_grad():
        (expected,) = spec.reference(**example.model_inputs)
    assert distance(results["mean"], expected) < BOUNDS["fp16"]


def test_positions_that_a_run_may_give_stay_wide(tmp_path: Path) -> None:
    rewrites = GraphRewrites.chosen(off=["rope_constants"])
    choice = GraphChoice(sizes=[(32, 48)], pairs=[1], rewrites=rewrites)
    spec = next(p for p in graph_specs(*random_models(TINY), choice) if p.name == "step")
    saved(lower(trace(spec), Lowering(low="fp16")), tmp_path)
    session = ort.InferenceSession(tmp_path / "graph.onnx")
    example = spec.example(3)
    with torch.no_grad():
        (expected,) = spec.reference(**example.model_inputs)
    (velocity,) = session.run(["velocity"], example.feed)
    assert distance(torch.from_numpy(velocity), expected) < BOUNDS["fp16"]


def test_weights_take_half_the_bytes(tmp_path: Path) -> None:
    traced = trace(specs()["step"])
    sizes = []
    for name, each in (("a", traced), ("b", lower(traced, Lowering(low="fp16")))):
        (tmp_path / name).mkdir()
        saved(each, tmp_path / name)
        sizes.append((tmp_path / name / "all.weights").stat().st_size)
    assert sizes[1] < 0.55 * sizes[0]


def test_modules_and_single_nodes_are_kept_in_fp32(tmp_path: Path) -> None:
    traced = trace(specs()["step"])
    node = next(n for n in traced.model.graph.node if module_of(n) == "blocks.2.x_mlp.down")
    lowering = Lowering(
        low="fp16", fp32_modules=frozenset({"blocks.0.x_mlp"}), wide=frozenset({node.name})
    )
    reasons = choose_wide(traced.model, lowering)
    assert reasons[node.output[0]] == "range"
    model = lower(traced, lowering).model
    low = set(low_outputs(model.graph))
    for n in traced.model.graph.node:
        if module_of(n).startswith("blocks.0.x_mlp") and n.op_type not in MOVEMENT:
            assert not low & set(n.output)
    assert any(module_of(n) == "blocks.1.x_mlp" and n.output[0] in low for n in model.graph.node)
    saved(lower(traced, lowering), tmp_path)


def test_an_overflow_shows_in_torch_and_nowhere_else(tmp_path: Path) -> None:
    config = TINY
    dit, vae = random_models(config)
    with torch.no_grad():
        dit.joint_blocks()[1].x_mlp.up_proj.weight.mul_(1e5)
    choice = GraphChoice(sizes=[(32, 32)], pairs=[1])
    spec = next(p for p in graph_specs(dit, vae, choice) if p.name == "step")
    model = saved(lower(trace(spec), Lowering(low="fp16")), tmp_path)
    feed = spec.example(3).feed
    results = Interpreter(model, tmp_path).run({k: torch.from_numpy(v) for k, v in feed.items()})
    assert not torch.isfinite(results["velocity"]).all()
    wide = Lowering(low="fp16", fp32_modules=frozenset({"blocks.1.x_mlp"}))
    model = saved(lower(trace(spec), wide), tmp_path)
    results = Interpreter(model, tmp_path).run({k: torch.from_numpy(v) for k, v in feed.items()})
    with torch.no_grad():
        (expected,) = spec.reference(**spec.example(3).model_inputs)
    assert distance(results["velocity"], expected) < BOUNDS["fp16"]
    assert np.isfinite(expected.numpy()).all()
