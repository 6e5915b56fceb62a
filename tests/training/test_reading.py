"""Only the pair can tell: what is learnt where it does, and nothing where marks are shuffled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lavin_deploy.config import preset
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.training.jdit import draw_batch, flow_loss
from lavin_deploy.training.latents.pool import GROUP, Chunk, LatentPools, Pool
from lavin_deploy.training.loop.objective import make_optimizer
from lavin_deploy.training.loop.processes import CPU
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.validation import Validation

GROUPS, SIDE, MARK = 200, 8, 1.0
RECIPE = DiTRecipe(
    preset="tiny", batch=32, queries=8, at_noise=1.0, drop=0.0, learning_rate=3e-3, bf16=False
)


def regions(*, shuffled: bool, seed: int = 0) -> LatentPools:
    """Two kinds of places, of a look that each group draws anew; answer a marks kind a.

    Where marks are shuffled each item draws which kind it marks, so a pair tells nothing.
    """
    rng = np.random.default_rng(seed)
    count = GROUPS * GROUP
    looks = np.repeat(rng.standard_normal((GROUPS, 2, 16)), GROUP, axis=0)
    kinds = rng.integers(0, 2, (count, SIDE // 2, SIDE // 2)).repeat(2, axis=1).repeat(2, axis=2)
    inputs = np.take_along_axis(
        looks.transpose(0, 2, 1)[:, :, :, None, None], kinds[:, None, None], axis=2
    )[:, :, 0]
    answers = []
    for answer in (0, 1):
        asked = rng.integers(0, 2, count) if shuffled else np.full(count, answer)
        sign = np.where(kinds == asked[:, None, None], MARK, -MARK)
        answers.append(np.repeat(sign[:, None], 16, axis=1))
    chunk = Chunk(
        latents=np.stack([inputs, *answers], axis=1).astype(np.float16),
        ids=np.arange(count),
        present=np.ones((count, 2), bool),
    )
    return LatentPools(pools=[Pool(name="any", chunks=[chunk], weight=1)], shift=0.0, scale=1.0)


def trained(pools: LatentPools, steps: int) -> tuple[JDiT, float]:
    """A small model and the loss over its last steps, as a share of the best blind answer's."""
    torch.manual_seed(0)
    config = replace(preset("tiny").dit, context="frozen", pairing="merged")
    dit = JDiT(config)
    optimizer = make_optimizer(dit, RECIPE)
    losses = []
    for step in range(steps):
        loss, figures = flow_loss(
            dit, draw_batch(pools, RECIPE, step, range(64)), RECIPE, bf16=False
        )
        for group in optimizer.param_groups:
            group["lr"] = RECIPE.learning_rate * min(1, (step + 1) / 20)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(dit.parameters(), 1.0)
        optimizer.step()
        losses.append(figures["mse"])
    return dit, float(np.mean(losses[-20:])) / MARK**2


@pytest.mark.unit
def test_marks_are_read_from_the_pair_and_shuffled_ones_from_nothing() -> None:
    steps = 80
    dit, told = trained(regions(shuffled=False), steps)
    _, shuffled = trained(regions(shuffled=True), steps)
    assert told < 0.6
    assert shuffled > 0.97
    held = Validation.of(
        regions(shuffled=False, seed=1), episodes=16, queries=4, pairs=(1,)
    ).measure(dit, CPU, bf16=False)["any"]
    assert held.loss < 0.6 * MARK**2
    assert held.reading is not None
    assert held.reading > 0.4
    fresh = JDiT(dit.config)
    blind = Validation.of(
        regions(shuffled=False, seed=1), episodes=16, queries=4, pairs=(1,)
    ).measure(fresh, CPU, bf16=False)["any"]
    assert blind.reading == pytest.approx(0, abs=1e-6)


@pytest.mark.unit
@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.25), (0.4, 0.55), (1.0, 1.0)])
def test_a_share_of_the_steps_has_one_pair(share: float, expected: float) -> None:
    pools = regions(shuffled=False)
    plan = replace(RECIPE, max_pairs=4, one_pair=share)
    single = [draw_batch(pools, plan, step, range(8))[0].shape[2] == 2 for step in range(400)]
    assert np.mean(single) == pytest.approx(expected, abs=0.07)
