"""The inference graphs against the plain models, in torch: every rewrite is exact."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from lavin_deploy.config import DiTConfig, ModelConfig, Pairing, Upsampler, preset
from lavin_deploy.errors import InputError
from lavin_deploy.export.graphs.catalogue import GraphChoice, graph_specs
from lavin_deploy.export.graphs.dialects import NativeOps
from lavin_deploy.export.graphs.fused import FusedDiT
from lavin_deploy.export.graphs.laid_out import head_order
from lavin_deploy.export.graphs.savings import DEFAULT, GraphRewrites
from lavin_deploy.export.graphs.spec import GraphSpec
from lavin_deploy.export.graphs.step import ModulationGraph, StepGraph
from lavin_deploy.export.graphs.trace import trace
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.rope3d import apply_rope, rope_tables
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Decoder2d, Encoder2d
from tests.helpers.checkpoints import random_models

pytestmark = pytest.mark.parity
TINY = preset("tiny")


def fused(dit: JDiT) -> FusedDiT:
    return FusedDiT(dit, NativeOps(), DEFAULT)


def test_reordered_heads_give_the_same_scores() -> None:
    width, tokens = 24, 12
    cos, sin = rope_tables(3, 2, 2, width)
    q, k = torch.randn(2, 1, 1, tokens, width)
    expected = apply_rope(q, cos, sin) @ apply_rope(k, cos, sin).mT
    order = head_order(width)
    assert sorted(order.tolist()) == list(range(width))
    cos, sin = cos.flatten(1)[None], sin.flatten(1)[None]
    turned = [torch.onnx.ops.rotary_embedding(x[..., order], cos, sin) for x in (q, k)]
    torch.testing.assert_close(turned[0] @ turned[1].mT, expected)


@pytest.mark.parametrize(
    "sizes",
    [
        TINY.dit,
        DiTConfig(hidden_size=144, depth=1, num_heads=6, kv_group=6),
        DiTConfig(hidden_size=72, depth=2, num_heads=3, kv_group=1),
    ],
)
@torch.no_grad()
def test_step(sizes: DiTConfig) -> None:
    dit, _ = random_models(ModelConfig(dit=sizes, vae=TINY.vae))
    graph = StepGraph(fused(dit), context_frames=3, rows=4, cols=6)
    x, cond, t = torch.randn(1, 16, 1, 4, 6), torch.randn(1, 16, 3, 4, 6), torch.rand(1)
    row = ModulationGraph(dit)(t)
    assert row.shape == (1, dit.modulation_width)
    torch.testing.assert_close(graph(x, cond, row)[0], dit(x, t, cond), rtol=1e-4, atol=1e-4)


def test_step_has_no_modulation_weights_and_no_dead_ones() -> None:
    dit, _ = random_models(TINY)
    graph = StepGraph(fused(dit), context_frames=3, rows=4, cols=4)
    left = sum(p.numel() for p in graph.parameters())
    modulation = sum(p.numel() for n, p in dit.named_parameters() if "odulation" in n)
    time = sum(
        p.numel() for n, p in dit.named_parameters() if n.startswith("t_") or n[-6:] == "_embed"
    )
    unused = sum(p.numel() for part in dit.dead_parts() for p in part.parameters())
    whole = sum(p.numel() for p in dit.parameters())
    assert left == whole - modulation - time - unused


def test_fused_matrices_hold_no_copies() -> None:
    dit, _ = random_models(TINY)
    of_model = {parameter.data_ptr() for parameter in dit.parameters()}
    own = [p for p in fused(dit).parameters() if p.data_ptr() not in of_model]
    held = sum(parameter.untyped_storage().nbytes() for parameter in own)
    assert held < 0.01 * sum(4 * parameter.numel() for parameter in own)


@pytest.mark.parametrize("upsampler", ["resize_conv", "deconv"])
@pytest.mark.parametrize("norm", ["clip", "frame"])
@torch.no_grad()
def test_2d_form(upsampler: Upsampler, norm: str) -> None:
    vae_config = replace(TINY.vae, upsampler=upsampler, temporal_norm=norm)
    _, vae = random_models(ModelConfig(dit=TINY.dit, vae=vae_config))
    pixels = torch.rand(1, 3, 1, 32, 48) * 2 - 1
    mean = vae.encode(pixels).mean
    torch.testing.assert_close(Encoder2d(vae)(pixels), mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(Decoder2d(vae)(mean), vae.decode(mean), rtol=1e-4, atol=1e-4)


def test_2d_form_leaves_the_model_alone() -> None:
    _, vae = random_models(TINY)
    before = {k: v.clone() for k, v in vae.state_dict().items()}
    Encoder2d(vae), Decoder2d(vae)
    assert all(torch.equal(v, before[k]) for k, v in vae.state_dict().items())


def test_traced_step_uses_the_standard_operators() -> None:
    dit, vae = random_models(TINY)
    choice = GraphChoice(sizes=[(32, 32)], pairs=[1])
    step = next(p for p in graph_specs(dit, vae, choice) if p.name == "step")
    model = trace(step).model
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Attention") == TINY.dit.depth
    # Four sandwich norms a stream (two in the cond stream's last block are dead), q and k norms.
    assert operators.count("RMSNormalization") > 8 * TINY.dit.depth
    assert model.opset_import[0].version == 23
    assert {node.domain for node in model.graph.node} == {""}
    assert b"/" + b"lavin_deploy" not in model.SerializeToString()  # no source paths


def by_name(choice: GraphChoice, dit: JDiT, vae: STVAE) -> dict[str, GraphSpec]:
    return {spec.name: spec for spec in graph_specs(dit, vae, choice)}


@pytest.mark.parametrize("switched", [field.name for field in fields(GraphRewrites)])
@torch.no_grad()
def test_each_rewrite_changes_the_graph_and_no_number(switched: str, tmp_path: Path) -> None:
    dit, vae = random_models(TINY)
    choice = GraphChoice(sizes=[(32, 32)], pairs=[2])
    word = [switched.replace("_", "-")]
    rewrites = (
        GraphRewrites.chosen(off=word)
        if getattr(DEFAULT, switched)
        else GraphRewrites.chosen(on=word)
    )
    other = replace(choice, rewrites=rewrites)
    name = "decoder" if switched == "single_frame_vae" else "step"
    outputs, operators = [], []
    for index, each in enumerate((choice, other)):
        spec = by_name(each, dit, vae)[name]
        weights = WeightFile(tmp_path / f"{index}.weights")
        model = weights.externalise(trace(spec))
        onnx.save(model, tmp_path / f"{index}.onnx")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(tmp_path / f"{index}.onnx", options)
        example = spec.example(5)
        (output,) = session.run(None, example.feed)
        (reference,) = spec.reference(**example.model_inputs)
        assert np.abs(output - reference.numpy()).max() < 1e-5 * reference.abs().max()
        outputs.append(output)
        operators.append([node.op_type for node in model.graph.node])
    assert np.abs(outputs[0] - outputs[1]).max() < 1e-5 * np.abs(outputs[0]).max()
    assert operators[0] != operators[1]


def test_an_unknown_rewrite_is_refused() -> None:
    with pytest.raises(InputError, match="fused_projections"):
        GraphRewrites.chosen(off=["fused-projection"])


@torch.no_grad()
def test_frozen_graphs_are_the_frozen_model() -> None:
    config = replace(TINY, dit=replace(TINY.dit, context="frozen"))
    dit, vae = random_models(config)
    specs = by_name(GraphChoice(sizes=[(32, 48)], pairs=[2], context="frozen"), dit, vae)
    assert {"context", "query", "step", "query_null", "step_null"} <= set(specs)
    context, x, t = torch.randn(1, 16, 5, 4, 6), torch.randn(1, 16, 1, 4, 6), torch.rand(1)
    row, clean = (ModulationGraph(dit)(time) for time in (t, torch.ones(1)))
    build = {name: spec.build() for name, spec in specs.items()}
    pairs = build["context"](context[:, :, :-1], clean)
    keys_values = build["query"](context[:, :, -1:], clean, *pairs)
    for index in range(config.dit.depth):  # later frames never reach the pairs
        torch.testing.assert_close(keys_values[2 * index][:, :, : 4 * 6], pairs[2 * index])
    velocity = build["step"](x, row, *keys_values)
    torch.testing.assert_close(velocity, dit(x, t, context), rtol=1e-4, atol=1e-4)
    query = context[:, :, -1:]
    null = torch.cat((torch.zeros_like(query), query), dim=2)
    velocity = build["step_null"](x, row, *build["query_null"](query, clean))
    torch.testing.assert_close(velocity, dit(x, t, null), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_graphs_of_merged_pairs_are_the_merged_model() -> None:
    config = replace(TINY, dit=replace(TINY.dit, context="frozen", pairing="merged"))
    dit, vae = random_models(config)
    specs = by_name(GraphChoice(sizes=[(32, 48)], pairs=[2], context="frozen"), dit, vae)
    assert not {"query", "query_null"} & set(specs)
    context, x, t = torch.randn(1, 16, 5, 4, 6), torch.randn(1, 16, 1, 4, 6), torch.rand(1)
    row, clean = (ModulationGraph(dit)(time) for time in (t, torch.ones(1)))
    build = {name: spec.build() for name, spec in specs.items()}
    pairs, query = context[:, :, :-1], context[:, :, -1:]
    keys_values = build["context"](pairs, clean)
    assert {part.shape[2] for part in keys_values} == {2 * 2 * 3}  # two pairs of 2 x 3 tokens
    velocity = build["step"](x, row, query, *keys_values)
    torch.testing.assert_close(velocity, dit(x, t, context), rtol=1e-4, atol=1e-4)
    zeros = torch.zeros_like(query)
    velocity = build["step_null"](x, row, query, *build["context_null"](zeros, clean))
    null = torch.cat((zeros, query), dim=2)
    torch.testing.assert_close(velocity, dit(x, t, null), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_frozen_model_is_not_the_joint_one() -> None:
    dit, _ = random_models(TINY)
    frozen = JDiT(replace(TINY.dit, context="frozen")).eval()
    frozen.load_state_dict(dit.state_dict())
    x, t, context = torch.randn(1, 16, 1, 4, 4), torch.rand(1), torch.randn(1, 16, 3, 4, 4)
    assert (frozen(x, t, context) - dit(x, t, context)).abs().max() > 1e-2
    # The context of a frozen model knows neither the target nor the time.
    seen = []
    frozen.joint_blocks()[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    frozen(x, t, context)
    frozen(torch.randn_like(x), torch.rand(1), context)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)


@pytest.mark.parametrize("pairing", ["sequence", "merged"])
@torch.no_grad()
def test_refresh_gives_the_keys_that_a_step_goes_on_with(pairing: Pairing) -> None:
    dit, vae = random_models(replace(TINY, dit=replace(TINY.dit, pairing=pairing)))
    specs = by_name(GraphChoice(sizes=[(32, 32)], pairs=[1], context="frozen"), dit, vae)
    assert "context" not in specs
    x, context, t = torch.randn(1, 16, 1, 4, 4), torch.randn(1, 16, 3, 4, 4), torch.rand(1)
    row = ModulationGraph(dit)(t)
    velocity, *keys_values = specs["refresh"].build()(x, context, row)
    torch.testing.assert_close(velocity, dit(x, t, context), rtol=1e-4, atol=1e-4)
    query = [context[:, :, -1:]] if pairing == "merged" else []
    again = specs["step"].build()(x, row, *query, *keys_values)
    torch.testing.assert_close(again, velocity, rtol=1e-4, atol=1e-4)
