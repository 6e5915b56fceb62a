"""The training loop that both models share: schedule, EMA, states, resume, a clean stop.

One process or many: under torchrun every process draws its own samples of the global batch, and
gradients are averaged (DDP) or parameters are sharded as well (FSDP2), see :mod:`objective`.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from lavin_deploy.errors import WorkError
from lavin_deploy.training.loop import states
from lavin_deploy.training.loop.meter import Meter
from lavin_deploy.training.loop.objective import Batch, Objective
from lavin_deploy.training.loop.prefetch import AHEAD, prefetch
from lavin_deploy.training.loop.processes import Processes
from lavin_deploy.training.loop.resume import SETTINGS, check_resume, look_ahead, settings_text
from lavin_deploy.training.loop.settings import Recipe

DRAWN_AHEAD = AHEAD + 1
"""Steps after the one that is done whose samples may be drawn already."""
Draw = Callable[[int, range], Batch]
"""Step and numbers of samples in the global batch -> those samples."""


def learning_rate(recipe: Recipe, step: int) -> float:
    """Rate at a step: linear warm-up, constant, linear decay to 0 over the last share."""
    decay_steps = max(1.0, recipe.decay * recipe.steps)
    rise = min(1.0, (step + 1) / max(1, recipe.warmup))
    fall = min(1.0, (recipe.steps - step) / decay_steps)
    return recipe.learning_rate * rise * fall


def step_rng(recipe: Recipe, step: int, sample: int | None = None) -> np.random.Generator:
    """The generator of a step, or of one sample in it.

    It depends on nothing before, so a resume is exact, and not on the number of processes.
    """
    # A seed of zeros at the end is the same as none: samples count from 1.
    words = (recipe.seed, step) if sample is None else (recipe.seed, step, sample + 1)
    return np.random.default_rng(words)


class Trainer:
    """Everything a run keeps between steps.

    Args:
        objectives: what is minimised, in the order of each step; the first one's module is the
            model, whose weights are averaged.
        recipe: schedule.
        out: folder of the run.
        kind: ``stvae`` or ``jdit``; its states lie in ``<kind>.states``.
        processes: the processes.
        resume: go on from the last state.

    Raises:
        InputError: there is a state and ``resume`` is False, or it is True and the state was made
            with settings that cannot change.
        CheckpointError: ``resume`` is True and no state can be read.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        recipe: Recipe,
        out: Path,
        kind: str,
        *,
        processes: Processes,
        resume: bool,
    ) -> None:
        self.objectives, self.recipe, self.out, self.kind = objectives, recipe, out, kind
        self.processes, self.states = processes, out / f"{kind}.states"
        self.parts = processes.share(recipe.batch, recipe.accumulate)
        self.step = 0
        self.stopping = False
        out.mkdir(parents=True, exist_ok=True)
        look_ahead(self.states, recipe, resume=resume)
        for objective in objectives:
            objective.prepare(recipe, processes)
        live = objectives[0].module.state_dict()
        self.ema = {name: value.detach().clone() for name, value in live.items()}
        self._means = [_local(value) for value in self.ema.values()]
        self._live = [_local(value) for value in live.values()]
        if resume:
            state = states.load(self.states, self._accept, processes)
            self.step = state["step"]
            for objective in objectives:
                objective.take(state[objective.name])
        self.meter = Meter(out, kind, recipe, processes, self.step)

    def _accept(self, path: Path, step: int) -> dict[str, Any]:
        """The form of a state, if it goes on with these settings."""
        changed = check_resume(path, step, self.recipe)
        if changed and self.processes.main:
            tqdm.write(changed, file=sys.stderr)
        return self._state(step)

    def _state(self, step: int) -> dict[str, Any]:
        parts = {objective.name: objective.state(step) for objective in self.objectives}
        return {**parts, "ema": self.ema, "step": step}

    def save(self) -> None:
        """Write the state, keeping the one before; all processes call it."""
        texts = {SETTINGS: settings_text(self.recipe)}
        states.save(self.states, self.step, self._state(self.step), self.processes, texts)

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights, whole and on the CPU; all call it, the main process gets them."""
        weights = {}
        for name, value in self.ema.items():
            whole = value.full_tensor() if isinstance(value, DTensor) else value
            if self.processes.main:
                weights[name] = whole.cpu()
        return weights

    def _average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self._means, self._live, 1.0 - decay)

    def fit(
        self,
        draw: Draw,
        on_save: Callable[[Trainer], None],
        on_step: Callable[[Trainer], None] = lambda _: None,
    ) -> None:
        """Train to ``recipe.steps``; SIGTERM saves and returns.

        Args:
            draw: gives samples of a step; runs in a thread, up to :data:`DRAWN_AHEAD` steps ahead.
            on_save: called by all processes after each save, e.g. to export the averaged weights.
            on_step: called by all processes after each step, before a save.

        Raises:
            WorkError: the loss is not finite; the state before it is on disk.
        """
        previous = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        saved = time.monotonic()

        def make(step: int) -> list[Batch]:
            return [draw(step, samples) for samples in self.parts]

        try:
            for batches in prefetch(make, self.step, self.recipe.steps):
                batches = [tuple(x.to(self.processes.device) for x in batch) for batch in batches]
                figures = self._step(batches)
                self.meter.add(figures)
                on_step(self)
                last = self.step == self.recipe.steps
                late = time.monotonic() - saved > 60 * self.recipe.save_minutes
                # All processes do the same: what one of them wants, all want.
                wishes = [
                    float(x) for x in (self.stopping, self.processes.main and self.meter.due, late)
                ]
                self.stopping, due, late = (bool(x) for x in self.processes.largest(wishes))
                if due or self.stopping or last:
                    self.meter.show(self.step)
                if late or self.stopping or last:
                    self.save()
                    on_save(self)
                    saved = time.monotonic()
                if self.stopping:
                    if self.processes.main:
                        tqdm.write(f"stopped at step {self.step}; --resume goes on from there.")
                    return
        finally:
            self.meter.close()
            signal.signal(signal.SIGTERM, previous)

    def _step(self, batches: list[Batch]) -> dict[str, float]:
        """One step of every objective."""
        figures: dict[str, float] = {}
        rate = learning_rate(self.recipe, self.step)
        if not self.meter.flops:  # the first step of this process
            with FlopCounterMode(display=False) as counter:
                self.objectives[0].gradients(batches[:1], self.step)
            self.meter.flops = float(counter.get_total_flops() * len(batches))
            if self.recipe.compiled:
                for objective in self.objectives:
                    objective.compile()
        for index, objective in enumerate(self.objectives):
            means = objective.gradients(batches, self.step)
            if means is None:
                continue
            (bad,) = self.processes.largest([float(not np.isfinite(means["loss"]))])
            if bad:
                self._give_up(batches, objective)
            norm = objective.update(rate, self.recipe.clip)
            prefix = f"{objective.name}_" if index else ""
            figures |= {f"{prefix}{k}": v for k, v in {**means, "gradient_norm": norm}.items()}
        self.step += 1
        self._average()
        return figures

    def _give_up(self, batches: list[Batch], objective: Objective) -> None:
        file = self.out / (
            f"bad_batch.{self.processes.rank}.pt" if self.processes.size > 1 else "bad_batch.pt"
        )
        torch.save(batches, file)
        raise WorkError(
            f"the loss {objective.name!r} is not finite at step {self.step}; the batch is in "
            f"{file}: lower learning_rate or set bf16=false."
        )


def _local(value: Tensor) -> Tensor:
    """This process's part."""
    return value.to_local() if isinstance(value, DTensor) else value.detach()
