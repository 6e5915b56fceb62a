"""What one run of a graph does, in numbers: FLOPs, weights, what it moves.

FLOPs are those of matrix products, convolutions and attention, a multiply-add being two; weights
are exact; what activations move and how many kernels run is an estimate, of one kernel for each
product, norm, attention and chain of elementwise operators. :mod:`jdit_counts` and
:mod:`stvae_counts` count the graphs that the export writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Count:
    """One run of one graph; numbers, not bytes.

    Attributes:
        products: FLOPs of the products that int8 and fp8 quantise: those in J-DiT's blocks.
        others: FLOPs of convolutions, attention, embedders and the last projection.
        product_weights: weights of the products.
        other_weights: all other weights.
        moved: activations read and written.
        keys_values: keys and values read and written that lie outside the graph.
        scores: attention scores, all heads and blocks; moved only where attention is not fused.
        live: activations that exist at once at the most, without scores.
        live_scores: scores of the largest attention.
        kernels: launched.
    """

    products: int = 0
    others: int = 0
    product_weights: int = 0
    other_weights: int = 0
    moved: int = 0
    keys_values: int = 0
    scores: int = 0
    live: int = 0
    live_scores: int = 0
    kernels: int = 0

    @property
    def flops(self) -> int:
        """All FLOPs."""
        return self.products + self.others

    @property
    def weights(self) -> int:
        """All weights."""
        return self.product_weights + self.other_weights

    def __add__(self, other: Count) -> Count:
        """Both, one after the other: they need as much memory as the larger."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Count(**{k: max(v) if k.startswith("live") else sum(v) for k, v in pairs.items()})


def total_of(parts: Iterable[Count]) -> Count:
    """All of them, one after the other."""
    total = Count()
    for part in parts:
        total += part
    return total


def run_twice(first: Count, second: Count) -> Count:
    """Two runs of the same weights, which are there once."""
    once = {"product_weights": second.product_weights, "other_weights": second.other_weights}
    both = first + second
    return Count(**{f.name: getattr(both, f.name) for f in fields(Count)} | once)
