"""The J-DiT step as an inference graph, without what a fixed shape and a known time save.

Exact rewrites of :class:`lavin_deploy.models.jdit.JDiT`, checked by tests and by every export:

- the time enters as a row of factors (``modulation`` graph or table), so no modulation weights;
- ``(1 + s) RMS(h)`` and ``tanh(g) RMS(h)`` are one RMSNorm whose weight is the factor;
- q, k, v and gate, up are one matrix product each;
- RoPE tables are constants. The channels of q and k are reordered so that the three axes' pairs
  become one rotate-half over the head: scores do not change when q and k are permuted alike;
- the last block computes no context output.

Shapes: B = 1, L tokens, D width, N query heads, K key/value heads, E head width, R row width.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavin_deploy.models.attention import EPS, JointAttention, grouped_query_attention
from lavin_deploy.models.jdit import JDiT, JointBlock, patchify, unpatchify
from lavin_deploy.models.rope3d import rope_tables


def head_order(head_dim: int) -> Tensor:
    """Channel order of one head: all first halves (t, h, w), then all second halves."""
    parts = torch.arange(head_dim).reshape(3, 2, head_dim // 6)
    return parts.transpose(0, 1).reshape(-1)


def _permuted(weight: Tensor, head_dim: int) -> Tensor:
    heads: Tensor = weight.unflatten(0, (-1, head_dim))
    return heads[:, head_order(head_dim)].flatten(0, 1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate-half RoPE over whole heads, one ONNX node: x (1, N, L, E); cos, sin (1, L, E / 2)."""
    return torch.onnx.ops.rotary_embedding(x, cos, sin)


class ModulationGraph(nn.Module):
    """t (1,) -> (1, R): per block and stream 1 + s1, tanh g1, 1 + s2, tanh g2; at the end 1 + s."""

    def __init__(self, dit: JDiT) -> None:
        super().__init__()
        self.dit = dit

    def forward(self, t: Tensor) -> Tensor:
        """Compute one row."""
        width = self.dit.config.hidden_size
        row = self.dit.modulation(t)
        groups = row[:, :-width].unflatten(-1, (-1, 2, width))
        factors = torch.stack((1 + groups[:, :, 0], torch.tanh(groups[:, :, 1])), dim=2)
        return torch.cat((factors.flatten(1), 1 + row[:, -width:]), dim=-1)


class _Stream(nn.Module):
    """One stream's weights of one block, fused."""

    def __init__(self, block: JointBlock, name: str, *, output: bool) -> None:
        super().__init__()
        attention: JointAttention = block.joint_attn
        width = attention.head_dim
        weight = {
            part: attention.get_parameter(f"{name}_{part}.weight").detach()
            for part in ("q", "k", "v", "proj", "qnorm", "knorm")
        }
        for part in ("q", "k", "qnorm", "knorm"):
            weight[part] = _permuted(weight[part], width)
        self.kv_width = weight["k"].shape[0]
        self.output = output
        parts = ("q", "k", "v") if output else ("k", "v")
        self.qkv = nn.Parameter(torch.cat([weight[part] for part in parts]))
        self.knorm = nn.Parameter(weight["knorm"])
        if output:
            self.qnorm = nn.Parameter(weight["qnorm"])
            self.proj = nn.Parameter(weight["proj"])
            gate, up, down = (
                block.get_parameter(f"{name}_mlp.{part}_proj.weight").detach()
                for part in ("gate", "up", "down")
            )
            self.gate_up = nn.Parameter(torch.cat((gate, up)))
            self.down = nn.Parameter(down)

    def project(self, h: Tensor, factor: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Normed k, v, and normed q or nothing, of (1, L, D); each (1, L, width)."""
        fused = F.linear(F.rms_norm(h, factor.shape, factor, EPS), self.qkv)
        q_width = self.qkv.shape[0] - 2 * self.kv_width
        q, k, v = fused.split((q_width, self.kv_width, self.kv_width), dim=-1)
        k = F.rms_norm(k, self.knorm.shape, self.knorm, EPS)
        if not self.output:
            return k, v, []
        return k, v, [F.rms_norm(q, self.qnorm.shape, self.qnorm, EPS)]

    def finish(self, h: Tensor, attended: Tensor, g1: Tensor, s2: Tensor, g2: Tensor) -> Tensor:
        """Add the projected attention and the SwiGLU to (1, L, D)."""
        h = h + F.rms_norm(F.linear(attended, self.proj), g1.shape, g1, EPS)
        fused = F.linear(F.rms_norm(h, s2.shape, s2, EPS), self.gate_up)
        gate, up = fused.chunk(2, dim=-1)
        inner = F.linear(F.silu(gate) * up, self.down)
        return h + F.rms_norm(inner, g2.shape, g2, EPS)


class StepGraph(nn.Module):
    """Velocity of one target under a context of fixed shape.

    Args:
        dit: the model.
        context_frames: latent frames of the context.
        rows: latent rows h.
        cols: latent columns w.
    """

    def __init__(self, dit: JDiT, *, context_frames: int, rows: int, cols: int) -> None:
        super().__init__()
        self.config = dit.config
        self.rows, self.cols = rows, cols
        patch = dit.config.patch_size
        self.cond_embedder, self.x_embedder = dit.cond_embedder, dit.x_embedder
        self.final = dit.final_layer.linear
        blocks = dit.joint_blocks()
        last = len(blocks) - 1
        self.cond = nn.ModuleList(
            _Stream(block, "cond", output=i < last) for i, block in enumerate(blocks)
        )
        self.x = nn.ModuleList(_Stream(block, "x", output=True) for block in blocks)
        cos, sin = rope_tables(
            context_frames + 1, rows // patch, cols // patch, dit.config.head_dim
        )
        self.split = context_frames * (rows // patch) * (cols // patch)
        self.register_buffer("cos", cos.flatten(1)[None])
        self.register_buffer("sin", sin.flatten(1)[None])

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (-1, self.config.head_dim))
        return heads.transpose(1, 2)

    def forward(self, latent: Tensor, context: Tensor, modulation: Tensor) -> Tensor:
        """Velocity (1, 16, 1, h, w).

        Args:
            latent: z_t (1, 16, 1, h, w), scaled.
            context: (1, 16, Tc, h, w), scaled.
            modulation: (1, R) factors from :class:`ModulationGraph`.
        """
        config, patch = self.config, self.config.patch_size
        width = config.hidden_size
        factors = modulation[0].split(width)
        cos, sin = self.get_buffer("cos"), self.get_buffer("sin")
        c = self.cond_embedder(patchify(context, patch))
        x = self.x_embedder(patchify(latent, patch))
        for index in range(config.depth):
            cond, target = cast(_Stream, self.cond[index]), cast(_Stream, self.x[index])
            cs1, cg1, cs2, cg2, xs1, xg1, xs2, xg2 = factors[8 * index : 8 * index + 8]
            ck, cv, cq = cond.project(c, cs1)
            xk, xv, xq = target.project(x, xs1)
            k = rotate(self._heads(torch.cat((ck, xk), dim=1)), cos, sin)
            v = self._heads(torch.cat((cv, xv), dim=1))
            # Queries run from `start` on: in the last block only the target's are read.
            start = 0 if cond.output else self.split
            q = rotate(self._heads(torch.cat((*cq, *xq), dim=1)), cos[:, start:], sin[:, start:])
            out = grouped_query_attention(q, k, v).transpose(1, 2).flatten(2)
            if cond.output:
                c = cond.finish(c, out[:, : self.split], cg1, cs2, cg2)
            x = target.finish(x, out[:, self.split - start :], xg1, xs2, xg2)
        tokens = self.final(F.rms_norm(x, (width,), factors[-1], EPS))
        return unpatchify(tokens, 1, self.rows, self.cols, patch)
