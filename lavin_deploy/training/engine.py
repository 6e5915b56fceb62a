"""The training loop that both models share: schedule, EMA, checkpoints, resume, a clean stop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lavin_deploy.errors import CheckpointError, InputError, WorkError
from lavin_deploy.training.recipes import Recipe

AHEAD = 4

Batch = tuple[Tensor, ...]


def learning_rate(recipe: Recipe, step: int) -> float:
    """Rate at a step: linear warm-up, constant, linear decay to 0 over the last share."""
    decay_steps = max(1.0, recipe.decay * recipe.steps)
    rise = min(1.0, (step + 1) / max(1, recipe.warmup))
    fall = min(1.0, (recipe.steps - step) / decay_steps)
    return recipe.learning_rate * rise * fall


def step_rng(recipe: Recipe, step: int) -> np.random.Generator:
    """The generator of one step; it depends on nothing before it, so a resume is exact."""
    return np.random.default_rng((recipe.seed, step))


def prefetch(make: Callable[[int], Batch], first: int, last: int) -> Iterator[Batch]:
    """Yield make(first) ... make(last - 1) in order, a few made ahead in a thread."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: list[Future[Batch]] = []
        for index in range(first, last):
            while len(waiting) < AHEAD and index + len(waiting) < last:
                waiting.append(pool.submit(make, index + len(waiting)))
            yield waiting.pop(0).result()


def bfloat16_pays(recipe: Recipe) -> bool:
    """Whether matrix work is to run in bfloat16: asked for, and the CPU has instructions for it.

    Without them torch falls back to a loop some 150 times slower than float32 (docs/LOG.md).
    """
    able = torch.cpu.get_capabilities()
    if recipe.bf16 and not any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")):
        tqdm.write("This CPU has no bfloat16 instructions: training in float32.")
        return False
    return recipe.bf16


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; vectors (norms, biases, type embeddings) are not decayed."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


class Trainer:
    """Everything a run keeps between steps.

    Args:
        module: the model.
        recipe: schedule.
        out: folder of the run.
        kind: ``stvae`` or ``jdit``; its state is ``<kind>.state.pt``, its log ``<kind>.log.jsonl``.
        resume: go on from the last state.

    Raises:
        InputError: there is a state and ``resume`` is False.
        CheckpointError: ``resume`` is True and no state can be read.
    """

    def __init__(
        self, module: nn.Module, recipe: Recipe, out: Path, kind: str, *, resume: bool
    ) -> None:
        self.module, self.recipe, self.out = module, recipe, out
        self.state = out / f"{kind}.state.pt"
        self.log = out / f"{kind}.log.jsonl"
        self.step = 0
        self.optimizer = make_optimizer(module, recipe)
        self.ema = {name: p.detach().clone() for name, p in module.state_dict().items()}
        self.stopping = False
        out.mkdir(parents=True, exist_ok=True)
        if self.state.exists() and not resume:
            raise InputError(f"{out} holds a run already; give --resume or another --out.")
        if resume:
            self._load()

    def _load(self) -> None:
        for path in (self.state, self.state.with_suffix(".previous")):
            if not path.exists():
                continue
            try:
                state = torch.load(path, weights_only=True)
                self.module.load_state_dict(state["model"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.ema, self.step = state["ema"], state["step"]
                return
            except Exception as error:  # whatever a damaged file makes torch raise
                tqdm.write(f"warning: {path} cannot be read ({error}); trying the one before.")
        raise CheckpointError(f"--resume: {self.out} holds no readable {self.state.name}.")

    def save(self) -> None:
        """Write the state, keeping the one before; a kill at any point leaves one that loads."""
        fresh = self.state.with_suffix(".tmp")
        state = {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "step": self.step,
        }
        torch.save(state, fresh)
        if self.state.exists():
            self.state.replace(self.state.with_suffix(".previous"))
        fresh.replace(self.state)

    def _average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            state = self.module.state_dict()
            names = list(self.ema)
            torch._foreach_lerp_(
                [self.ema[n] for n in names], [state[n] for n in names], 1.0 - decay
            )

    def fit(
        self,
        make_batch: Callable[[int], Batch],
        loss: Callable[[Batch, int], tuple[Tensor, dict[str, float]]],
        on_save: Callable[[Trainer], None],
    ) -> None:
        """Train to ``recipe.steps``; SIGTERM saves and returns.

        Args:
            make_batch: step -> tensors; runs in a thread.
            loss: batch, step -> scalar loss and figures for the log.
            on_save: called after each save, e.g. to export the averaged weights.

        Raises:
            WorkError: the loss is not finite; the state before it is on disk.
        """
        recipe = self.recipe
        previous = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        saved = shown = time.monotonic()
        log = self.log.open("a")
        bar = tqdm(total=recipe.steps, initial=self.step, disable=None, unit="step")
        sums: dict[str, float] = {}
        count = 0
        try:
            for batch in prefetch(make_batch, self.step, recipe.steps):
                for group in self.optimizer.param_groups:
                    group["lr"] = learning_rate(recipe, self.step)
                value, figures = loss(batch, self.step)
                if not torch.isfinite(value):
                    torch.save(batch, self.out / "bad_batch.pt")
                    raise WorkError(
                        f"the loss is {value.item()} at step {self.step}; the batch is in "
                        f"{self.out / 'bad_batch.pt'}: lower learning_rate or set bf16=false."
                    )
                self.optimizer.zero_grad(set_to_none=True)
                value.backward()
                norm = nn.utils.clip_grad_norm_(self.module.parameters(), recipe.clip)
                self.optimizer.step()
                self.step += 1
                self._average()
                count += 1
                for key, figure in {**figures, "gradient_norm": norm.item()}.items():
                    sums[key] = sums.get(key, 0.0) + figure
                bar.update()
                now = time.monotonic()
                if now - shown > 20 or self.stopping or self.step == recipe.steps:
                    row = {key: round(total / count, 5) for key, total in sums.items()}
                    row |= {"step": self.step, "steps_per_second": round(count / (now - shown), 3)}
                    log.write(json.dumps(row) + "\n")
                    log.flush()
                    bar.set_postfix(row)
                    sums, count, shown = {}, 0, now
                if now - saved > 60 * recipe.save_minutes or self.stopping:
                    self.save()
                    on_save(self)
                    saved = time.monotonic()
                if self.stopping:
                    tqdm.write(f"stopped at step {self.step}; --resume goes on from there.")
                    return
            self.save()
            on_save(self)
        finally:
            bar.close()
            log.close()
            signal.signal(signal.SIGTERM, previous)
