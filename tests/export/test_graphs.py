"""The inference graphs against the plain models, in torch: every rewrite is exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lavin_deploy.config import DiTConfig, ModelConfig, Upsampler, preset
from lavin_deploy.export.graphs import plan_graphs, trace
from lavin_deploy.export.step import ModulationGraph, StepGraph, head_order, rotate
from lavin_deploy.models.rope3d import apply_rope, rope_tables
from lavin_deploy.models.vae2d import Decoder2d, Encoder2d
from tests.helpers.checkpoints import random_models

pytestmark = pytest.mark.parity
TINY = preset("tiny")


def test_reordered_heads_give_the_same_scores() -> None:
    width, tokens = 24, 12
    cos, sin = rope_tables(3, 2, 2, width)
    q, k = torch.randn(2, 1, 1, tokens, width)
    wanted = apply_rope(q, cos, sin) @ apply_rope(k, cos, sin).mT
    order = head_order(width)
    assert sorted(order.tolist()) == list(range(width))
    cos, sin = cos.flatten(1)[None], sin.flatten(1)[None]
    turned = [rotate(x[..., order], cos, sin) for x in (q, k)]
    torch.testing.assert_close(turned[0] @ turned[1].mT, wanted)


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
    graph = StepGraph(dit, context_frames=3, rows=4, cols=6)
    x, cond, t = torch.randn(1, 16, 1, 4, 6), torch.randn(1, 16, 3, 4, 6), torch.rand(1)
    row = ModulationGraph(dit)(t)
    assert row.shape == (1, dit.modulation_width)
    torch.testing.assert_close(graph(x, cond, row), dit(x, t, cond), rtol=1e-4, atol=1e-4)


def test_step_has_no_modulation_weights_and_no_dead_ones() -> None:
    dit, _ = random_models(TINY)
    graph = StepGraph(dit, context_frames=3, rows=4, cols=4)
    left = sum(p.numel() for p in graph.parameters())
    modulation = sum(p.numel() for n, p in dit.named_parameters() if "odulation" in n)
    time = sum(
        p.numel() for n, p in dit.named_parameters() if n.startswith("t_") or n[-6:] == "_embed"
    )
    last = dit.joint_blocks()[-1]
    attention = last.joint_attn
    dead = [last.cond_mlp, attention.cond_q, attention.cond_proj, attention.cond_qnorm]
    unused = sum(p.numel() for module in dead for p in module.parameters())
    whole = sum(p.numel() for p in dit.parameters())
    assert left == whole - modulation - time - unused


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
    step = next(p for p in plan_graphs(dit, vae, [(32, 32)], [1]) if p.name == "step")
    model = trace(step)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Attention") == TINY.dit.depth
    # Four sandwich norms a stream (two in the cond stream's last block are dead), q and k norms.
    assert operators.count("RMSNormalization") > 8 * TINY.dit.depth
    assert model.opset_import[0].version == 23
    assert {node.domain for node in model.graph.node} == {""}
    assert b"/" + b"lavin_deploy" not in model.SerializeToString()  # no source paths
