"""One loss, the module that it trains, and that module's optimiser, on one process or on many."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from lavin_deploy.training.loop.processes import Processes
from lavin_deploy.training.loop.settings import Recipe

GRAPHS = 64
"""Graphs that torch.compile may make of one block."""

Batch = tuple[Tensor, ...]
Loss = Callable[[nn.Module, Batch, int], tuple[Tensor, dict[str, float]]]
"""Module to call, micro-batch, step -> mean loss over the samples, and figures for the log."""


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; vectors (norms, biases, type embeddings) are not decayed."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


@dataclass
class Objective:
    """What is minimised.

    Attributes:
        name: in logs and states.
        module: whose parameters are trained, by its ``forward`` alone.
        loss: see :data:`Loss`; it calls the module that it is given, which averages gradients.
        blocks: parts of the module that are compiled, recomputed and sharded one by one.
        apart: parts of the blocks that are called by themselves, so sharded by themselves.
        start: first step at which it counts.
    """

    name: str
    module: nn.Module
    loss: Loss
    blocks: Sequence[nn.Module] = ()
    apart: Sequence[nn.Module] = ()
    start: int = 0
    wrapped: nn.Module = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    _forwards: list[Callable[..., Any]] = field(init=False)
    _recompute: bool = field(init=False)

    def prepare(self, recipe: Recipe, processes: Processes) -> None:
        """Move to the device, shard or replicate, and make the optimiser."""
        self.module.to(processes.device)
        self._forwards = [block.forward for block in self.blocks]
        self._recompute = recipe.recompute
        self._put(self._forwards)
        self.wrapped = self.module
        if processes.distributed and recipe.sharded:
            mesh = init_device_mesh(processes.device.type, (processes.size,))
            for part in (*self.apart, *self.blocks, self.module):
                fully_shard(part, mesh=mesh)
        elif processes.distributed:
            ids = [processes.device] if processes.device.type == "cuda" else None
            self.wrapped = DistributedDataParallel(self.module, device_ids=ids)
        self.optimizer = make_optimizer(self.module, recipe)

    def compile(self) -> None:
        """Put the blocks through torch.compile, inside of what is computed again."""
        # Every number of pairs is a shape of its own, and the last block another graph.
        torch._dynamo.config.recompile_limit = GRAPHS
        self._put([torch.compile(forward, dynamic=False) for forward in self._forwards])

    def _put(self, forwards: Sequence[Callable[..., Any]]) -> None:
        for block, forward in zip(self.blocks, forwards, strict=True):
            if self._recompute:
                forward = functools.partial(checkpoint, forward, use_reentrant=False)
            block.forward = forward

    def gradients(self, batches: Sequence[Batch], step: int) -> dict[str, float] | None:
        """Means over the micro-batches, their gradients left in the parameters; None if not begun.

        Args:
            batches: of equal size.
            step: its number.
        """
        if step < self.start:
            return None
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, list[float]] = {}
        for index, batch in enumerate(batches):
            with self._sync(last=index == len(batches) - 1):
                value, figures = self.loss(self.wrapped, batch, step)
                (value / len(batches)).backward()
            for name, figure in {"loss": float(value.detach()), **figures}.items():
                sums.setdefault(name, []).append(figure)
        return {name: sum(values) / len(values) for name, values in sums.items()}

    def _sync(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients behind the last micro-batch only."""
        if isinstance(self.wrapped, FSDPModule):
            self.wrapped.set_requires_gradient_sync(last)
        if isinstance(self.wrapped, DistributedDataParallel) and not last:
            return self.wrapped.no_sync()
        return contextlib.nullcontext()

    def update(self, rate: float, clip: float) -> float:
        """Step the optimiser; return the norm of the gradient before it was clipped to ``clip``."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), clip)
        self.optimizer.step()
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def state(self, step: int) -> dict[str, Any]:
        """Weights and, once begun, optimiser state by the module's names, sharded or not.

        torch makes the state of an optimiser that has none by a step of its own, which would count.
        """
        state: dict[str, Any] = {"model": get_model_state_dict(self.module)}
        if step > self.start:
            state["optimizer"] = get_optimizer_state_dict(self.module, self.optimizer)
        return state

    def take(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        set_model_state_dict(self.module, state["model"])
        if "optimizer" in state:
            set_optimizer_state_dict(self.module, self.optimizer, state["optimizer"])
