"""The graphs of a frozen context: pairs and query to keys and values, and a step on the target.

With merged pairs the query is part of the target's tokens: pairs alone have keys and values, and
the null condition is a pair that is one frame of zeros.

The context is modulated by the row that is given: that of t = 1 for models with
``context="frozen"``, for which this is exact. Keys and values are normed, turned, and lie per block
as (1, K, L, E): k.0, v.0, k.1, v.1, ...
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lavin_deploy.export.graphs.fused import FusedDiT
from lavin_deploy.export.graphs.step import Rope
from lavin_deploy.models.jdit import unpatchify

KeysValues = Sequence[Tensor]
"""k.0, v.0, k.1, v.1, ...: each (1, K, L, E)."""


class ContextGraph(nn.Module):
    """Frames of the context, behind those whose keys and values are given.

    Args:
        fused: the weights.
        start: index of the first frame.
        frames: how many, of tokens: merged pairs have one each.
        rows: latent rows h.
        cols: latent columns w.
    """

    def __init__(self, fused: FusedDiT, *, start: int, frames: int, rows: int, cols: int) -> None:
        super().__init__()
        self.fused = fused
        patch = fused.config.patch_size
        head_dim = fused.config.head_dim
        self.rope = Rope(start, start + frames, rows // patch, cols // patch, head_dim)

    def forward(self, latents: Tensor, modulation: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """Keys and values of all frames so far.

        Args:
            latents: (1, 16, T, h, w), scaled.
            modulation: (1, R).
            past: keys and values of the frames before.
        """
        fused = self.fused
        cos, sin = self.rope()
        c = fused.context_tokens(latents)
        outputs: list[Tensor] = []
        for index, (block, factors) in enumerate(
            zip(fused.fused_blocks(), fused.factors(modulation), strict=False)
        ):
            before = (past[2 * index], past[2 * index + 1]) if past else None
            s1, g1, s2, g2 = factors[:4]
            q, k, v = block.cond_qkv(c, s1)
            if block.context_output:
                out, keys, values = block.attention(
                    (q, None), (k, None), (v, None), cos, sin, before
                )
                c = block.cond_mlp(block.cond_out(c, out, g1), s2, g2)
            else:
                keys = block.attention.keys((k, None), cos, sin)
                values = block.attention.values((v, None))
                if before is not None:
                    keys = torch.cat((before[0], keys), dim=2)
                    values = torch.cat((before[1], values), dim=2)
            outputs += [keys, values]
        return tuple(outputs)


class NullQueryGraph(nn.Module):
    """Keys and values of the null condition: one all-zero frame, then the query."""

    def __init__(self, fused: FusedDiT, *, rows: int, cols: int) -> None:
        super().__init__()
        self.zero = ContextGraph(fused, start=0, frames=1, rows=rows, cols=cols)
        self.query = ContextGraph(fused, start=1, frames=1, rows=rows, cols=cols)

    def forward(self, query: Tensor, modulation: Tensor) -> tuple[Tensor, ...]:
        """Keys and values of both frames; ``query`` is (1, 16, 1, h, w), scaled."""
        zero = self.zero(torch.zeros_like(query), modulation)
        keys_values: tuple[Tensor, ...] = self.query(query, modulation, *zero)
        return keys_values


class TargetGraph(nn.Module):
    """Velocity of one target under given keys and values of the context.

    Args:
        fused: the weights; only the target stream's are used.
        context_frames: frames of tokens that the context has.
        rows: latent rows h.
        cols: latent columns w.
    """

    def __init__(self, fused: FusedDiT, *, context_frames: int, rows: int, cols: int) -> None:
        super().__init__()
        self.fused = fused
        self.rows, self.cols = rows, cols
        patch, head_dim = fused.config.patch_size, fused.config.head_dim
        frames = (context_frames, context_frames + 1)
        self.rope = Rope(*frames, rows // patch, cols // patch, head_dim)

    def forward(self, latent: Tensor, modulation: Tensor, *context: Tensor) -> Tensor:
        """Velocity (1, 16, 1, h, w).

        Args:
            latent: z_t (1, 16, 1, h, w), scaled.
            modulation: (1, R) of the time t.
            context: with merged pairs the query (1, 16, 1, h, w), scaled; then keys and values
                (1, K, Lc, E) of every block.
        """
        fused, patch = self.fused, self.fused.config.patch_size
        factors = fused.factors(modulation)
        cos, sin = self.rope()
        query, context = (context[0], context[1:]) if fused.merged else (None, context)
        x = fused.target_tokens(latent, query)
        for index, (block, row) in enumerate(zip(fused.fused_blocks(), factors, strict=False)):
            s1, g1, s2, g2 = row[4:]
            q, k, v = block.x_qkv(x, s1)
            past = (context[2 * index], context[2 * index + 1])
            out, _, _ = block.attention((None, q), (None, k), (None, v), cos, sin, past)
            x = block.x_mlp(block.x_out(x, out, g1), s2, g2)
        (last,) = factors[-1]
        tokens = fused.final(fused.ops.rms_norm(x, last))
        return unpatchify(tokens, 1, self.rows, self.cols, patch)
