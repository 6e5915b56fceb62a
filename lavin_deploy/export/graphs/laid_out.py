"""Matrices of the graphs, laid out for inference when they are read, so that none is copied.

Weights are stored (in, out); the channels of q and k are reordered so that the three axes' pairs of
RoPE become one rotate-half over the head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def head_order(head_dim: int) -> Tensor:
    """Channel order of one head: all first halves (t, h, w), then all second halves."""
    parts = torch.arange(head_dim).reshape(3, 2, head_dim // 6)
    return parts.transpose(0, 1).reshape(-1)


def permuted(weight: Tensor, head_dim: int) -> Tensor:
    """Rows of a projection, or a norm's weights, in :func:`head_order` within each head."""
    heads: Tensor = weight.unflatten(0, (-1, head_dim))
    return heads[:, head_order(head_dim)].flatten(0, 1)


class LaidOut(nn.Module):
    """A matrix made from others whenever it is read, so that no copy of it stays in memory.

    A trace to ONNX sees a parameter of its shape that is one NaN in memory; ``trace`` puts what
    ``make`` gives in its place.

    Args:
        make: gives the matrix.
        shape: its shape.
    """

    def __init__(self, make: Callable[[], Tensor], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.make = make
        self.weight = nn.Parameter(torch.full((1,), torch.nan).expand(shape), requires_grad=False)

    def forward(self) -> Tensor:
        """The matrix."""
        return self.weight if torch.onnx.is_in_onnx_export() else self.make()


class FusedLinear(nn.Module):
    """One or several linear maps of one input, without bias: (1, L, in) -> (1, L, out) each.

    Args:
        weights: (out, in) each.
        fused: one matrix product for all of them.
        head_dims: for each weight the width of the heads to reorder, or 0.
    """

    def __init__(
        self, *weights: Tensor, fused: bool, head_dims: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.widths = [weight.shape[0] for weight in weights]
        pairs = list(zip(weights, head_dims or [0] * len(weights), strict=True))
        groups = [pairs] if fused else [[pair] for pair in pairs]
        self.weights = nn.ModuleList(self._laid_out(group) for group in groups)

    @staticmethod
    def _laid_out(group: list[tuple[Tensor, int]]) -> LaidOut:
        def make() -> Tensor:
            parts = [permuted(w.detach(), dim) if dim else w.detach() for w, dim in group]
            return torch.cat(parts).T.contiguous()

        shape = (group[0][0].shape[1], sum(weight.shape[0] for weight, _ in group))
        return LaidOut(make, shape)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Project."""
        products = [torch.matmul(x, weight()) for weight in self.weights]
        if len(products) == len(self.widths):
            return tuple(products)
        parts: tuple[Tensor, ...] = products[0].split(self.widths, dim=-1)
        return parts
