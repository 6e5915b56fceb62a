"""Time one J-DiT step of a bundle in ONNX Runtime against torch and against a plain matrix product.

All contenders run in one process on the same inputs, interleaved round by round, after a warm-up;
medians are compared. Floating-point operations are those of the step's matrix products and
attention (norms, softmax and activations count nothing). The eager contender is the plain model
with repeated key/value heads, the usual way to write grouped-query attention.

    python benchmarks/step_cpu.py [--bundle edge.lavin] [--json FILE]

The torch contenders have the bundle's sizes and random weights: time does not depend on them.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
import torch
import torch.nn.functional as F
from timing import give, interleaved, processor, versions

import lavin_deploy
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.config import DiTConfig, ModelConfig
from lavin_deploy.models import attention
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.runtime.backends.choose import make_backend

GEMM = 1024
DEFAULT = Path(lavin_deploy.__file__).parent / "bundles" / "edge.lavin"


def step_flops(config: DiTConfig, context_tokens: int, target_tokens: int) -> float:
    """Multiply-adds times two of one step: projections, attention, MLPs, embedders, output."""
    width, joint = config.hidden_size, context_tokens + target_tokens
    kv_width = config.num_kv_heads * config.head_dim
    total = 2.0 * (joint + target_tokens) * config.token_width * width
    for block in range(config.depth):
        read = target_tokens if block == config.depth - 1 else joint  # rows anything still reads
        total += 2.0 * joint * width * 2 * kv_width  # k, v
        total += 2.0 * read * width * 2 * width  # q, output projection
        total += 2.0 * read * width * 3 * config.mlp_width
        total += 2.0 * 2 * read * joint * width  # scores and weighted sum
    return total


def repeated_heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Grouped-query attention by repeating keys and values."""
    group = q.shape[1] // k.shape[1]
    return F.scaled_dot_product_attention(
        q, k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    )


@click.command()
@click.option("--bundle", "bundle_path", type=Path, default=DEFAULT, show_default=True)
@click.option("--rounds", default=30, show_default=True)
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(bundle_path: Path, rounds: int, out: Path | None) -> None:
    """Print the median of each contender and the ratios."""
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    with open_bundle(bundle_path) as bundle:
        defaults = bundle.manifest.defaults
        config = ModelConfig.from_dict(dict(bundle.manifest.model)).dit
        dit = JDiT(config).eval()
        (height, width), pairs = defaults.size, defaults.pairs
        variant = bundle.variant()
        graph = variant.graph("step", height=height, width=width, pairs=pairs)
        shapes = {tensor.name: tensor.shape for tensor in graph.inputs}
        rng = np.random.default_rng(0)
        feed = {n: rng.standard_normal(s, dtype=np.float32) for n, s in shapes.items()}
        x, cond = torch.from_numpy(feed["latent"]), torch.from_numpy(feed["context"])
        t = torch.tensor([0.3])
        eager_patch = mock.patch.object(attention, "grouped_query_attention", repeated_heads)
        compiled = torch.compile(dit, dynamic=False)

        def eager() -> None:
            with eager_patch:
                dit(x, t, cond)

        a, b = torch.randn(2, GEMM, GEMM)
        with (
            torch.no_grad(),
            make_backend("onnxruntime", bundle, threads=threads) as backend,
        ):
            calls: dict[str, Callable[[], object]] = {
                "onnxruntime": lambda: backend.infer(graph, feed),
                "torch eager": eager,
                "torch.compile": lambda: compiled(x, t, cond),
                f"float32 GEMM {GEMM}^3": lambda: a @ b,
            }
            seconds = interleaved(calls, rounds)
    per_frame = (height // 16) * (width // 16)
    flops = step_flops(config, (2 * pairs + 1) * per_frame, per_frame)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    rate = flops / medians["onnxruntime"]
    gemm_rate = 2.0 * GEMM**3 / medians[f"float32 GEMM {GEMM}^3"]
    report: dict[str, Any] = {
        "size": f"{height}x{width}",
        "pairs": pairs,
        "tokens": (2 * pairs + 2) * per_frame,
        "gflop": round(flops / 1e9, 3),
        "median_ms": {name: round(1e3 * value, 2) for name, value in medians.items()},
        "gflop_per_second": {
            "onnxruntime step": round(rate / 1e9, 1),
            "GEMM": round(gemm_rate / 1e9, 1),
        },
        "step_rate_over_gemm_rate": round(rate / gemm_rate, 3),
        "eager_over_onnxruntime": round(medians["torch eager"] / medians["onnxruntime"], 3),
        "compile_over_onnxruntime": round(medians["torch.compile"] / medians["onnxruntime"], 3),
        "rounds": rounds,
        "threads": threads,
        "machine": processor(),
        "versions": versions(),
    }
    give(report, out)


if __name__ == "__main__":
    main()
