"""Merged pairs: input and target of a pair as one token a place, their weights, what is refused."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lavin_deploy.config import DiTConfig
from lavin_deploy.errors import InputError

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


def check_latents(
    config: DiTConfig, x: Tensor, t: Tensor, cond: Tensor, query: Tensor | None
) -> None:
    """Refuse what ``JDiT.forward`` cannot take.

    Raises:
        InputError: the shapes do not fit each other, the patch or the pairing.
    """
    patch, channels = config.patch_size, config.in_channels
    shapes = f"x {tuple(x.shape)}, t {tuple(t.shape)} and cond {tuple(cond.shape)}"
    contexts = [cond] if query is None else [cond, query]
    if any(z.ndim != 5 or z.shape[-2:] != x.shape[-2:] for z in (x, *contexts)):
        raise InputError(
            f"{shapes}: x and cond must be (B, C, T, h, w) with the same h and w; encode both "
            "at one size."
        )
    if query is not None:
        shapes += f" before a query {tuple(query.shape)}"
    batches = len(query if query is not None else cond)
    if t.shape != x.shape[:1] or batches != len(x) or not len(cond) or len(x) % len(cond):
        raise InputError(f"{shapes} must have one batch size B, with t of shape (B,).")
    if any(z.shape[1] != channels for z in (x, *contexts)):
        raise InputError(f"{shapes}: latents have {channels} channels.")
    if x.shape[-2] % patch or x.shape[-1] % patch:
        raise InputError(
            f"a latent of {x.shape[-2]} x {x.shape[-1]} cannot be cut into {patch} x {patch} "
            f"patches; use pixel sizes that are multiples of {8 * patch}."
        )
    frames = x.shape[2]
    if config.pairing == "merged" and (
        query is None
        or query.shape[2] != frames
        or (cond.shape[2] != 1 and cond.shape[2] % (2 * frames))
    ):
        raise InputError(
            f"{shapes}: merged pairs take a context of in1, tgt1, ..., query with "
            f"{frames} frames each like x, or one frame of zeros and the query."
        )
