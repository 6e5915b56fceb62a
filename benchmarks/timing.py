"""What the benchmarks share: interleaved rounds, and the machine they ran on."""

from __future__ import annotations

import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lavin_deploy  # noqa: F401  # first: it keeps ONNX Runtime's telemetry off

# isort: split
import click
import onnxruntime as ort
import torch

Calls = Mapping[str, Callable[[], object]]


def interleaved(calls: Calls, rounds: int, *, warmup: int = 3) -> dict[str, list[float]]:
    """Seconds of every call in every round, after ``warmup`` rounds that are not counted.

    Each round goes in another (seeded) order, so that nobody always follows the same neighbour. An
    untimed call goes before each timed one: threads of the contender before (torch's spin on for
    milliseconds) and its leftovers in the caches would weigh on whoever comes next.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    order = random.Random(0)
    for number in range(rounds + warmup):
        order.shuffle(names)
        for name in names:
            call = calls[name]
            call()
            start = time.perf_counter()
            call()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of one contender over all rounds."""

    median: float
    least: float


def timings(calls: Calls, rounds: int, *, warmup: int = 3) -> dict[str, Timing]:
    """Median and minimum of :func:`interleaved`, in milliseconds."""
    return {
        name: Timing(median=1e3 * statistics.median(times), least=1e3 * min(times))
        for name, times in interleaved(calls, rounds, warmup=warmup).items()
    }


def give(report: Mapping[str, Any], out: Path | None) -> None:
    """Print a report as JSON, and write it if asked for."""
    text = json.dumps(report, indent=1)
    click.echo(text)
    if out is not None:
        out.write_text(text + "\n")


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, Any]:
    """Versions of what was timed."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": ort.__version__,
    }
