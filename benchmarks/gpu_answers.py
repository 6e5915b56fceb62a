"""Whole answers: TensorRT against torch and torch.compile, same weights, pictures, noise and grid.

    python benchmarks/gpu_answers.py BUNDLE CHECKPOINT [--precision fp16]... [--json FILE]

An answer goes from a picture in memory to a picture in memory: encode the query, sample, decode;
the example pairs were encoded before. Torch runs the plain models in bfloat16, eager and by
torch.compile (max-autotune, which takes CUDA graphs), all tokens in every step, as the model is
published. Rounds are interleaved; medians count. Latents are compared with the fp32 graphs in ONNX
Runtime on the CPU. The rates of a large product and a copy, of the same run, say what the GPU can
do. ``--backend onnxruntime --no-compile`` runs on the CPU, which tests this script.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch._dynamo.utils
from gpu_engines import build
from timing import timings
from torch import Tensor

from lavin_deploy.arrays import U8
from lavin_deploy.config import ModelConfig
from lavin_deploy.errors import LavinError
from lavin_deploy.export.checks.end_to_end import draw_pictures
from lavin_deploy.export.checks.gate import TensorDistance
from lavin_deploy.flow.grids import Grid
from lavin_deploy.flow.noise import normal
from lavin_deploy.models.checkpoint import load_checkpoint
from lavin_deploy.planning.budget import Setting, budget
from lavin_deploy.runtime.letterbox import to_pixels, to_u8
from lavin_deploy.runtime.pipeline import Model, load
from lavin_deploy.runtime.request import choose_grid

Answer = Callable[[], np.ndarray]
"""Answers the query; returns its latents (1, 16, 1, h, w) float32."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Pictures (H, W, 3) uint8, noise (1, 16, 1, h, w) float32, times (steps + 1,)."""

    pairs: list[tuple[U8, U8]]
    query: U8
    noise: np.ndarray
    grid: Grid


def by_bundle(model: Model, question: Question) -> Answer:
    """The runtime, frame after frame."""
    frames = itertools.repeat(question.query)
    results = model.stream(
        frames=frames,
        pairs=question.pairs,
        steps=len(question.grid) - 1,
        guidance=1.0,
        noise=question.noise,
    )
    return lambda: next(results).latents


class Torch:
    """The plain models in one type, parts compiled where asked."""

    def __init__(
        self, checkpoint: Path, question: Question, device: str, dtype: torch.dtype, *, fast: bool
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        dit, vae = (model.to(device, dtype).eval() for model in load_checkpoint(checkpoint))
        parts = (dit, lambda x: vae.scale(vae.encode(x).mean), lambda z: vae.decode(vae.unscale(z)))
        self.dit, self.encode, self.decode = (
            torch.compile(part, mode="max-autotune", dynamic=False, fullgraph=True)
            if fast
            else part
            for part in parts
        )
        self.query = question.query
        self.grid = [float(t) for t in question.grid]
        self.times = [torch.full((1,), t, device=device, dtype=dtype) for t in self.grid]
        self.noise = self.put(question.noise)
        with torch.no_grad():
            images = itertools.chain.from_iterable(question.pairs)
            self.pairs = torch.cat([self.encode(self.picture(p)).clone() for p in images], dim=2)

    def put(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device, self.dtype)

    def picture(self, picture: U8) -> Tensor:
        return self.put(to_pixels(picture))

    @torch.no_grad()
    def __call__(self) -> np.ndarray:
        context = torch.cat((self.pairs, self.encode(self.picture(self.query))), dim=2)
        z = self.noise
        for index, (start, end) in enumerate(itertools.pairwise(self.grid)):
            z = z + (end - start) * self.dit(z, self.times[index], context)
        pixels = self.decode(z)
        to_u8(pixels.float().cpu().numpy())
        latents: np.ndarray = z.float().cpu().numpy()
        return latents


def roofline(device: str) -> dict[str, float]:
    """FLOPs and bytes a second of a product of halves (floats on a CPU) and of a copy."""
    size, numbers = (8192, 1 << 29) if device == "cuda" else (512, 1 << 22)
    dtype = torch.float16 if device == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    source = torch.zeros(numbers, dtype=torch.uint8, device=device)
    into = torch.empty_like(source)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    work = {"product": lambda: (a @ b, wait()), "copy": lambda: (into.copy_(source), wait())}
    done = {"product": 2.0 * size**3, "copy": 2.0 * numbers}
    return {name: 1e3 * done[name] / took.median for name, took in timings(work, 20).items()}


def flops(model: Model, pairs: int, steps: int, precision: str) -> int:
    """Of one answer, as the engines compute it."""
    height, width = model.manifest.defaults.size
    variant = model.bundle.variant(precision)
    setting = Setting(
        model=ModelConfig.from_dict(dict(model.manifest.model)),
        height=height,
        width=width,
        pairs=pairs,
        precision=precision,
        frozen=variant.context == "frozen",
        refresh=None if variant.refresh is None else variant.refresh.every,
    )
    stages = budget(setting).stages
    return sum(s.count.flops * s.runs(steps, setting.refresh) for s in stages)


@click.command()
@click.argument("bundle", type=Path)
@click.argument("checkpoint", type=Path)
@click.option("--backend", default="tensorrt", show_default=True)
@click.option("--precision", "precisions", multiple=True, default=["fp16"], show_default=True)
@click.option("--steps", type=int, help="Model evaluations; default: the bundle's.")
@click.option("--rounds", default=50, show_default=True)
@click.option("--compile/--no-compile", "compiled", default=True, help="torch.compile too.")
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(
    bundle: Path,
    checkpoint: Path,
    backend: str,
    precisions: tuple[str, ...],
    steps: int | None,
    rounds: int,
    compiled: bool,
    out: Path | None,
) -> None:
    """Time and compare; answers are printed with their distance from fp32."""
    torch.manual_seed(0)
    device = "cuda" if backend == "tensorrt" else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    with ExitStack() as stack:
        plain = stack.enter_context(load(bundle, backend="onnxruntime", precision="fp32"))
        defaults = plain.manifest.defaults
        *images, query = draw_pictures(defaults)
        height, width = defaults.size
        question = Question(
            pairs=list(zip(images[::2], images[1::2], strict=True)),
            query=query,
            noise=normal(0, (1, plain.manifest.latent.channels, 1, height // 8, width // 8)),
            grid=choose_grid(plain.manifest, steps or defaults.steps),
        )
        evaluations = len(question.grid) - 1
        answers: dict[str, Answer] = {}
        failures: list[str] = []
        for precision in precisions:
            try:
                if backend == "tensorrt":
                    build(plain.bundle, precision)
                model = stack.enter_context(load(bundle, backend=backend, precision=precision))
                answers[f"{backend} {precision}"] = by_bundle(model, question)
            except LavinError as error:  # torch's figures are worth having all the same
                failures.append(f"{precision}: {error}")
        answers["torch eager"] = Torch(checkpoint, question, device, dtype, fast=False)
        if compiled:
            answers["torch.compile"] = Torch(checkpoint, question, device, dtype, fast=True)
        exact = by_bundle(plain, question)()
        far = {
            name: TensorDistance.between([answer()], [exact]).rel_l2
            for name, answer in answers.items()
        }
        times = timings(answers, rounds)
        peak = roofline(device)
        work = {p: flops(plain, len(question.pairs), evaluations, p) for p in precisions}
    last = list(times)[-1]
    rows: list[dict[str, Any]] = []
    for name, timing in times.items():
        row = {"answer": name, "ms": timing.median, "least_ms": timing.least, "distance": far[name]}
        precision = name.removeprefix(f"{backend} ")
        if precision in work:
            rate = work[precision] / timing.median * 1e3
            row |= {"faster": times[last].median / timing.median}
            row |= {"flops_a_second": rate, "of_the_product": rate / peak["product"]}
        rows.append(row)
    report = {
        "bundle": bundle.name,
        "size": [height, width],
        "pairs": len(question.pairs),
        "steps": evaluations,
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "against": last,
        "failures": failures,
        "cudagraph_skips": torch._dynamo.utils.counters["inductor"]["cudagraph_skips"],
        "rates": peak,
        "rows": rows,
    }
    if out is not None:
        out.write_text(json.dumps(report, indent=1) + "\n")
    for row in rows:
        more = f", {row['faster']:.2f} x {last}" if "faster" in row else ""
        click.echo(f"{row['answer']}: {row['ms']:.2f} ms, off by {row['distance']:.1e}{more}")
    for failure in failures:
        click.echo(f"FAILED {failure}")
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
