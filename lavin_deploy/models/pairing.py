"""Merged pairs: input and target of a pair as one token a place, and how weights come to them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

MERGED_EMBEDDERS = ("target_embedder", "query_embedder")
"""Embedders that merged pairs have beside the released ones."""


def merged_pairs(pairs: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets of pairs, (B, C, Tp, h, w) of in1, tgt1, ... -> twice (B, C, Tp/2, h, w).

    Args:
        pairs: of ``frames`` latent frames in each input and target; a single frame, the null
            condition, is both.
        frames: of an input.
    """
    if pairs.shape[2] == 1:
        return pairs, pairs
    inputs, targets = pairs.unflatten(2, (-1, 2, frames)).unbind(3)
    return inputs.flatten(2, 3), targets.flatten(2, 3)


def merged_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a sequence model as those of a merged one to start from; a merged one's stay.

    The blocks are kept; targets of pairs and queries begin with the context's embedder. What they
    answer needs a short training.
    """
    merged = dict(state)
    for name in MERGED_EMBEDDERS:
        for part in ("0.weight", "0.bias", "1.weight", "1.bias"):
            if f"cond_embedder.{part}" in state:
                merged.setdefault(f"{name}.{part}", state[f"cond_embedder.{part}"].clone())
    return merged
