"""int8 and fp8 graphs: valid, close, one scale a channel, and TensorRT builds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from lavin_deploy.config import ModelConfig, preset
from lavin_deploy.export.graphs.catalogue import GraphChoice, graph_specs
from lavin_deploy.export.graphs.savings import DEFAULT, GraphRewrites
from lavin_deploy.export.graphs.trace import Traced, trace
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.export.precision.calibration import Feed
from lavin_deploy.export.precision.lowering import Lowering, lower
from lavin_deploy.export.precision.quantise import Quantisation, products, quantise
from lavin_deploy.export.precision.ranges import BINS, Probe, best_clip
from lavin_deploy.export.precision.rules import module_of
from lavin_deploy.export.precision.smoothing import smooth, smoothing_factors
from lavin_deploy.names import Quantised
from lavin_deploy.runtime.backends.onnxruntime import EXACT_INT8
from tests.helpers import rtx
from tests.helpers.checkpoints import random_models

pytestmark = pytest.mark.parity
TINY = preset("tiny")
NAMES = ("step", "step_null", "encoder", "decoder", "modulation")
ERROR = {"int8": 0.05, "fp8": 0.1}
"""Relative L2 of an output: random weights, seeded normal inputs."""

Calibrated = tuple[dict[str, Traced], dict[str, Sequence[Feed]]]


def calibrated(
    config: ModelConfig, names: Sequence[str], rewrites: GraphRewrites = DEFAULT
) -> Calibrated:
    choice = GraphChoice(sizes=[(32, 48)], pairs=[1], context=config.dit.context, rewrites=rewrites)
    specs = {spec.name: spec for spec in graph_specs(*random_models(config), choice)}
    traced = {name: trace(specs[name]) for name in names}
    return traced, {n: [specs[n].example(seed).feed for seed in range(4)] for n in names}


@pytest.fixture(scope="module")
def tiny() -> Calibrated:
    return calibrated(TINY, NAMES)


@pytest.fixture(scope="module", params=["int8", "fp8"])
def quantised(tiny: Calibrated, request: pytest.FixtureRequest) -> tuple[Quantised, dict]:
    quantisation = Quantisation(precision=request.param, convolutions=True)
    return request.param, quantise(*tiny, quantisation)


def saved(traced: Traced, folder: Path) -> onnx.ModelProto:
    model = WeightFile(folder / "all.weights").externalise(traced)
    onnx.save(model, folder / "graph.onnx")
    onnx.checker.check_model(folder / "graph.onnx", full_check=True)
    return model


def run(traced: Traced, feed: Feed, folder: Path) -> np.ndarray:
    saved(traced, folder)
    options = ort.SessionOptions()
    options.add_session_config_entry(EXACT_INT8, "1")
    if any(t.data_type == TensorProto.FLOAT8E4M3FN for t in traced.model.graph.initializer):
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(folder / "graph.onnx", options)
    return session.run(None, dict(feed))[0].astype(np.float64)


def distance(outputs: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(outputs - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", ["step", "encoder", "decoder"])
def test_a_quantised_graph_is_valid_and_close(
    name: str, tiny: Calibrated, quantised: tuple, tmp_path: Path
) -> None:
    precision, graphs = quantised
    feed = tiny[1][name][0]
    expected = run(tiny[0][name], feed, tmp_path)
    error = distance(run(graphs[name], feed, tmp_path), expected)
    assert 1e-4 < error < ERROR[precision]
    half = distance(run(lower(graphs[name], Lowering(low="fp16")), feed, tmp_path), expected)
    assert half < 1.2 * ERROR[precision]


@pytest.mark.parametrize("off", [[], ["fused-projections"]])
def test_onnxruntime_multiplies_integers_in_every_product(off: list[str], tmp_path: Path) -> None:
    traced, feeds = calibrated(TINY, ["step"], GraphRewrites.chosen(off=off))
    quantisation = Quantisation(precision="int8")
    saved(quantise(traced, feeds, quantisation)["step"], tmp_path)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(tmp_path / "graph.onnx", options)
    run_as = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    expected = len(products(traced["step"].model, quantisation))
    assert run_as.count("MatMulIntegerToFloat") == expected


@pytest.mark.parametrize("name", ["step", "decoder"])
def test_weights_have_a_scale_for_each_output_channel(
    name: str, tiny: Calibrated, quantised: tuple, tmp_path: Path
) -> None:
    precision, graphs = quantised
    kind = TensorProto.INT8 if precision == "int8" else TensorProto.FLOAT8E4M3FN
    model = saved(graphs[name], tmp_path)
    whole = onnx.load(tmp_path / "graph.onnx")
    stored = {tensor.name: tensor for tensor in whole.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    chosen = products(tiny[0][name].model, Quantisation(precision=precision, convolutions=True))
    nodes = {node.name: node for node in model.graph.node}
    assert chosen
    for before in chosen:
        node = nodes[before.name]
        assert module_of(node) == module_of(before)
        dequantise = makers[node.input[1]]
        weight = numpy_helper.to_array(stored[dequantise.input[0]])
        scale = stored[dequantise.input[1]]
        axis = 0 if node.op_type == "Conv" else 1
        assert dequantise.op_type == "DequantizeLinear"
        assert dequantise.attribute[0].i == axis
        assert stored[dequantise.input[0]].data_type == kind
        assert list(scale.dims) == [weight.shape[axis]]
        assert stored[dequantise.input[0]].name in graphs[name].weights  # so not in the structure
        quantise_ = makers[makers[node.input[0]].input[0]]
        assert quantise_.op_type == "QuantizeLinear"
        assert list(stored[quantise_.input[1]].dims) == []
        assert stored[quantise_.input[2]].data_type == kind
        if precision == "int8":
            rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
            assert (np.abs(rows.astype(int)).max(axis=1) == 127).all()


def test_ends_norms_and_the_modulation_stay(tiny: Calibrated, quantised: tuple) -> None:
    _, graphs = quantised
    assert graphs["modulation"] is tiny[0]["modulation"]
    left = set()
    for name, traced in graphs.items():
        dequantised = {n.output[0] for n in traced.model.graph.node if "Dequantize" in n.op_type}
        for node in traced.model.graph.node:
            if node.op_type in ("MatMul", "Conv") and not dequantised & set(node.input):
                left.add(module_of(node))
            elif node.op_type not in ("MatMul", "Conv", "QuantizeLinear", "DequantizeLinear"):
                assert not dequantised & set(node.input), (name, node.name)
    ends = {"cond_embedder.0", "x_embedder.0", "final"}
    ends |= {f"{side}.conv_{end}" for side in ("encoder", "decoder") for end in ("in", "out")}
    assert ends <= left
    assert all("norm" in module for module in left - ends if not module.startswith("dit"))


def test_modules_and_convolutions_can_be_kept_in_fp32(tiny: Calibrated) -> None:
    quantisation = Quantisation(precision="int8", fp32_modules=frozenset({"blocks.1.x_mlp"}))
    graphs = quantise(*tiny, quantisation)
    assert graphs["decoder"] is tiny[0]["decoder"]
    modules = {module_of(n) for n in products(tiny[0]["step"].model, quantisation)}
    assert "blocks.1.cond_mlp.down" in modules
    assert "blocks.1.x_mlp.down" not in modules


def test_smoothed_channels_give_the_same_and_round_better(tmp_path: Path) -> None:
    dit, vae = random_models(TINY)
    for block in dit.joint_blocks():  # a few channels far above the others, as trained models have
        block.get_parameter("x_mlp.up_proj.weight").data[::50] *= 30
    specs = graph_specs(dit, vae, GraphChoice(sizes=[(32, 48)], pairs=[1]))
    spec = next(spec for spec in specs if spec.name == "step")
    traced, feeds = trace(spec), [spec.example(seed).feed for seed in range(4)]
    quantisation = Quantisation(precision="int8")
    nodes = products(traced.model, quantisation)
    channels = Probe(traced, {node.input[0]: -1 for node in nodes}, feeds).channels()
    peaks = {name: each.peak for name, each in channels.items()}
    factors = smoothing_factors({"step": (traced, nodes, channels)})
    expected = run(traced, feeds[0], tmp_path)
    smoothed = smooth(traced, nodes, factors)
    assert distance(run(smoothed.traced, feeds[0], tmp_path), expected) < 1e-5
    assert len(smoothed.divisors) == 6 * (TINY.dit.depth - 1) + 4  # the last context has no MLP

    def spread(peak: np.ndarray) -> float:
        return float(peak.max() / np.median(peak))

    wild = [name for name in smoothed.divisors if spread(peaks[name]) > 10]
    assert len(wild) == TINY.dit.depth
    for name in wild:
        assert spread(peaks[name] / smoothed.divisors[name]) < 0.5 * spread(peaks[name])
    quantised = quantise({"step": traced}, {"step": feeds}, quantisation)["step"]
    assert distance(run(quantised, feeds[0], tmp_path), expected) < ERROR["int8"]


def test_graphs_share_what_they_shared(tiny: Calibrated, tmp_path: Path) -> None:
    quantisation = Quantisation(precision="int8")
    graphs = quantise(*tiny, quantisation)
    file = WeightFile(tmp_path / "all.weights")
    file.externalise(graphs["step"])
    alone = file.path.stat().st_size
    file.externalise(graphs["step_null"])
    assert file.path.stat().st_size < 1.1 * alone  # RoPE's tables and scales are its own


@pytest.mark.parametrize("kind", ["frozen", "unfused"])
def test_other_forms_of_the_step(kind: str, tmp_path: Path) -> None:
    if kind == "frozen":
        config = replace(TINY, dit=replace(TINY.dit, context="frozen"))
        traced, feeds = calibrated(config, ["query", "step"])
    else:
        rewrites = GraphRewrites.chosen(off=["fused_projections", "folded_time"])
        traced, feeds = calibrated(TINY, ["step"], rewrites)
    graphs = quantise(traced, feeds, Quantisation(precision="int8"))
    for name, each in graphs.items():
        expected = run(traced[name], feeds[name][1], tmp_path)
        assert distance(run(each, feeds[name][1], tmp_path), expected) < ERROR["int8"]


def test_the_clip_is_where_the_square_error_is_least() -> None:
    top = 8.0
    counts = np.zeros(BINS, np.int64)
    counts[: BINS // 8] = 1000  # evenly in [0, 1]
    assert best_clip(counts, top, 127) == pytest.approx(1.0, abs=0.2)
    counts[-1] = 2000  # too many to give up
    assert best_clip(counts, top, 127) == pytest.approx(top, abs=0.5)


@pytest.mark.parametrize("name", ["step", "encoder", "decoder"])
def test_tensorrt_builds_it(name: str, quantised: tuple, tmp_path: Path) -> None:
    _, graphs = quantised
    for each in (graphs[name], lower(graphs[name], Lowering(low="fp16"))):
        saved(each, tmp_path)
        assert rtx.build(tmp_path / "graph.onnx") > 10_000
