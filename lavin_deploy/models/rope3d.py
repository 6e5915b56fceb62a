"""Rotary positions over time, rows and columns (paper section 3.3, 3D RoPE).

A head of width E is cut into three equal contiguous parts for t, h and w. In a part of width
e = E / 3 the pair (i, i + e/2) turns by ``position * 10000^(-2i/e)``. Positions are integers: t
counts latent frames over the joint sequence (context first, target after), h and w count patch
rows and columns from 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10000.0


def frequencies(head_dim: int, device: torch.device | None = None) -> Tensor:
    """Angle of each pair of an axis at position 1: (head_dim / 6,) float64."""
    half = head_dim // 6
    return BASE ** (-torch.arange(half, dtype=torch.float64, device=device) / half)


def positions(
    start: int, stop: int, rows: int, cols: int, device: torch.device | None = None
) -> Tensor:
    """(t, h, w) of every token of frames ``start`` to ``stop``, (L, 3) float64, order (T, H, W)."""
    axes = ((start, stop), (0, rows), (0, cols))
    counts = [torch.arange(*axis, dtype=torch.float64, device=device) for axis in axes]
    grid = torch.meshgrid(*counts, indexing="ij")
    return torch.stack(grid, dim=-1).reshape(-1, 3)


def rope_tables(
    frames: int, rows: int, cols: int, head_dim: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every token's angles, in token order (T, H, W).

    Args:
        frames: latent frames of the joint sequence.
        rows: patch rows of a frame.
        cols: patch columns of a frame.
        head_dim: width E of a head, a multiple of 6.
        device: where they are made; None is the CPU.

    Returns:
        Two float32 tensors (frames * rows * cols, 3, head_dim / 6): one angle per axis and pair.
    """
    angles = positions(0, frames, rows, cols, device)[:, :, None] * frequencies(head_dim, device)
    return angles.cos().float(), angles.sin().float()


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn heads by their tokens' angles.

    Args:
        x: queries or keys (B, N, L, E).
        cos: (L, 3, E/6), from :func:`rope_tables`.
        sin: (L, 3, E/6).

    Returns:
        (B, N, L, E), same dtype as ``x``.
    """
    parts = x.unflatten(-1, (3, 2, -1))  # (B, N, L, axis, half, E/6)
    first, second = parts.unbind(-2)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    turned = torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-2)
    return turned.flatten(-3)
