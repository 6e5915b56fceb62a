"""The processes of a run: one by itself, or all that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from tqdm import tqdm

from lavin_deploy.errors import InputError
from lavin_deploy.training.loop.settings import Recipe

PATIENCE = timedelta(hours=24)
"""How long processes wait for each other: one of them encodes the pools of latents."""
CPU = torch.device("cpu")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Where this process stands among all.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        device: what this one computes on.
        distributed: whether there is a process group; one process that torchrun started has one.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    distributed: bool = False

    @property
    def main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all."""
        if self.distributed:
            dist.barrier()

    def largest(self, values: list[float]) -> list[float]:
        """The largest of each value over all processes."""
        if not self.distributed:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        maxima: list[float] = tensor.tolist()
        return maxima

    def mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Mean of each figure over the processes that have it."""
        gathered: list[Mapping[str, float]] = [figures]
        if self.distributed:
            gathered *= self.size
            dist.all_gather_object(gathered, dict(figures))
        values: dict[str, list[float]] = {}
        for each in gathered:
            for name, value in each.items():
                values.setdefault(name, []).append(value)
        return {name: sum(column) / len(column) for name, column in values.items()}

    def from_main(self, value: T) -> T:
        """The main process's value, on every process."""
        if not self.distributed:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def share(self, batch: int, accumulate: int) -> list[range]:
        """Samples of a global batch that this process computes, one range for each micro-batch.

        Raises:
            InputError: the batch cannot be shared out evenly.
        """
        parts = self.size * accumulate
        if accumulate < 1 or batch < parts or batch % parts:
            raise InputError(
                f"a batch of {batch} cannot be shared out evenly among {self.size} processes times "
                f"{accumulate} micro-batches; set batch to a multiple of {max(parts, 1)}."
            )
        each = batch // parts
        firsts = [(turn * self.size + self.rank) * each for turn in range(accumulate)]
        return [range(first, first + each) for first in firsts]


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun started (NCCL on GPUs, else gloo), or stand alone."""
    cuda = torch.cuda.is_available()
    if "RANK" not in os.environ:
        yield Processes(device=torch.device("cuda" if cuda else "cpu"))
        return
    device = torch.device("cpu")
    if cuda:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield Processes(
            rank=dist.get_rank(), size=dist.get_world_size(), device=device, distributed=True
        )
        dist.barrier()
    finally:
        dist.destroy_process_group()


def bfloat16_pays(recipe: Recipe, device: torch.device) -> bool:
    """Whether matrix work is to run in bfloat16: asked for, and the device has instructions for it.

    Without them torch falls back to a loop some 150 times slower than float32 (docs/LOG.md).
    """
    if not recipe.bf16 or device.type != "cpu":
        return recipe.bf16
    able = torch.cpu.get_capabilities()
    if not any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")):
        tqdm.write("This CPU has no bfloat16 instructions: training in float32.")
        return False
    return True
