"""Train J-DiT by conditional flow matching on pools of latents (paper section 3.4).

``z_t = (1 - t) z1 + t z0`` with noise z1 and data z0; the target is the velocity ``z0 - z1``, and
only target tokens count. A share of the samples stands at t = 0, where the best velocity is the
conditional mean minus the noise: one Euler step then gives the answer of a deterministic task.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lavin_deploy.config import ModelConfig
from lavin_deploy.models.checkpoint import fill, read_state, save_dit
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.training.engine import Batch, Trainer, bfloat16_pays, step_rng
from lavin_deploy.training.latents import LatentPools
from lavin_deploy.training.recipes import DiTRecipe


def draw_batch(pools: LatentPools, recipe: DiTRecipe, step: int) -> Batch:
    """Context, data, noise and times of one step, all from the step's own generator."""
    rng = step_rng(recipe, step)
    pairs = 0 if rng.random() < recipe.drop else int(rng.integers(1, recipe.max_pairs + 1))
    context, data = pools.draw(rng, recipe.batch, pairs)
    noise = rng.standard_normal(data.shape, dtype="float32")
    times = 1.0 / (1.0 + torch.exp(-torch.from_numpy(rng.standard_normal(recipe.batch))))
    times[torch.from_numpy(rng.random(recipe.batch) < recipe.at_noise)] = 0.0
    return (
        torch.from_numpy(context),
        torch.from_numpy(data),
        torch.from_numpy(noise),
        times.float(),
    )


def train_jdit(
    pools: LatentPools,
    recipe: DiTRecipe,
    config: ModelConfig,
    out: Path,
    *,
    resume: bool = False,
    init: Path | None = None,
) -> Path:
    """Train and return the folder that holds ``lavin_dit.safetensors`` (averaged weights).

    Args:
        pools: the latents to learn from.
        recipe: schedule and sampling.
        config: model sizes, latent shift and scale (those of the ST-VAE that made the pools).
        out: folder of the run.
        resume: go on from its last state.
        init: weight file to start from; ignored by a resumed run, which has its own.
    """
    torch.manual_seed(recipe.seed)
    dit = JDiT(config.dit)
    if init is not None:
        fill(dit, read_state(init), init)
    bf16 = bfloat16_pays(recipe)
    if recipe.compiled:
        for block in dit.blocks:
            block.compile(dynamic=False)

    def loss(batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        context, data, noise, times = batch
        t = times.view(-1, 1, 1, 1, 1)
        z_t = (1 - t) * noise + t * data
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            velocity = dit(z_t, times, context).float()
        errors = (velocity - (data - noise)).square().flatten(1).mean(dim=1)
        figures = {"loss": errors.mean().item()}
        if (times == 0).any():
            figures["loss_at_0"] = errors[times == 0].mean().item()
        return errors.mean(), figures

    def on_save(trainer: Trainer) -> None:
        save_dit(out, trainer.ema, config)

    Trainer(dit, recipe, out, "jdit", resume=resume).fit(
        lambda step: draw_batch(pools, recipe, step), loss, on_save
    )
    return out
