"""Grouped-query attention without repeated keys and values, and the joint attention of a block.

Shapes: B batch, L tokens, D width, N query heads, K key/value heads, E = D / N head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavin_deploy.config import DiTConfig
from lavin_deploy.models.rope3d import apply_rope

EPS = 1e-6


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + 1e-6) * weight over the last axis, of width ``dim``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., dim)."""
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), EPS)


def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Full bidirectional attention in which N / K query heads share one key/value head.

    Without a mask every query row stands alone, so the queries of a group are laid one after
    another along the length axis: nothing is repeated, and the result equals multi-head attention
    with repeated heads.

    Args:
        q: (B, N, Lq, E).
        k: (B, K, Lk, E); query head i reads head i // (N / K).
        v: (B, K, Lk, E).

    Returns:
        (B, N, Lq, E), softmax scale E^-0.5.
    """
    batch, heads, length, width = q.shape
    folded = q.reshape(batch, k.shape[1], -1, width)
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled():
        # torch 2.13's kernel takes 2.4 times as long forward and backward (docs/LOG.md).
        scores = torch.matmul(folded * width**-0.5, k.transpose(-1, -2)).float()
        out = torch.matmul(scores.softmax(dim=-1).to(v.dtype), v)
        return out.reshape(batch, heads, length, width)
    return F.scaled_dot_product_attention(folded, k, v).reshape(batch, heads, length, width)


def frozen_attention(q: Tensor, k: Tensor, v: Tensor, pairs: int, context: int) -> Tensor:
    """Attention in which the context never sees the target: three plain ones, no mask.

    Args:
        q: (B, N, L, E) over [pairs ; query ; target].
        k: (B, K, L, E).
        v: (B, K, L, E).
        pairs: tokens of the example pairs, which attend to themselves.
        context: tokens of pairs and query; the query attends to these, the target to all. As many
            as ``pairs`` where the query's tokens are the target's.

    Returns:
        (B, N, L, E).
    """
    ends = sorted({pairs, context, q.shape[2]} - {0})
    starts = [0, *ends[:-1]]
    parts = [
        grouped_query_attention(q[:, :, start:end], k[:, :, :end], v[:, :, :end])
        for start, end in zip(starts, ends, strict=True)
    ]
    return torch.cat(parts, dim=2)


class JointAttention(nn.Module):
    """Attention over [cond ; x] with separate projections per stream (paper section 3.3)."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width, kv_width = config.hidden_size, config.num_kv_heads * config.head_dim
        self.head_dim = config.head_dim
        for stream in ("cond", "x"):
            self.add_module(f"{stream}_q", nn.Linear(width, width, bias=False))
            self.add_module(f"{stream}_k", nn.Linear(width, kv_width, bias=False))
            self.add_module(f"{stream}_v", nn.Linear(width, kv_width, bias=False))
            self.add_module(f"{stream}_proj", nn.Linear(width, width, bias=False))
            self.add_module(f"{stream}_qnorm", RMSNorm(width))
            self.add_module(f"{stream}_knorm", RMSNorm(kv_width))

    def _heads(self, x_BLD: Tensor) -> Tensor:
        heads: Tensor = x_BLD.unflatten(-1, (-1, self.head_dim))
        return heads.transpose(1, 2)

    def queries(self, stream: str, h_BLD: Tensor) -> Tensor:
        """Normed queries of one stream, (B, N, L, E), before RoPE."""
        normed = self.get_submodule(f"{stream}_qnorm")(self.get_submodule(f"{stream}_q")(h_BLD))
        return self._heads(normed)

    def keys_values(self, stream: str, h_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """Normed keys, before RoPE, and values of one stream, each (B, K, L, E)."""
        keys = self.get_submodule(f"{stream}_knorm")(self.get_submodule(f"{stream}_k")(h_BLD))
        return self._heads(keys), self._heads(self.get_submodule(f"{stream}_v")(h_BLD))

    def forward(
        self,
        cond_BLD: Tensor,
        x_BLD: Tensor,
        cos: Tensor,
        sin: Tensor,
        *,
        cond_output: bool = True,
        frozen_pairs: int | None = None,
    ) -> tuple[Tensor | None, Tensor]:
        """Attend over both streams.

        Args:
            cond_BLD: modulated context tokens (B, Lc, D); (B/Q, Lc, D) where Q targets one after
                another share a frozen context, which is then that of pairs alone.
            x_BLD: modulated target tokens (B, Lx, D).
            cos: RoPE table of the joint sequence, from :func:`rope3d.rope_tables`.
            sin: the same.
            cond_output: False in the last block, where the context rows are not read any more.
            frozen_pairs: tokens of the pairs, for a frozen context; None for a joint one.

        Returns:
            Projected outputs (B, Lc, D), or None without ``cond_output``, and (B, Lx, D).
        """
        split = cond_BLD.shape[1]
        if len(cond_BLD) != len(x_BLD):
            return self._shared(cond_BLD, x_BLD, cos, sin, cond_output=cond_output)
        cond_k, cond_v = self.keys_values("cond", cond_BLD)
        x_k, x_v = self.keys_values("x", x_BLD)
        k = apply_rope(torch.cat((cond_k, x_k), dim=2), cos, sin)
        v = torch.cat((cond_v, x_v), dim=2)
        q = self.queries("x", x_BLD)
        if cond_output:
            q = apply_rope(torch.cat((self.queries("cond", cond_BLD), q), dim=2), cos, sin)
        else:
            q = apply_rope(q, cos[split:], sin[split:])
        if cond_output and frozen_pairs is not None:
            out = frozen_attention(q, k, v, frozen_pairs, split)
        else:
            out = grouped_query_attention(q, k, v)
        out_BLD = out.transpose(1, 2).flatten(2)
        x_proj = self.get_submodule("x_proj")
        if not cond_output:
            return None, x_proj(out_BLD)
        cond_proj = self.get_submodule("cond_proj")
        return cond_proj(out_BLD[:, :split]), x_proj(out_BLD[:, split:])

    def _shared(
        self, cond_BLD: Tensor, x_BLD: Tensor, cos: Tensor, sin: Tensor, *, cond_output: bool
    ) -> tuple[Tensor | None, Tensor]:
        """The same where several targets read one computation of the pairs' keys and values."""
        split, shares = cond_BLD.shape[1], len(x_BLD) // len(cond_BLD)
        cond_k, cond_v = self.keys_values("cond", cond_BLD)
        cond_k = apply_rope(cond_k, cos[:split], sin[:split])
        x_k, x_v = self.keys_values("x", x_BLD)
        x_k = apply_rope(x_k, cos[split:], sin[split:])
        k = torch.cat((cond_k.repeat_interleave(shares, dim=0), x_k), dim=2)
        v = torch.cat((cond_v.repeat_interleave(shares, dim=0), x_v), dim=2)
        q = apply_rope(self.queries("x", x_BLD), cos[split:], sin[split:])
        out = grouped_query_attention(q, k, v).transpose(1, 2).flatten(2)
        x_out: Tensor = self.get_submodule("x_proj")(out)
        if not cond_output:
            return None, x_out
        q = apply_rope(self.queries("cond", cond_BLD), cos[:split], sin[:split])
        out = grouped_query_attention(q, cond_k, cond_v).transpose(1, 2).flatten(2)
        return self.get_submodule("cond_proj")(out), x_out
