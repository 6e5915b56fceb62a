"""Train J-DiT by conditional flow matching on pools of latents (paper section 3.4).

``z_t = (1 - t) z1 + t z0`` with noise z1 and data z0; the target is the velocity ``z0 - z1``, and
only target tokens count. A share of the samples stands at t = 0, where the best velocity is the
conditional mean minus the noise: one Euler step then gives the answer of a deterministic task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lavin_deploy.config import ModelConfig, preset
from lavin_deploy.errors import InputError
from lavin_deploy.models.checkpoint import fill, read_folder_config, save_dit
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.pairing import merged_state
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.weights import named_for, read_state
from lavin_deploy.training import lora
from lavin_deploy.training.latents.open import Stages
from lavin_deploy.training.latents.pool import LatentPools
from lavin_deploy.training.loop.objective import Batch, Objective
from lavin_deploy.training.loop.processes import Processes, bfloat16_pays
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.loop.trainer import Trainer, step_rng
from lavin_deploy.training.losses.consistency import Teacher, answer, ask, draw_time
from lavin_deploy.training.losses.pixels import PixelLoss
from lavin_deploy.training.mix import Mix
from lavin_deploy.training.stvae import to_images
from lavin_deploy.training.validation import Held, Validation

EPISODES, QUERIES = 24, 4
"""Of every task in a validation, and queries of each."""
SMALL = (1 << 31) - 1
"""Number of the generator that says which steps are small; no sample has it."""
GRID_SAMPLES = 6
"""Samples in the grid of a save."""
SHOWABLE = 500_000_000
"""Parameters from which on a model is too large to be asked on the CPU at every save."""


def draw_batch(pools: LatentPools, recipe: DiTRecipe, step: int, samples: Sequence[int]) -> Batch:
    """Pairs, queries, data, noise and times of some samples of a step; pixels if pools have them.

    All samples of a step have as many pairs and frames, drawn from the step's generator. Each
    ``recipe.queries`` samples one after another are the queries of one episode, which draws from a
    generator of its own.

    Args:
        pools: of latents.
        recipe: sampling.
        step: its number.
        samples: their numbers in the global batch, whole episodes.

    Returns:
        (E, 16, 2P f, h, w) pairs of E episodes; then of B = E Q samples (B, 16, f, h, w) queries,
        targets and noise, (B,) times, (B, 1, 1, h, w) weights, and perhaps
        (B, 3, S, S) uint8 targets.
    """
    rng = step_rng(recipe, step)
    pairs = 0 if rng.random() < recipe.drop else int(rng.integers(1, recipe.max_pairs + 1))
    if pairs > 1 and recipe.one_pair and rng.random() < recipe.one_pair:
        pairs = 1
    frames = pools.draw_frames(rng)
    rows = []
    for episode in range(samples[0] // recipe.queries, (samples[-1] + 1) // recipe.queries):
        rng = step_rng(recipe, step, episode)
        drawn = pools.draw(rng, pairs, recipe.queries, frames)
        noise = rng.standard_normal(drawn.targets.shape, dtype=np.float32)
        times = np.array([draw_time(rng, recipe) for _ in range(recipe.queries)], np.float32)
        pixels = [] if drawn.pixels is None else [drawn.pixels]
        rows.append(
            (drawn.pairs[None], drawn.queries, drawn.targets, noise, times, drawn.weights, *pixels)
        )
    return tuple(torch.from_numpy(np.concatenate(part)) for part in zip(*rows, strict=True))


def is_small(recipe: DiTRecipe, step: int) -> bool:
    """Whether a step is drawn at ``recipe.first_size``."""
    return step_rng(recipe, step, SMALL).random() < recipe.small_steps


def flow_loss(
    dit: nn.Module,
    batch: Batch,
    recipe: DiTRecipe,
    *,
    bf16: bool,
    teacher: Teacher | None = None,
    pixel_loss: PixelLoss | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Square error of the velocity, ``recipe.l1`` times its absolute error, and errors in pixels.

    Args:
        dit: the model.
        batch: as :func:`draw_batch` gives it.
        recipe: weights.
        bf16: matrix work in bfloat16.
        teacher: gives the target velocity; None: it is that of the line from noise to data.
        pixel_loss: compares the answers, all from t = 0, with the targets' pixels.
    """
    pairs, queries, data, noise, times, weights, *pixels = batch
    context = (pairs, queries)
    t = times.view(-1, 1, 1, 1, 1)
    z_t = (1 - t) * noise + t * data
    target = data - noise if teacher is None else teacher.target(dit, z_t, times, context)
    velocity = ask(dit, z_t, times, context, bf16=bf16)
    off = velocity - target
    errors = (off.square() * weights).flatten(1).mean(dim=1)
    figures = {"mse": errors.mean().item()}
    if (times == 0).any():
        figures["mse_at_0"] = errors[times == 0].mean().item()
    value = errors.mean()
    if recipe.l1:
        value = value + recipe.l1 * (off.abs() * weights).mean()
    if pixel_loss is None:
        return value, figures
    seen, more = pixel_loss(noise + velocity, pixels[0], weights)
    return recipe.velocity * value + seen, {**figures, **more}


@torch.no_grad()
def answer_grid(
    dit: JDiT, vae: STVAE, batch: Batch, config: ModelConfig, steps: int
) -> NDArray[np.uint8]:
    """Query, answer and truth of each sample, decoded: (B, 3, H, W, 3) uint8.

    Of clips the last frame is shown.

    Args:
        dit: the model.
        vae: of its latents.
        batch: as :func:`draw_batch` gives it; its times are not read.
        config: shift and scale of the latents.
        steps: evaluations of the answer.
    """
    pairs, queries, data, noise = batch[:4]
    answers = answer(dit, noise, (pairs, queries), steps, bf16=False)
    columns = [
        to_images(vae.decode(z / config.latent_scale + config.latent_shift))
        for z in (queries, answers, data)
    ]
    return np.stack(columns, axis=1)


def train_jdit(
    stages: Stages,
    vae: STVAE,
    recipe: DiTRecipe,
    config: ModelConfig,
    out: Path,
    *,
    processes: Processes | None = None,
    resume: bool = False,
    init: Path | None = None,
) -> Path:
    """Train and return the folder that holds ``lavin_dit.safetensors`` (averaged weights).

    Args:
        stages: the latents to learn from.
        vae: made them; it shows what is learnt.
        recipe: schedule and sampling.
        config: model sizes, latent shift and scale (those of the ST-VAE that made the pools).
        out: folder of the run.
        processes: the processes; None is this one alone.
        resume: go on from its last state.
        init: weight file to start from; a resumed run has its own, and needs it for a teacher only.

    Raises:
        InputError: sizes other than the recipe's; ``recipe.lora`` or a teacher without weights;
            what :class:`Teacher` and :class:`PixelLoss` raise.
    """
    processes = processes or Processes()
    torch.manual_seed(recipe.seed)
    sizes = preset(recipe.preset).dit
    if replace(config.dit, context=sizes.context, pairing=sizes.pairing) != sizes:
        raise InputError(
            f"the config beside the ST-VAE has other sizes than the recipe's {recipe.preset!r}; "
            f"train the ST-VAE with --set preset={recipe.preset}, or set the preset here."
        )
    trained, config = config, recipe.adapt(config)
    dit = JDiT(config.dit)
    if init is not None:
        state = named_for(dit.state_dict(), read_state(init), init)
        fill(dit, merged_state(state) if config.dit.pairing == "merged" else state, init)
    for part in dit.dead_parts():
        part.requires_grad_(False)
    if recipe.lora:
        if init is None and not resume:
            raise InputError("lora adapts trained weights; give them with --init-from.")
        lora.adapt(dit, recipe.lora)
    bf16 = bfloat16_pays(recipe, processes.device)
    teacher: Teacher | None = None
    if recipe.segments:
        if init is None:
            raise InputError("a teacher has trained weights; give them with --init-from.")
        teacher_config = read_folder_config(init.parent) or trained
        teacher_dit = teacher_config.dit
        teacher_model = JDiT(
            replace(config.dit, context=teacher_dit.context, pairing=teacher_dit.pairing)
        )
        fill(teacher_model, read_state(init), init)
        teacher_model.to(processes.device)
        teacher = Teacher(teacher_model, recipe.segments, recipe.teacher_steps, bf16=bf16)
    pixel_loss = None
    if recipe.in_pixels:
        pixel_loss = PixelLoss(vae, recipe, config, processes.device, bf16=bf16)

    def loss(model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        return flow_loss(model, batch, recipe, bf16=bf16, teacher=teacher, pixel_loss=pixel_loss)

    main, beginning, small = stages.main, stages.beginning, stages.small
    weights = {pool.name: pool.weight for pool in main.train.pools}

    def draw(step: int, samples: range) -> Batch:
        entry = mix.at(step)
        if beginning is not None and entry.beginning:
            return draw_batch(beginning.train, recipe, step, samples)
        if small is not None and is_small(recipe, step):
            return draw_batch(small.weighted(entry.weights), recipe, step, samples)
        return draw_batch(main.train.weighted(entry.weights), recipe, step, samples)

    # Samples of a step that the run does not reach.
    shown = range(-(-GRID_SAMPLES // recipe.queries) * recipe.queries)
    grid_batch = draw_batch(main.train, recipe, recipe.steps, shown)

    def on_save(trainer: Trainer) -> None:
        weights = trainer.averaged()
        if processes.main:
            plain = lora.merged(weights) if recipe.lora else weights
            save_dit(out, plain, config)
            if sum(weight.numel() for weight in plain.values()) < SHOWABLE:
                averaged = JDiT(config.dit)
                averaged.load_state_dict(plain)
                rows = answer_grid(averaged, vae.cpu(), grid_batch, config, recipe.segments or 1)
                trainer.meter.pictures("query, answer, truth", rows, trainer.step)

    modulations = [m for b in dit.joint_blocks() for m in (b.cond_modulation, b.x_modulation)]
    blocks = list(dit.blocks)
    objective = Objective("model", dit, loss, blocks=blocks, apart=modulations)
    trainer = Trainer([objective], recipe, out, "jdit", processes=processes, resume=resume)
    mix = Mix(
        out / "jdit.mix.json",
        weights,
        beginning=beginning is not None,
        step=trainer.step,
        writes=processes.main,
    )
    validations = [
        Validation.of(
            stage.held_out,
            episodes=EPISODES,
            queries=QUERIES,
            pairs=tuple(dict.fromkeys((1, recipe.max_pairs))),
        )
        for stage in (beginning, main)
        if stage is not None and stage.held_out is not None
    ]

    def on_step(trainer: Trainer) -> None:
        if not validations or trainer.step % recipe.validate_every:
            return
        averaged = trainer.averaged()
        held: dict[str, Held] = {}
        if processes.main:
            model = JDiT(config.dit)
            model.load_state_dict(lora.merged(averaged) if recipe.lora else averaged)
            entry = mix.at(trainer.step)
            validation = validations[0] if entry.beginning else validations[-1]
            held = validation.measure(model.to(processes.device), processes.device, bf16=bf16)
            trainer.meter.held_out({k: h.figures() for k, h in held.items()}, trainer.step)
        held = processes.from_main(held)
        readings = [h.reading for h in held.values() if h.reading is not None]
        read = bool(readings) and min(readings) >= recipe.first_reading
        mix.add(trainer.step, {} if mix.at(trainer.step).beginning else held, read_first=read)

    trainer.fit(draw, on_save, on_step)
    return out
