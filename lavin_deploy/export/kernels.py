"""The operators of a block that the two ONNX dialects write differently.

Shapes: B = 1, L tokens, N query heads, K key/value heads, E head width. Both dialects keep the
statistics of norms, the rotation and the softmax in float32 whatever the precision.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lavin_deploy.models.attention import EPS, grouped_query_attention

Streams = tuple[Tensor | None, Tensor | None]
"""One tensor of the context stream and one of the target stream; a stream may be absent."""


class Kernels(Protocol):
    """What a dialect provides."""

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
            (1, N, Lq, E) and (1, K, Lk, E), whole heads rotate-half; see ``fused.head_order``.
        """

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Full attention of (1, N, Lq, E) over (1, K, Lk, E), twice -> (1, Lq, N E)."""


class NativeKernels:
    """Opset 23: RMSNormalization, RotaryEmbedding and Attention nodes."""

    def rms_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """See :class:`Kernels`."""
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
        """See :class:`Kernels`."""
        width = 2 * cos.shape[-1]
        heads = []
        for parts, weights in ((q, q_weights), (k, k_weights)):
            normed = [
                self.rms_norm(part, weight)
                for part, weight in zip(parts, weights, strict=True)
                if part is not None and weight is not None
            ]
            whole = torch.cat(normed, dim=1) if len(normed) > 1 else normed[0]
            start = cos.shape[1] - whole.shape[1]
            tables = (cos[:, start:], sin[:, start:]) if start else (cos, sin)
            turned = split_heads(whole, width)
            heads.append(torch.onnx.ops.rotary_embedding(turned, *tables))
        return heads[0], heads[1]

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See :class:`Kernels`."""
        return grouped_query_attention(q, k, v).transpose(1, 2).flatten(2)


def split_heads(x: Tensor, width: int) -> Tensor:
    """(1, L, heads * width) -> (1, heads, L, width)."""
    heads: Tensor = x.unflatten(-1, (-1, width))
    return heads.transpose(1, 2)
