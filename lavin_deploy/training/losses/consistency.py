"""Multistep consistency distillation of flow models (Heek et al., 2024, arXiv 2403.06807).

[0, 1] is cut into K equal segments. From z_t inside of a segment that ends at e, the Euler jump
``z_t + (e - t) v(z_t, t)`` must arrive where the jump from a later point t' of the same segment
does; t' is one Euler step of the teacher away. At t' = e the teacher's step is the whole answer.
K jumps from segment to segment are then K Euler steps of a uniform grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lavin_deploy.errors import InputError
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.training.loop.settings import DiTRecipe

Context = Sequence[Tensor]
"""What :meth:`JDiT.forward` takes behind the times: the whole context, or pairs and query."""


def ask(dit: nn.Module, z: Tensor, times: Tensor, context: Context, *, bf16: bool) -> Tensor:
    """Velocity (B, 16, T, h, w) float32 of a model, matrix work in bfloat16 if wished."""
    with torch.autocast(z.device.type, torch.bfloat16, enabled=bf16):
        velocity: Tensor = dit(z, times, *context)
    return velocity.float()


@torch.no_grad()
def answer(dit: nn.Module, noise: Tensor, context: Context, steps: int, *, bf16: bool) -> Tensor:
    """Integrate from noise by Euler steps on a uniform grid, without guidance.

    Args:
        dit: the model.
        noise: (B, 16, T, h, w).
        context: see :data:`Context`.
        steps: evaluations.
        bf16: matrix work in bfloat16.
    """
    z = noise
    for index in range(steps):
        t = noise.new_full((len(noise),), index / steps)
        z = z + ask(dit, z, t, context, bf16=bf16) / steps
    return z


def draw_time(rng: np.random.Generator, recipe: DiTRecipe) -> float:
    """Draw the time of a sample.

    t ~ LogitNormal(0, 1), or for a share of samples 0. With segments it is a point of the teacher's
    grid below 1, or for that share the start of a segment.
    """
    if recipe.segments:
        count = recipe.segments if rng.random() < recipe.at_noise else recipe.teacher_steps
        return float(rng.integers(count)) / count
    time = 1.0 / (1.0 + np.exp(-rng.standard_normal()))
    return 0.0 if rng.random() < recipe.at_noise else float(time)


class Teacher:
    """Frozen weights and what they ask of a student that jumps to the ends of segments.

    Args:
        dit: the weights, a field of velocities (or one distilled to ``steps`` segments).
        segments: K.
        steps: Euler steps of its whole path, a multiple of K: t and t' are neighbours on its grid.
        bf16: matrix work in bfloat16.

    Raises:
        InputError: ``steps`` is no multiple of ``segments``.
    """

    def __init__(self, dit: JDiT, segments: int, steps: int, *, bf16: bool) -> None:
        if steps < segments or steps % segments:
            raise InputError(
                f"teacher_steps is {steps}; with segments={segments} it is a positive multiple of "
                f"{segments}."
            )
        self.dit = dit.eval().requires_grad_(False)
        self.segments, self.steps, self.bf16 = segments, steps, bf16

    @torch.no_grad()
    def target(self, student: nn.Module, z: Tensor, times: Tensor, context: Context) -> Tensor:
        """Target velocity: with it the jump from z at t arrives where the jump from t' does.

        Args:
            student: the model in training; its own jump from t' is taken as given.
            z: (B, 16, T, h, w) at ``times``.
            times: (B,) as :func:`draw_time` gives them.
            context: see :data:`Context`.
        """
        number = (times * self.steps).round()
        inside = self.steps // self.segments
        left = inside - number % inside  # teacher's steps to the segment's end, 1 or more
        step = ask(self.dit, z, times, context, bf16=self.bf16)
        if not (left > 1).any():
            return step
        later = (number + 1) / self.steps
        jump = ask(student, z + step / self.steps, later, context, bf16=self.bf16)
        share = (1 / left).view(-1, 1, 1, 1, 1)
        return share * step + (1 - share) * jump
