"""The operators of a block that the two ONNX dialects write differently.

``native`` is ONNX as of opset 23; ``portable`` is opset 18 for everything older, see
:mod:`lavin_deploy.portable`.

Shapes: B = 1, L tokens, N query heads, K key/value heads, E head width. Both dialects keep the
statistics of norms, the rotation and the softmax in float32 whatever the precision. What lies
between the rotation and the attention is the dialect's own layout: rows of tokens (1, L, heads E)
in the native one, whose Attention reads heads from them without a Transpose; heads (1, heads, L, E)
in the portable one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lavin_deploy.models.attention import EPS, grouped_query_attention
from lavin_deploy.names import Dialect
from lavin_deploy.portable import DOMAIN

Past = tuple[Tensor, Tensor] | None
"""Keys and values (1, K, P, E) of tokens before the others, if there are any."""
Streams = tuple[Tensor | None, Tensor | None]
"""One tensor of the context stream and one of the target stream; a stream may be absent."""


class DialectOps(Protocol):
    """The operators that a dialect provides."""

    def rms_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """x / sqrt(mean(x^2) + 1e-6) * weight over the last axis."""

    def rope3d(
        self,
        q: Streams,
        k: Streams,
        q_weights: Streams,
        k_weights: Streams,
        cos: Tensor,
        sin: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """QK-Norm and rotation.

        Args:
            q: raw queries (1, L, N E) of each stream; they are the last tokens of the sequence.
            k: raw keys (1, L, K E) of each stream, the context's first.
            q_weights: norm weights (N E,) of each stream.
            k_weights: norm weights (K E,) of each stream.
            cos: (1, L, E / 2) for all keys' tokens.
            sin: the same.

        Returns:
            Queries and keys in the dialect's layout, whole heads rotate-half; see
            ``laid_out.head_order``.
        """

    def keys(self, k: Streams, weights: Streams, cos: Tensor, sin: Tensor) -> Tensor:
        """What ``rope3d`` makes of the keys, for want of queries, as heads (1, K, Lk, E)."""

    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, past: Past, head_dim: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Full attention over ``past`` and these keys and values.

        Args:
            q: Lq queries from ``rope3d``.
            k: L keys from ``rope3d``.
            v: raw values (1, L, K E).
            past: keys and values of tokens before.
            head_dim: E.

        Returns:
            (1, Lq, N E), and all keys and values (1, K, P + L, E).
        """


class NativeOps:
    """Opset 23: RMSNormalization, RotaryEmbedding and Attention nodes."""

    def rms_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """See :class:`DialectOps`."""
        return F.rms_norm(x, weight.shape, weight, EPS)

    def rope3d(
        self,
        q: Streams,
        k: Streams,
        q_weights: Streams,
        k_weights: Streams,
        cos: Tensor,
        sin: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See :class:`DialectOps`."""
        return self._turned(q, q_weights, cos, sin), self._turned(k, k_weights, cos, sin)

    def keys(self, k: Streams, weights: Streams, cos: Tensor, sin: Tensor) -> Tensor:
        """See :class:`DialectOps`."""
        return split_heads(self._turned(k, weights, cos, sin), 2 * cos.shape[-1])

    def _turned(self, x: Streams, weights: Streams, cos: Tensor, sin: Tensor) -> Tensor:
        """Norm each stream, put them together and turn them by the last tokens' angles."""
        pairs = zip(x, weights, strict=True)
        whole = joined([None if p is None or w is None else self.rms_norm(p, w) for p, w in pairs])
        start = cos.shape[1] - whole.shape[1]
        tables = (cos[:, start:], sin[:, start:]) if start else (cos, sin)
        heads = whole.shape[-1] // (2 * cos.shape[-1])
        turned: Tensor = torch.onnx.ops.rotary_embedding(whole, *tables, num_heads=heads)
        return turned

    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, past: Past, head_dim: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`DialectOps`."""
        keys, values = with_past(past, split_heads(k, head_dim), split_heads(v, head_dim))
        # OpenVINO 2026.4 takes rows for heads where there are as many (docs/LOG.md).
        ambiguous = q.shape[1] == q.shape[2] // head_dim
        if past is not None or ambiguous or not torch.compiler.is_exporting():
            out = grouped_query_attention(split_heads(q, head_dim), keys, values)
            return out.transpose(1, 2).flatten(2), keys, values
        mixed: Tensor = torch.onnx.ops.attention(
            q,
            k,
            v,
            q_num_heads=q.shape[-1] // head_dim,
            kv_num_heads=k.shape[-1] // head_dim,
            scale=head_dim**-0.5,
        )[0]
        return mixed, keys, values


class PortableOps:
    """Opset 18: RMSNorm in plain operators, and nodes ``lavin::RoPE3D``, one a stream, and
    ``lavin::GroupedQueryAttention``. Outside the exporter the same in eager torch.
    """

    def rms_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """See :class:`DialectOps`; the form that runtimes recognise and fuse."""
        return x / (x.pow(2).mean(dim=-1, keepdim=True) + EPS).sqrt() * weight

    def rope3d(
        self,
        q: Streams,
        k: Streams,
        q_weights: Streams,
        k_weights: Streams,
        cos: Tensor,
        sin: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See :class:`DialectOps`."""
        queries, keys = self._turned(q, k, q_weights, k_weights, cos, sin)
        return joined(queries, dim=2), joined(keys, dim=2)

    def keys(self, k: Streams, weights: Streams, cos: Tensor, sin: Tensor) -> Tensor:
        """See :class:`DialectOps`."""
        absent: Streams = (None, None)
        return joined(self._turned(absent, k, absent, weights, cos, sin)[1], dim=2)

    def _turned(
        self,
        q: Streams,
        k: Streams,
        q_weights: Streams,
        k_weights: Streams,
        cos: Tensor,
        sin: Tensor,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """One node a stream: its queries, where it has some, and its keys."""
        queries: list[Tensor] = []
        keys: list[Tensor] = []
        end = 0
        for query, key, q_weight, k_weight in zip(q, k, q_weights, k_weights, strict=True):
            if key is None or k_weight is None:
                continue
            start, end = end, end + key.shape[1]
            tables = (cos[:, start:end], sin[:, start:end])
            if query is None or q_weight is None:
                keys += rope_node([key], [k_weight], *tables)
            else:
                turned = rope_node([query, key], [q_weight, k_weight], *tables)
                queries.append(turned[0])
                keys.append(turned[1])
        return queries, keys

    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, past: Past, head_dim: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`DialectOps`."""
        v = split_heads(v, head_dim)
        return attention_node(q, k, v, past), *with_past(past, k, v)


def rope_node(
    x: Sequence[Tensor], weights: Sequence[Tensor], cos: Tensor, sin: Tensor
) -> Sequence[Tensor]:
    """``lavin::RoPE3D`` on queries and keys (1, L, heads E) of one stream, or on keys alone."""
    width = 2 * cos.shape[-1]
    if not torch.compiler.is_exporting():
        normed = [F.rms_norm(part, w.shape, w, EPS) for part, w in zip(x, weights, strict=True)]
        return [
            torch.onnx.ops.rotary_embedding(split_heads(part, width), cos, sin) for part in normed
        ]
    shapes = [(1, part.shape[-1] // width, part.shape[1], width) for part in x]
    attributes: dict[str, Any] = {
        "epsilon": EPS,
        "head_dim": width,
        "kv_num_heads": shapes[-1][1],
        "num_heads": shapes[0][1],
    }
    turned: Sequence[Tensor] = torch.onnx.ops.symbolic_multi_out(
        f"{DOMAIN}::RoPE3D",
        [*x, *weights, cos, sin],
        attributes,
        dtypes=[part.dtype for part in x],
        shapes=shapes,
        version=1,
    )
    return turned


def attention_node(q: Tensor, k: Tensor, v: Tensor, past: Past) -> Tensor:
    """``lavin::GroupedQueryAttention``; see :meth:`DialectOps.attention`."""
    _, heads, length, width = q.shape
    if not torch.compiler.is_exporting():
        return grouped_query_attention(q, *with_past(past, k, v)).transpose(1, 2).flatten(2)
    attributes: dict[str, Any] = {
        "head_dim": width,
        "kv_num_heads": k.shape[1],
        "num_heads": heads,
        "scale": width**-0.5,
    }
    attended: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::GroupedQueryAttention",
        [q, k, v, *(past or ())],
        attributes,
        dtype=q.dtype,
        shape=(1, length, heads * width),
        version=1,
    )
    return attended


def with_past(past: Past, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values behind those of ``past``."""
    return (k, v) if past is None else (torch.cat((past[0], k), 2), torch.cat((past[1], v), 2))


def joined(parts: Sequence[Tensor | None], dim: int = 1) -> Tensor:
    """The parts that are there, one behind the other."""
    present = [part for part in parts if part is not None]
    return torch.cat(present, dim=dim) if len(present) > 1 else present[0]


def split_heads(x: Tensor, width: int) -> Tensor:
    """(1, L, heads * width) -> (1, heads, L, width)."""
    heads: Tensor = x.unflatten(-1, (-1, width))
    return heads.transpose(1, 2)


DIALECT_OPS: dict[Dialect, DialectOps] = {"native": NativeOps(), "portable": PortableOps()}
