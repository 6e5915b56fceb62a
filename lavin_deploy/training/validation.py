"""How well held-out episodes are answered, and how much of that is read from the pairs.

The error of a one-step answer from t = 0 is compared with that under mismatched pairs, whose
targets, in the same style, belong to other inputs: ``reading = 1 - right / wrong`` is 0 for a model
that looks at the colours of its pairs alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lavin_deploy.training.latents.pool import LatentPools
from lavin_deploy.training.loop.objective import Batch
from lavin_deploy.training.losses.consistency import ask


@dataclass(frozen=True, kw_only=True)
class Held:
    """What was measured of one task.

    Attributes:
        loss: mean square error of the latents answered in one step, pairs as they belong.
        wrong: the same with mismatched pairs; None where a task has one answer.
    """

    loss: float
    wrong: float | None

    @property
    def reading(self) -> float | None:
        """1 - loss / wrong."""
        return None if self.wrong is None else 1 - self.loss / self.wrong

    def figures(self) -> dict[str, float]:
        """Loss and, where there is one, reading, for a log."""
        figures = {"loss": round(self.loss, 5)}
        return figures if self.reading is None else {**figures, "reading": round(self.reading, 4)}


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Episodes of every task, drawn once.

    Attributes:
        batches: by task, one or more of (pairs, queries, targets, noise, weights), each with
            its mismatched pairs or None.
    """

    batches: dict[str, list[tuple[Batch, torch.Tensor | None]]]

    @classmethod
    def of(
        cls, pools: LatentPools, *, episodes: int, queries: int, pairs: Sequence[int], seed: int = 0
    ) -> Validation:
        """Draw ``episodes`` of every pool, with each of some numbers of pairs in turn."""
        batches: dict[str, list[tuple[Batch, torch.Tensor | None]]] = {}
        for pool in pools.pools:
            drawn: dict[int, list[tuple[np.ndarray, ...]]] = {}
            for number in range(episodes):
                count = pairs[number % len(pairs)]
                right, wrong = pools.only(pool.name).draw_both(
                    np.random.default_rng((seed, number)), count, queries, pool.frames
                )
                noise = np.random.default_rng((seed, number, 1)).standard_normal(
                    right.targets.shape, dtype=np.float32
                )
                row = (right.pairs[None], right.queries, right.targets, noise, right.weights)
                drawn.setdefault(count, []).append(
                    (*row, wrong[None]) if wrong is not None else row
                )
            batches[pool.name] = [_stacked(rows) for rows in drawn.values()]
        return cls(batches=batches)

    @torch.no_grad()
    def measure(self, dit: nn.Module, device: torch.device, *, bf16: bool) -> dict[str, Held]:
        """Errors of a model on a device, by task."""
        dit.eval()
        measured = {}
        for name, batches in self.batches.items():
            losses: list[float] = []
            wrongs: list[float] = []
            for (pairs, *rest), others in batches:
                queries, targets, noise, weights = (part.to(device) for part in rest)
                for shown, found in ((pairs, losses), (others, wrongs)):
                    if shown is not None:
                        times = torch.zeros(len(noise), device=device)
                        context = (shown.to(device), queries)
                        velocity = ask(dit, noise, times, context, bf16=bf16)
                        errors = (noise + velocity - targets).square() * weights
                        found += errors.flatten(1).mean(dim=1).tolist()
            wrong = float(np.mean(wrongs)) if wrongs else None
            measured[name] = Held(loss=float(np.mean(losses)), wrong=wrong)
        dit.train()
        return measured


def _stacked(rows: Sequence[tuple[np.ndarray, ...]]) -> tuple[Batch, torch.Tensor | None]:
    columns = [torch.from_numpy(np.concatenate(part)) for part in zip(*rows, strict=True)]
    return tuple(columns[:5]), columns[5] if len(columns) > 5 else None
