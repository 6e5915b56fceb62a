"""What a run tells: a progress bar, a JSON line now and then, TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lavin_deploy.training.loop.processes import Processes
from lavin_deploy.training.loop.settings import Recipe

EVERY = 20.0
"""Seconds between two lines of the log."""
SIDE = 1024
"""Of the square matrices whose product measures what the machine can do."""


class Meter:
    """Collects figures of steps and shows their means. Only the main process writes.

    Args:
        out: folder of the run; gets ``<kind>.log.jsonl`` and ``tensorboard/<kind>``.
        kind: ``stvae`` or ``jdit``.
        recipe: of the run.
        processes: the processes.
        first: step at which the run starts or goes on.
    """

    def __init__(
        self, out: Path, kind: str, recipe: Recipe, processes: Processes, first: int
    ) -> None:
        self.recipe, self.processes = recipe, processes
        self.flops = 0.0
        self._figures: dict[str, list[float]] = {}
        self._count = 0
        self._last_show = time.monotonic()
        self._peak: float | None = None
        self._log = self._board = None
        if processes.main:
            from torch.utils.tensorboard import SummaryWriter

            self._log = (out / f"{kind}.log.jsonl").open("a")
            self._board = SummaryWriter(str(out / "tensorboard" / kind), purge_step=first)
        quiet = None if processes.main else True
        self._bar = tqdm(total=recipe.steps, initial=first, disable=quiet, unit="step")

    def add(self, figures: Mapping[str, float]) -> None:
        """Note the figures of one step."""
        for name, value in figures.items():
            self._figures.setdefault(name, []).append(value)
        self._count += 1
        self._bar.update()

    @property
    def due(self) -> bool:
        """Whether it is time to show something."""
        return time.monotonic() - self._last_show > EVERY

    def show(self, step: int) -> None:
        """Write the means since the last time; all processes call it."""
        if not self._count:
            return
        seconds = max(time.monotonic() - self._last_show, 1e-9)
        means = {name: sum(values) / len(values) for name, values in self._figures.items()}
        row: dict[str, Any] = {n: round(mean, 6) for n, mean in self.processes.mean(means).items()}
        rate = self._count / seconds
        row["steps_per_second"] = round(rate, 3)
        row["samples_per_second"] = round(rate * self.recipe.batch, 2)
        if self.flops:
            row["utilisation"] = round(rate * self.flops / self.peak, 3)
        if self._log is not None and self._board is not None:
            self._log.write(json.dumps({"step": step, **row}) + "\n")
            self._log.flush()
            for name, value in row.items():
                self._board.add_scalar(name, value, step)
            self._bar.set_postfix(row)
        self._figures, self._count, self._last_show = {}, 0, time.monotonic()

    @property
    def peak(self) -> float:
        """FLOP per second of a large matrix product on this device, float32, measured once."""
        if self._peak is None:
            a = torch.randn(SIDE, SIDE, device=self.processes.device)
            best = float("inf")
            for _ in range(4):
                start = time.perf_counter()
                float((a @ a)[0, 0])  # waits for a GPU
                best = min(best, time.perf_counter() - start)
            self._peak = 2.0 * SIDE**3 / best
        return self._peak

    def held_out(self, row: Mapping[str, Mapping[str, float]], step: int) -> None:
        """Write held-out figures: by task, by the figure's name."""
        if self._log is not None and self._board is not None:
            self._log.write(json.dumps({"step": step, "held_out": row}) + "\n")
            self._log.flush()
            for task, figures in row.items():
                for name, value in figures.items():
                    self._board.add_scalar(f"held_out/{task}/{name}", value, step)

    def pictures(self, name: str, rows: NDArray[np.uint8], step: int) -> None:
        """Show pictures (rows, columns, H, W, 3) uint8 as a grid in TensorBoard."""
        if self._board is not None:
            count, across, height, width, _ = rows.shape
            grid = rows.transpose(0, 2, 1, 3, 4).reshape(count * height, across * width, 3)
            self._board.add_image(name, grid, step, dataformats="HWC")

    def close(self) -> None:
        """Close the files."""
        self._bar.close()
        if self._log is not None and self._board is not None:
            self._log.close()
            self._board.close()
