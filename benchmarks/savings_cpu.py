"""What the exact graph rewrites and a frozen context give on a CPU, whole answers and each graph.

`edge`, 128 x 128, 4 pairs, 19 evaluations of the linear-quadratic grid, guidance 1. An answer is
the query's encoding, the sampler's loop and the decoding, from picture to picture; every side
starts from what is constant for a task: the pairs' latents, of a frozen context also their keys and
values. The weights of one checkpoint serve joint and frozen sides as if trained for both: time does
not depend on that. torch runs the plain joint model under torch.compile. Contenders run interleaved
in one process, after a warm-up; ratios are of medians, and of minima beside.

    python benchmarks/savings_cpu.py [--bundles FOLDER] [--json FILE]
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
from timing import Timing, processor, timings, versions
from torch import Tensor
from weights import SHIPPED, load_joint

from lavin_deploy.arrays import U8, Array
from lavin_deploy.bundle.manifest import WeightSource
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.config import Inference
from lavin_deploy.export.exporter import export_bundle
from lavin_deploy.export.graphs.savings import DEFAULT, GraphRewrites
from lavin_deploy.export.request import ExportRequest
from lavin_deploy.flow.grids import Grid, grid_for
from lavin_deploy.flow.noise import normal
from lavin_deploy.flow.solvers import Latents, euler
from lavin_deploy.models.checkpoint import find_files, load_released, read_config
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.letterbox import to_pixels, to_u8
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.sampler import Sampler

SIZE, PAIRS, STEPS = (128, 128), 4, 19
SWITCHES = {
    f"{'without' if field.default else 'with'} {field.name.replace('_', '-')}": field.name
    for field in fields(GraphRewrites)
}
ANSWERS = 1
"""Rounds of warm-up of whole answers and loops, which run each graph many times themselves."""


def export(
    ckpt: Path, out: Path, *, context: str = "joint", rewrites: GraphRewrites = DEFAULT
) -> Path:
    """Export the checkpoint as the bundle ``out``, unless that is there; return ``out``."""
    if out.exists():
        return out
    files = find_files(ckpt)
    config = read_config(files)
    inference = Inference(
        size=SIZE, pairs=PAIRS, steps=STEPS, grid="linear-quadratic", guidance=1.0
    )
    config = replace(config, inference=inference, dit=replace(config.dit, context=context))
    request = ExportRequest(
        name=out.stem,
        out=out,
        config=config,
        source=WeightSource(kind="checkpoint", sha256=files.sha256()),
        licence="of the checkpoint",
        sizes=[SIZE],
        pairs=[PAIRS],
        steps=STEPS,
        guidance=1.0,
        context=context,
        rewrites=rewrites,
    )
    export_bundle(*load_released(files.dit, files.vae, config), request)
    return out


@dataclass(frozen=True, kw_only=True)
class Episode:
    """What every side is given: the same task, query, noise and grid."""

    pairs: Latents
    query: U8
    noise: Latents
    grid: Grid


class OrtSide:
    """One bundle in ONNX Runtime."""

    def __init__(self, backend: Backend, bundle: Bundle, episode: Episode) -> None:
        self.backend, self.episode = backend, episode
        self.codec = Codec(backend, bundle.manifest.latent, *SIZE)
        modulation = Modulation(backend, bundle.manifest)
        self.sampler = Sampler(backend, modulation, height=SIZE[0], width=SIZE[1], pairs=PAIRS)
        self.latent = self.codec.encode(episode.query)

    def sample(self, query: Latents) -> Latents:
        """The loop under one encoded query."""
        context = np.concatenate((self.episode.pairs, query), axis=2)
        return self.sampler.sample(self.episode.noise, context, grid=self.episode.grid)

    def loop(self) -> Latents:
        return self.sample(self.latent)

    def answer(self) -> U8:
        return self.codec.decode(self.sample(self.codec.encode(self.episode.query)))

    def run_of(self, name: str) -> Callable[[], object]:
        """A run of one graph on normal numbers."""
        graph = next(graph for graph in self.backend.variant.graphs if graph.name == name)
        rng = np.random.default_rng(0)
        feed: dict[str, Array] = {
            spec.name: rng.standard_normal(spec.shape).astype(spec.dtype) for spec in graph.inputs
        }
        return partial(self.backend.infer, graph, feed)

    def weight_bytes(self, name: str) -> int:
        """Bytes of all weights and constants of one graph, as stored."""
        variant = self.backend.variant
        graph = next(graph for graph in variant.graphs if graph.name == name)
        model = onnx.load(self.backend.bundle.graph_file(variant, graph))
        constants = [
            attribute.t
            for node in model.graph.node
            if node.op_type == "Constant"
            for attribute in node.attribute
            if attribute.name == "value"
        ]
        stored = [*model.graph.initializer, *constants]
        return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in stored)


class TorchSide:
    """The plain models under torch.compile."""

    def __init__(self, dit: JDiT, vae: STVAE, episode: Episode) -> None:
        def encode(pixels: Tensor) -> Tensor:
            return vae.scale(vae.encode(pixels).mean)

        def decode(latents: Tensor) -> Tensor:
            return vae.decode(vae.unscale(latents))

        self.step = torch.compile(dit, dynamic=False)
        self.encode = torch.compile(encode, dynamic=False)
        self.decode = torch.compile(decode, dynamic=False)
        self.episode = episode
        self.pairs = torch.from_numpy(episode.pairs)
        self.latent = self.encode(torch.from_numpy(to_pixels(episode.query)))

    def sample(self, query: Tensor) -> Latents:
        """The loop under one encoded query."""
        context = torch.cat((self.pairs, query), dim=2)

        def velocity(z: Latents, t: np.float32) -> Latents:
            velocity: Latents = self.step(
                torch.from_numpy(z), torch.tensor([float(t)]), context
            ).numpy()
            return velocity

        return euler(velocity, self.episode.noise, self.episode.grid)

    def loop(self) -> Latents:
        return self.sample(self.latent)

    def answer(self) -> U8:
        latents = self.sample(self.encode(torch.from_numpy(to_pixels(self.episode.query))))
        return to_u8(self.decode(torch.from_numpy(latents)).numpy())


def first_episode(vae: STVAE) -> Episode:
    """Smooth random pictures, the same in every run."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (2 * PAIRS + 1, SIZE[0] // 8, SIZE[1] // 8, 3))
    *pairs, query = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
    latents = [vae.scale(vae.encode(torch.from_numpy(to_pixels(p))).mean) for p in pairs]
    return Episode(
        pairs=torch.cat(latents, dim=2).numpy(),
        query=query,
        noise=normal(1, (1, 16, 1, SIZE[0] // 8, SIZE[1] // 8)),
        grid=grid_for(STEPS, "linear-quadratic"),
    )


def over(slow: Timing, fast: Timing) -> dict[str, float]:
    """How many times as long ``slow`` takes."""
    return {
        "medians": round(slow.median / fast.median, 3),
        "minima": round(slow.least / fast.least, 3),
    }


def table(title: str, rows: dict[str, Timing], base: str) -> None:
    """Print times, and each over that of ``base``."""
    click.echo(f"\n{title:34}{'median ms':>11}{'minimum ms':>12}{'over ' + base:>22}{'minima':>9}")
    for name, timing in rows.items():
        ratio = over(timing, rows[base])
        click.echo(
            f"{name:34}{timing.median:11.2f}{timing.least:12.2f}"
            f"{ratio['medians']:22.3f}{ratio['minima']:9.3f}"
        )


def measure(torch_side: TorchSide, sides: dict[str, OrtSide], rounds: int) -> dict[str, Any]:
    """Time everything, print tables, return the figures."""
    joint, frozen = sides["joint"], sides["frozen"]
    expected = torch_side.answer().astype(int)
    apart = {
        name: int(np.abs(side.answer().astype(int) - expected).max())
        for name, side in sides.items()
        if side is not frozen
    }
    answers: dict[str, Callable[[], object]] = {"torch.compile": torch_side.answer}
    answers |= {name: side.answer for name, side in sides.items()}
    whole = timings(answers, rounds, warmup=ANSWERS)
    table("whole answer", whole, "joint")
    loops = timings(
        {"torch.compile": torch_side.loop, "joint": joint.loop, "frozen": frozen.loop},
        rounds,
        warmup=ANSWERS,
    )
    table("loop of 19 evaluations", loops, "joint")
    others = {name: side for name, side in sides.items() if name in SWITCHES}
    graphs: dict[str, dict[str, Timing]] = {}
    for graph in ("step", "encoder", "decoder"):
        contenders = {"joint": joint, **others}
        runs = {name: side.run_of(graph) for name, side in contenders.items()}
        graphs[graph] = timings(runs, 4 * rounds)
        table(graph, graphs[graph], "joint")
    parts = timings({name: frozen.run_of(name) for name in ("context", "query", "step")}, rounds)
    table("graphs of the frozen context", parts, "step")
    stored = {
        name: {graph: side.weight_bytes(graph) for graph in graphs}
        for name, side in {"joint": joint, **others}.items()
    }
    click.echo(f"\n{'weight bytes':34}" + "".join(f"{graph:>12}" for graph in graphs))
    for name, sizes in stored.items():
        click.echo(f"{name:34}" + "".join(f"{size:12,}" for size in sizes.values()))
    ratios = {
        "torch.compile over joint, whole answer": over(whole["torch.compile"], whole["joint"]),
        "joint over frozen, loop": over(loops["joint"], loops["frozen"]),
        "joint over frozen, whole answer": over(whole["joint"], whole["frozen"]),
        "step bytes saved by the folded time": round(
            1 - stored["joint"]["step"] / stored["without folded-time"]["step"], 4
        ),
    }
    click.echo()
    for name, value in ratios.items():
        click.echo(f"{name}: {value}")
    return {
        "ratios": ratios,
        "whole_answer_ms": {name: asdict(timing) for name, timing in whole.items()},
        "loop_ms": {name: asdict(timing) for name, timing in loops.items()},
        "graph_ms": {
            graph: {name: asdict(timing) for name, timing in rows.items()}
            for graph, rows in graphs.items()
        },
        "frozen_graph_ms": {name: asdict(timing) for name, timing in parts.items()},
        "gain": {
            name: {
                "whole answer": over(whole[name], whole["joint"]),
                **{graph: over(rows[name], rows["joint"]) for graph, rows in graphs.items()},
            }
            for name in others
        },
        "weight_bytes": stored,
        "largest_difference_of_a_byte_from_torch": apart,
    }


@click.command()
@click.option("--ckpt", type=Path, default=SHIPPED, show_default=True)
@click.option("--bundles", type=Path, help="Keep the exports there, and take those that are.")
@click.option("--rounds", default=7, show_default=True, help="Of answers; graphs run four times.")
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(ckpt: Path, bundles: Path | None, rounds: int, out: Path | None) -> None:
    """Print median and minimum of each contender, and the ratios."""
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    with ExitStack() as stack, torch.no_grad():
        folder = bundles or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places = {
            "joint": export(ckpt, folder / "joint.lavin"),
            "frozen": export(ckpt, folder / "frozen.lavin", context="frozen"),
        }
        for title, name in SWITCHES.items():
            other = replace(DEFAULT, **{name: not getattr(DEFAULT, name)})
            place = folder / f"{title.replace(' ', '-')}.lavin"
            places[title] = export(ckpt, place, rewrites=other)
        dit, vae = load_joint(ckpt)
        episode = first_episode(vae)
        sides = {}
        for name, place in places.items():
            bundle = stack.enter_context(open_bundle(place))
            backend = OnnxRuntimeBackend(bundle, bundle.variant(), threads=threads)
            sides[name] = OrtSide(stack.enter_context(backend), bundle, episode)
        figures = measure(TorchSide(dit, vae, episode), sides, rounds)
    report = {
        "size": f"{SIZE[0]}x{SIZE[1]}",
        "pairs": PAIRS,
        "evaluations": STEPS,
        **figures,
        "rounds": rounds,
        "threads": threads,
        "processor": processor(),
        "versions": versions(),
    }
    if out is not None:
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
