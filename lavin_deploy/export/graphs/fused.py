"""J-DiT's weights laid out for inference: the modules that all of its graphs are made of.

Exact rewrites of :class:`lavin_deploy.models.jdit.JDiT`, checked by tests and by every export:

- ``(1 + s) RMS(h)`` and ``tanh(g) RMS(h)`` are one RMSNorm whose weight is the factor;
- q, k and v are one matrix product, and gate and up can be; weights are stored (in, out);
- the channels of q and k are reordered so that the three axes' pairs of RoPE become one
  rotate-half over the head: scores do not change when q and k are permuted alike;
- the last block has no context output.

Matrices are laid out when they are read (:mod:`laid_out`), never all at once: a checkpoint stays
mapped from its file. Module names follow the model's (``blocks.3.x_mlp``), so that a node of a
graph tells where it comes from. Shapes: B = 1, L tokens, D width, N query heads, K key/value heads,
E head width.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from lavin_deploy.export.graphs.dialects import DialectOps, Past, Streams, joined, split_heads
from lavin_deploy.export.graphs.laid_out import FusedLinear, permuted
from lavin_deploy.export.graphs.savings import GraphRewrites
from lavin_deploy.models.attention import JointAttention
from lavin_deploy.models.jdit import JDiT, JointBlock, patchify
from lavin_deploy.models.pairing import MERGED_EMBEDDERS, merged_pairs

STREAMS = ("cond", "x")


class QKV(nn.Module):
    """Raw q (or nothing), k and v of one stream: AdaRN, then the projections."""

    def __init__(
        self, block: JointBlock, stream: str, ops: DialectOps, *, queries: bool, fused: bool
    ) -> None:
        super().__init__()
        self.ops = ops
        attention: JointAttention = block.joint_attn
        names = ("q", "k", "v") if queries else ("k", "v")
        self.projection = FusedLinear(
            *(attention.get_parameter(f"{stream}_{name}.weight") for name in names),
            fused=fused,
            head_dims=[0 if name == "v" else attention.head_dim for name in names],
        )

    def forward(self, h: Tensor, factor: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """Project (1, L, D) under a factor (D,)."""
        parts = self.projection(self.ops.rms_norm(h, factor))
        return (None, *parts) if len(parts) == 2 else parts


class Attend(nn.Module):
    """QK-Norm, RoPE and grouped-query attention over the streams that are given."""

    def __init__(self, block: JointBlock, ops: DialectOps, *, queries: bool) -> None:
        super().__init__()
        self.ops = ops
        attention: JointAttention = block.joint_attn
        self.head_dim = attention.head_dim
        for stream in STREAMS:
            for part in ("qnorm", "knorm"):
                unused = (stream, part) == ("cond", "qnorm") and not queries
                weight = attention.get_parameter(f"{stream}_{part}.weight").detach()
                kept = None if unused else nn.Parameter(permuted(weight, self.head_dim))
                self.register_parameter(f"{stream}_{part}", kept)

    def rope(self, q: Streams, k: Streams, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Normed and turned, as the dialect has them; see :meth:`DialectOps.rope3d`."""
        weights = (self._weights("qnorm"), self._weights("knorm"))
        return self.ops.rope3d(q, k, *weights, cos, sin)

    def keys(self, k: Streams, cos: Tensor, sin: Tensor) -> Tensor:
        """Normed and turned keys alone, (1, K, L, E)."""
        return self.ops.keys(k, self._weights("knorm"), cos, sin)

    def _weights(self, part: str) -> Streams:
        return cast(Streams, tuple(getattr(self, f"{stream}_{part}") for stream in STREAMS))

    def values(self, v: Streams) -> Tensor:
        """(1, K, L, E) of the given streams."""
        return split_heads(joined(v), self.head_dim)

    def forward(
        self,
        q: Streams,
        k: Streams,
        v: Streams,
        cos: Tensor,
        sin: Tensor,
        past: Past = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend.

        Args:
            q: raw queries of each stream.
            k: raw keys.
            v: values.
            cos: (1, Lk, E / 2) of the keys' tokens.
            sin: the same.
            past: turned keys and values (1, K, L, E) of tokens before these.

        Returns:
            (1, Lq, D), and keys and values (1, K, L, E), those of ``past`` included.
        """
        queries, keys = self.rope(q, k, cos, sin)
        return self.ops.attention(queries, keys, joined(v), past, self.head_dim)


class Output(nn.Module):
    """h + tanh(g1) RMS(projection of what was attended)."""

    def __init__(self, block: JointBlock, stream: str, ops: DialectOps) -> None:
        super().__init__()
        self.ops = ops
        weight = block.joint_attn.get_parameter(f"{stream}_proj.weight")
        self.projection = FusedLinear(weight, fused=True)

    def forward(self, h: Tensor, attended: Tensor, gate: Tensor) -> Tensor:
        """(1, L, D), (1, L, D), (D,) -> (1, L, D)."""
        (projected,) = self.projection(attended)
        return h + self.ops.rms_norm(projected, gate)


class FusedMLP(nn.Module):
    """h + tanh(g2) RMS(SwiGLU(AdaRN(h; s2)))."""

    def __init__(self, block: JointBlock, stream: str, ops: DialectOps, *, fused: bool) -> None:
        super().__init__()
        self.ops = ops
        gate, up, down = (
            block.get_parameter(f"{stream}_mlp.{part}_proj.weight")
            for part in ("gate", "up", "down")
        )
        self.gate_up = FusedLinear(gate, up, fused=fused)
        self.down = FusedLinear(down, fused=True)

    def forward(self, h: Tensor, factor: Tensor, gate: Tensor) -> Tensor:
        """(1, L, D) under factors (D,), twice."""
        gated, up = self.gate_up(self.ops.rms_norm(h, factor))
        (inner,) = self.down(F.silu(gated) * up)
        return h + self.ops.rms_norm(inner, gate)


class FusedBlock(nn.Module):
    """One block; without ``context_output`` its context gives keys and values only."""

    def __init__(
        self,
        block: JointBlock,
        ops: DialectOps,
        *,
        queries: bool,
        context_output: bool,
        rewrites: GraphRewrites,
    ) -> None:
        super().__init__()
        self.context_output = context_output
        fused, gate_up = rewrites.fused_projections, rewrites.fused_gate_up
        self.cond_qkv = QKV(block, "cond", ops, queries=queries, fused=fused)
        self.x_qkv = QKV(block, "x", ops, queries=True, fused=fused)
        self.attention = Attend(block, ops, queries=queries)
        self.x_out = Output(block, "x", ops)
        self.x_mlp = FusedMLP(block, "x", ops, fused=gate_up)
        if context_output:
            self.cond_out = Output(block, "cond", ops)
            self.cond_mlp = FusedMLP(block, "cond", ops, fused=gate_up)


class FusedDiT(nn.Module):
    """All weights that the step, context and query graphs share; it has no ``forward`` of its own.

    Args:
        dit: the model; embedders and output layer are used as they are.
        ops: operators of the dialect.
        rewrites: what to leave out.
    """

    def __init__(self, dit: JDiT, ops: DialectOps, rewrites: GraphRewrites) -> None:
        super().__init__()
        self.config, self.rewrites, self.ops = dit.config, rewrites, ops
        self.cond_embedder, self.x_embedder = dit.cond_embedder, dit.x_embedder
        self.merged = dit.config.pairing == "merged"
        if self.merged:
            for name in MERGED_EMBEDDERS:
                self.add_module(name, dit.get_submodule(name))
        self.final = dit.final_layer.linear
        last = dit.config.depth - 1
        self.blocks = nn.ModuleList(
            FusedBlock(
                block,
                ops,
                queries=index < last or not rewrites.no_dead_context,
                context_output=index < last,
                rewrites=rewrites,
            )
            for index, block in enumerate(dit.joint_blocks())
        )

    def context_tokens(self, latents: Tensor) -> Tensor:
        """Embed frames of the context, (1, 16, T, h, w) scaled -> (1, L, D).

        Merged pairs come as in1, tgt1, ..., one frame a pair's tokens; a single frame is the null
        condition's.
        """
        patch = self.config.patch_size
        if not self.merged:
            return cast(Tensor, self.cond_embedder(patchify(latents, patch)))
        inputs, targets = merged_pairs(latents, 1)
        on_target, _ = (self.get_submodule(name) for name in MERGED_EMBEDDERS)
        pairs: Tensor = self.cond_embedder(patchify(inputs, patch)) + on_target(
            patchify(targets, patch)
        )
        return pairs

    def target_tokens(self, latent: Tensor, query: Tensor | None = None) -> Tensor:
        """Embed z_t (1, 16, 1, h, w) scaled, and with merged pairs the query -> (1, L, D)."""
        patch = self.config.patch_size
        tokens: Tensor = self.x_embedder(patchify(latent, patch))
        if query is None:
            return tokens
        _, on_query = (self.get_submodule(name) for name in MERGED_EMBEDDERS)
        of_query: Tensor = on_query(patchify(query, patch))
        return tokens + of_query

    def fused_blocks(self) -> list[FusedBlock]:
        """The blocks, typed."""
        return [cast(FusedBlock, block) for block in self.blocks]

    def factors(self, modulation: Tensor) -> list[tuple[Tensor, ...]]:
        """Cut a row (1, R) into eight factors (D,) a block, and the output layer's at the end.

        Stream by stream: WebGPU guarantees eight buffers a node, an input and seven outputs.
        """
        width, row = self.config.hidden_size, modulation[0]
        streams = [
            row[start : start + 4 * width].split(width)
            for start in range(0, 8 * self.config.depth * width, 4 * width)
        ]
        rows = [cond + x for cond, x in zip(streams[::2], streams[1::2], strict=True)]
        return [*rows, (row[-width:],)]
