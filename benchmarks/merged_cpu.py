"""Time what merged pairs cost a frame against pairs in sequence, both frozen, of the same widths.

    python benchmarks/merged_cpu.py [--json FILE]

Both checkpoints of this repository are exported at 128 px, one pair, fp32, native. All contenders
run interleaved in one process, in ONNX Runtime and in OpenVINO: the step (of a sequence its query's
graph and the step), and whole answers from the encoder to the decoder. Weights do not matter.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from math import prod
from pathlib import Path

import click
import numpy as np
from timing import give, interleaved, processor, versions

from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.cli.export import export
from lavin_deploy.runtime.backends.choose import make_backend

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402  # only now: it sends telemetry where that module is

ROOT = Path(__file__).parents[1] / "checkpoints"
KINDS = {"sequence": ROOT / "edge-all", "merged": ROOT / "long-run"}
FRAME = {"sequence": ("query", "step"), "merged": ("step",)}
"""Graphs of J-DiT that every frame runs, with one evaluation."""

Run = Callable[[str], object]
"""Run a graph by its name."""


def runners(bundle: Bundle, threads: int, stack: ExitStack) -> dict[str, Run]:
    """By runtime: what runs a graph of the bundle's fp32 variant, always on the same inputs."""
    variant, rng = bundle.variant("fp32"), np.random.default_rng(0)
    graphs = {graph.name: graph for graph in variant.graphs}
    feeds = {
        name: {
            each.name: rng.standard_normal(each.shape, dtype=np.float32) for each in graph.inputs
        }
        for name, graph in graphs.items()
    }
    backend = stack.enter_context(make_backend("onnxruntime", bundle, threads=threads))
    core, hints = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = {
        name: core.compile_model(
            bundle.graph_file(variant, graph), "CPU", {**hints, "INFERENCE_NUM_THREADS": threads}
        )
        for name, graph in graphs.items()
    }
    return {
        "onnxruntime": lambda name: backend.infer(graphs[name], feeds[name]),
        "openvino": lambda name: compiled[name](feeds[name]),
    }


def run_all(run: Run, names: Sequence[str]) -> None:
    """Run graphs one after the other."""
    for name in names:
        run(name)


@click.command()
@click.option("--rounds", default=30, show_default=True)
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(rounds: int, out: Path | None) -> None:
    """Print medians in milliseconds and the ratios of merged to sequence."""
    threads = len(os.sched_getaffinity(0))
    calls: dict[str, Callable[[], object]] = {}
    keys_values: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for kind, checkpoint in KINDS.items():
            words = ["--ckpt", str(checkpoint), "--out", f"{folder}/{kind}.lavin"]
            export([*words, "--size=128x128", "--pairs=1"], standalone_mode=False)
            bundle = stack.enter_context(open_bundle(f"{folder}/{kind}.lavin"))
            context = bundle.variant("fp32").graph("context", height=128, width=128, pairs=1)
            keys_values[kind] = sum(4 * prod(each.shape) for each in context.outputs)
            for runtime, run in runners(bundle, threads, stack).items():
                calls[f"{runtime} step {kind}"] = partial(run_all, run, FRAME[kind])
                answer = ("encoder", *FRAME[kind], "decoder")
                calls[f"{runtime} answer {kind}"] = partial(run_all, run, answer)
        seconds = interleaved(calls, rounds)
    medians = {name: 1e3 * statistics.median(times) for name, times in seconds.items()}
    report = {
        "median_ms": {name: round(value, 2) for name, value in medians.items()},
        "merged_over_sequence": {
            f"{runtime} {part}": round(
                medians[f"{runtime} {part} merged"] / medians[f"{runtime} {part} sequence"], 3
            )
            for runtime in ("onnxruntime", "openvino")
            for part in ("step", "answer")
        },
        "bytes_of_the_pairs_keys_and_values": keys_values,
        "rounds": rounds,
        "threads": threads,
        "machine": processor(),
        "versions": {**versions(), "openvino": openvino.__version__},
    }
    give(report, out)


if __name__ == "__main__":
    main()
