from __future__ import annotations

import pytest
import torch

from lavin_deploy.models.rope3d import apply_rope, rope_tables

pytestmark = pytest.mark.unit


def test_scores_depend_on_relative_positions_only() -> None:
    frames, rows, cols, width = 4, 5, 6, 24
    torch.manual_seed(0)
    q, k = torch.randn(2, width)
    cos, sin = rope_tables(frames, rows, cols, width)
    tokens = frames * rows * cols
    turned_q = apply_rope(q.expand(1, 1, tokens, width), cos, sin)[0, 0]
    turned_k = apply_rope(k.expand(1, 1, tokens, width), cos, sin)[0, 0]
    scores = (turned_q @ turned_k.T).reshape(frames, rows, cols, frames, rows, cols)
    # Move both by (1, 2, 3): the same score.
    moved = scores[1:, 2:, 3:, 1:, 2:, 3:]
    torch.testing.assert_close(scores[:-1, :-2, :-3, :-1, :-2, :-3], moved, rtol=0, atol=1e-4)
    assert scores.std() > 0.1  # and they do depend on something


def test_each_axis_turns_its_own_third() -> None:
    cos, _ = rope_tables(2, 3, 4, 12)
    grid = cos.reshape(2, 3, 4, 3, 2)
    for axis, size in enumerate((2, 3, 4)):
        assert (grid.select(axis, 0)[..., axis, :] == 1).all()
        moved = grid.select(axis, size - 1)[..., axis, 0]
        torch.testing.assert_close(moved, torch.full_like(moved, torch.tensor(size - 1.0).cos()))


def test_rotation_keeps_length() -> None:
    cos, sin = rope_tables(3, 2, 2, 48)
    x = torch.randn(2, 3, 12, 48, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(apply_rope(x, cos, sin).norm(dim=-1), x.norm(dim=-1))
