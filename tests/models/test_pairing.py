"""Merged pairs: what a token is, who sees whom, many queries under one context, conversion."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lavin_deploy.config import DiTConfig, ModelConfig, preset
from lavin_deploy.errors import InputError
from lavin_deploy.models.attention import EPS
from lavin_deploy.models.jdit import JDiT, patchify, unpatchify
from lavin_deploy.models.pairing import MERGED_EMBEDDERS, merged_pairs, merged_state
from lavin_deploy.models.rope3d import apply_rope, rope_tables
from tests.helpers.checkpoints import random_models

pytestmark = pytest.mark.unit
TINY = preset("tiny")


def model(context: str = "frozen", pairing: str = "merged") -> JDiT:
    dit = replace(TINY.dit, context=context, pairing=pairing)
    return random_models(replace(TINY, dit=dit))[0]


def latents(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(episodes: int, queries: int, pairs: int, frames: int = 1) -> tuple[Tensor, ...]:
    batch = episodes * queries
    return (
        latents(batch, 16, frames, 4, 6, seed=1),
        torch.linspace(0, 0.9, batch),
        latents(episodes, 16, 2 * pairs * frames, 4, 6, seed=2),
        latents(batch, 16, frames, 4, 6, seed=3),
    )


def by_the_formula(dit: JDiT, x: Tensor, t: Tensor, pairs: Tensor, query: Tensor) -> Tensor:
    """J-DiT over merged tokens, written out: one softmax a token over what it may see."""
    config, frames = dit.config, x.shape[2]
    inputs = torch.cat(
        [pairs[:, :, i : i + frames] for i in range(0, pairs.shape[2], 2 * frames)], 2
    )
    targets = torch.cat(
        [pairs[:, :, i : i + frames] for i in range(frames, pairs.shape[2], 2 * frames)], 2
    )
    c = dit.cond_embedder(patchify(inputs, 2)) + dit.target_embedder(patchify(targets, 2))
    h = dit.x_embedder(patchify(x, 2)) + dit.query_embedder(patchify(query, 2))
    n = c.shape[1]
    rows, cols = x.shape[3] // 2, x.shape[4] // 2
    cos, sin = rope_tables(inputs.shape[2] + frames, rows, cols, config.head_dim)
    tau = dit.t_embedder(t)
    clean = dit.t_embedder(torch.ones_like(t)) if config.context == "frozen" else tau

    def rms(z: Tensor) -> Tensor:
        return z / (z.square().mean(-1, keepdim=True) + EPS).sqrt()

    for block in dit.joint_blocks():
        mods = (
            block.cond_modulation(clean + dit.prompt_embed),
            block.x_modulation(tau + dit.answer_embed),
        )
        (cs1, cg1, cs2, cg2), (xs1, xg1, xs2, xg2) = (m[:, None].chunk(4, -1) for m in mods)
        attention = block.joint_attn
        a, b = (1 + cs1) * rms(c), (1 + xs1) * rms(h)
        ck, cv = attention.keys_values("cond", a)
        xk, xv = attention.keys_values("x", b)
        k = apply_rope(torch.cat((ck, xk), 2), cos, sin).repeat_interleave(config.kv_group, 1)
        v = torch.cat((cv, xv), 2).repeat_interleave(config.kv_group, 1)
        q = torch.cat((attention.queries("cond", a), attention.queries("x", b)), 2)
        scores = apply_rope(q, cos, sin) @ k.transpose(-1, -2) * config.head_dim**-0.5
        if config.context == "frozen":
            scores[:, :, :n, n:] = -torch.inf
        out = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        h = h + torch.tanh(xg1) * rms(attention.x_proj(out[:, n:]))
        h = h + torch.tanh(xg2) * rms(block.x_mlp((1 + xs2) * rms(h)))
        c = c + torch.tanh(cg1) * rms(attention.cond_proj(out[:, :n]))
        c = c + torch.tanh(cg2) * rms(block.cond_mlp((1 + cs2) * rms(c)))
    scale = dit.final_layer.adaLN_modulation(tau + dit.answer_embed)[:, None]
    tokens = dit.final_layer.linear((1 + scale) * rms(h))
    return unpatchify(tokens, frames, x.shape[3], x.shape[4], 2)


@pytest.mark.parametrize("context", ["frozen", "joint"])
@pytest.mark.parametrize(("pairs", "frames"), [(1, 1), (3, 1), (2, 2)])
@torch.no_grad()
def test_merged_pairs_by_the_formula(context: str, pairs: int, frames: int) -> None:
    dit = model(context)
    x, t, shown, query = drawn(2, 1, pairs, frames)
    expected = by_the_formula(dit, x, t, shown, query)
    torch.testing.assert_close(dit(x, t, shown, query), expected, atol=2e-5, rtol=2e-5)
    whole = torch.cat((shown, query), dim=2)
    torch.testing.assert_close(dit(x, t, whole), dit(x, t, shown, query), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("context", "pairing"), [("frozen", "merged"), ("joint", "merged"), ("frozen", "sequence")]
)
@torch.no_grad()
def test_many_queries_under_one_context_equal_each_alone(context: str, pairing: str) -> None:
    dit = model(context, pairing)
    x, t, pairs, query = drawn(2, 3, 2)
    together = dit(x, t, pairs, query)
    alone = torch.cat(
        [
            dit(x[i : i + 1], t[i : i + 1], torch.cat((pairs[i // 3][None], query[i : i + 1]), 2))
            for i in range(6)
        ]
    )
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=2e-5)


def test_gradients_of_many_queries_are_those_of_each_alone() -> None:
    grads = []
    for repeated in (False, True):
        dit = model()
        x, t, pairs, query = drawn(2, 3, 2)
        shown = pairs.repeat_interleave(3, dim=0) if repeated else pairs
        dit(x, t, shown, query).square().sum().backward()
        grads.append({n: p.grad for n, p in dit.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], atol=3e-3, rtol=1e-3, msg=name)


@torch.no_grad()
def test_the_null_condition_is_one_frame_of_zeros_and_the_query() -> None:
    dit = model()
    x, t, _, query = drawn(2, 1, 1)
    null = torch.zeros(2, 16, 1, 4, 6)
    out = dit(x, t, torch.cat((null, query), dim=2))
    expected = by_the_formula(dit, x, t, torch.zeros(2, 16, 2, 4, 6), query)
    torch.testing.assert_close(out, expected, atol=2e-5, rtol=2e-5)


def test_pairs_are_cut_into_inputs_and_targets() -> None:
    pairs = torch.arange(8.0).reshape(1, 1, 8, 1, 1)
    inputs, targets = merged_pairs(pairs, 1)
    assert inputs.flatten().tolist() == [0, 2, 4, 6]
    assert targets.flatten().tolist() == [1, 3, 5, 7]
    inputs, targets = merged_pairs(pairs, 2)
    assert inputs.flatten().tolist() == [0, 1, 4, 5]
    assert targets.flatten().tolist() == [2, 3, 6, 7]


def test_a_sequence_model_becomes_a_merged_one() -> None:
    before = model(pairing="sequence").state_dict()
    after = merged_state(before)
    assert set(after) - set(before) == {
        f"{name}.{part}"
        for name in MERGED_EMBEDDERS
        for part in ("0.weight", "0.bias", "1.weight", "1.bias")
    }
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(after["target_embedder.0.weight"], before["cond_embedder.0.weight"])
    model().load_state_dict(after)
    assert merged_state(after).keys() == after.keys()


def test_released_weights_keep_their_names() -> None:
    assert not any(
        name.startswith(MERGED_EMBEDDERS) for name in model(pairing="sequence").state_dict()
    )


@pytest.mark.parametrize("frames", [3, 4])
def test_contexts_that_are_no_pairs_are_refused(frames: int) -> None:
    dit = model()
    x, t, _, query = drawn(1, 1, 1, 2)
    with pytest.raises(InputError, match="with 2 frames each like x"):
        dit(x, t, latents(1, 16, frames + 2, 4, 6)[:, :, : frames + 1])
    with pytest.raises(InputError, match="merged pairs take a context of in1, tgt1"):
        dit(x, t, latents(1, 16, 3, 4, 6), query)


def test_an_unknown_pairing_is_refused() -> None:
    with pytest.raises(InputError, match=r"'merge'.*merged"):
        DiTConfig(hidden_size=96, depth=1, num_heads=4, pairing="merge")  # type: ignore[arg-type]
    data = TINY.to_dict()
    del data["dit"]["pairing"]
    assert ModelConfig.from_dict(data).dit.pairing == "sequence"
