"""How to quantise for ONNX Runtime on a CPU: error and speed of several schemes, in one run.

Graphs are calibrated on leave-one-out episodes of stored tasks and measured on validation samples.
``ort`` schemes are made by onnxruntime.quantization, ``own`` ones by
``precision.quantise``. Speeds are medians of the ratios to fp32 in the same of several
interleaved rounds, each call after an untimed one; errors are relative L2 distances from fp32, mean
and largest.

    python benchmarks/int8_schemes.py [--model edge|0.1b] [--ckpt FOLDER] [--json FILE]

The step is a joint one, whatever the checkpoint was trained for. ``0.1b`` has random weights: its
speed counts, its error is that of a model no one trained.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import lavin_deploy  # first: it keeps ONNX Runtime's telemetry off

# isort: split
import click
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_dynamic, quantize_static
from weights import SHIPPED, load_joint

from lavin_deploy.arrays import Array
from lavin_deploy.bundle.manifest import Graph, WeightSource
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.config import Inference, preset
from lavin_deploy.export.exporter import export_bundle
from lavin_deploy.export.graphs.catalogue import GraphChoice, graph_specs
from lavin_deploy.export.graphs.trace import Traced, trace
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.export.precision import quantise as own
from lavin_deploy.export.precision.calibration import Feed, leave_one_out, record_feeds
from lavin_deploy.export.precision.quantise import Quantisation, products
from lavin_deploy.export.precision.smoothing import Smoothed
from lavin_deploy.export.request import ExportRequest
from lavin_deploy.flow.grids import grid_for
from lavin_deploy.flow.noise import normal
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.sampler import Sampler

BUNDLE = Path(lavin_deploy.__file__).parent / "bundles" / "edge.lavin"
SIZE = (128, 128)
STEPS = 8
GRAPHS = ("encoder", "step", "decoder")
Files = dict[str, Path]
Timing = dict[str, float]


class Given(Backend):
    """Runs sessions of given files by the graph's name."""

    name = "given"

    def __init__(self, bundle: Any, sessions: Mapping[str, ort.InferenceSession]) -> None:
        super().__init__(bundle, bundle.variant())
        self.sessions = sessions

    def activate(self) -> None: ...

    def deactivate(self) -> None: ...

    def describe(self) -> str:
        return self.name

    def prepare(self, graph: Graph) -> None: ...

    def infer_impl(self, graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
        outputs = self.sessions[graph.name].run(None, dict(feed))
        return dict(zip((spec.name for spec in graph.outputs), outputs, strict=True))


def models(name: str, ckpt: Path) -> tuple[JDiT, STVAE]:
    if name == "edge":
        return load_joint(ckpt)
    config = preset(name)
    torch.manual_seed(0)
    dit, vae = JDiT(config.dit).eval(), STVAE(config.vae).eval()
    with torch.no_grad():
        for parameter in (*dit.parameters(), *vae.parameters()):
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return dit, vae


def session(file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if "fp8" in file.stem:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def write(traced: Traced, file: Path) -> Path:
    onnx.save(WeightFile(file.with_suffix(".weights")).externalise(traced), file)
    return file


class OrtSchemes:
    """onnxruntime's own quantiser on plain graphs, with the same nodes left out as ours."""

    def __init__(self, folder: Path, name: str, traced: Traced, feeds: Sequence[Feed]) -> None:
        self.folder, self.name, self.feeds = folder, name, feeds
        self.plain = folder / f"{name}-plain.onnx"
        model = onnx.ModelProto()
        model.CopyFrom(traced.model)
        for tensor in model.graph.initializer:
            if tensor.name in traced.weights:
                array = np.ascontiguousarray(traced.weights[tensor.name]())
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        onnx.save(model, self.plain)
        chosen = products(traced.model, Quantisation(precision="int8", convolutions=True))
        self.nodes = [node.name for node in chosen]

    def static(self, scheme: str, **settings: Any) -> Path:
        file = self.folder / f"{self.name}-{scheme}.onnx"
        unsigned = settings.get("activation_type") == QuantType.QUInt8
        extra = {
            "ActivationSymmetric": not unsigned,
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": ["MatMul"],
            "CalibPercentile": settings.pop("percentile", 99.99),
        }
        remaining = iter(self.feeds)
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(
                self.plain,
                file,
                mock.Mock(
                    spec=["get_next", "__iter__"],
                    get_next=lambda: next(remaining, None),
                    __iter__=lambda _: remaining,
                ),
                nodes_to_quantize=self.nodes,
                extra_options=extra,
                **settings,
            )
        return file

    def dynamic(self, scheme: str) -> Path:
        file = self.folder / f"{self.name}-{scheme}.onnx"
        quantize_dynamic(self.plain, file, nodes_to_quantize=self.nodes, per_channel=True)
        return file


def unsmoothed(traced: Traced, nodes: object, factors: object) -> Smoothed:
    return Smoothed(traced=traced, divisors={})


def own_schemes(
    traced: Mapping[str, Traced], feeds: Mapping[str, Sequence[Feed]], folder: Path, depth: int
) -> dict[str, Files]:
    attention = frozenset(
        f"blocks.{i}.{stream}_{part}"
        for i in range(depth)
        for stream in ("cond", "x")
        for part in ("qkv", "out")
    )
    choices = {
        "own int8": Quantisation(precision="int8"),
        "own int8, not smoothed": Quantisation(precision="int8"),
        "own int8, MLPs only": Quantisation(precision="int8", fp32_modules=attention),
        "own int8, Conv too": Quantisation(precision="int8", convolutions=True),
        "own fp8, Conv too": Quantisation(precision="fp8", convolutions=True),
    }
    files: dict[str, Files] = {}
    for name, choice in choices.items():
        smooth = unsmoothed if "not smoothed" in name else own.smooth
        with mock.patch.object(own, "smooth", smooth):
            quantised = own.quantise(traced, feeds, choice)
        files[name] = {
            graph: write(model, folder / f"{graph}-{name}.onnx".replace(" ", "_"))
            for graph, model in quantised.items()
            if model is not traced[graph]
        }
    return files


def ort_schemes(
    traced: Mapping[str, Traced], feeds: Mapping[str, Sequence[Feed]], folder: Path
) -> dict[str, Files]:
    s8: dict[str, Any] = {"per_channel": True}
    u8 = {**s8, "activation_type": QuantType.QUInt8}
    percentile, entropy = CalibrationMethod.Percentile, CalibrationMethod.Entropy
    choices: dict[str, dict[str, Any]] = {
        "ort static, per tensor, min-max": {"per_channel": False},
        "ort static, min-max": s8,
        "ort static, min-max, U8S8": u8,
        "ort static, 99.99 %": {**s8, "calibrate_method": percentile},
        "ort static, 99.9 %": {**s8, "calibrate_method": percentile, "percentile": 99.9},
        "ort static, 99.99 %, U8S8": {**u8, "calibrate_method": percentile},
        "ort static, entropy": {**s8, "calibrate_method": entropy},
    }
    files: dict[str, Files] = {"ort dynamic": {}}
    for graph, model in traced.items():
        maker = OrtSchemes(folder, graph, model, feeds[graph])
        if graph == "step":
            files["ort dynamic"][graph] = maker.dynamic("dynamic")
        for name, settings in choices.items():
            if graph != "step" and "entropy" in name:
                continue  # minutes for a histogram of a picture's size
            stem = name.replace(" ", "_").replace("%", "")
            files.setdefault(name, {})[graph] = maker.static(stem, **settings)
    return files


def distances(answers: Sequence[Array], expected: Sequence[Array]) -> dict[str, float]:
    errors = [
        float(np.linalg.norm(a.astype(float) - b) / np.linalg.norm(b))
        for a, b in zip(answers, expected, strict=True)
    ]
    return {"mean": round(statistics.mean(errors), 5), "max": round(max(errors), 5)}


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Median milliseconds of every call and its speed over fp32 in the same round, after two rounds
    of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            if number >= 2:
                seconds[name].append(time.perf_counter() - start)
    speeds = {}
    for name, times in seconds.items():
        ratios = [base / own_ for base, own_ in zip(seconds["fp32"], times, strict=True)]
        median = statistics.median(times)
        speeds[name] = {"ms": round(1e3 * median, 2), "speed": round(statistics.median(ratios), 3)}
    return speeds


def by_graph(
    schemes: Mapping[str, Files], fp32: Files, feeds: Mapping[str, Sequence[Feed]], rounds: int
) -> list[dict[str, Any]]:
    rows = []
    for graph in feeds:
        files_of_graph = {name: files[graph] for name, files in schemes.items() if graph in files}
        sessions = {n: session(file) for n, file in {"fp32": fp32[graph], **files_of_graph}.items()}
        outputs = {
            name: [s.run(None, dict(feed))[0] for feed in feeds[graph]]
            for name, s in sessions.items()
        }

        def call(running: ort.InferenceSession, feed: Feed) -> Callable[[], object]:
            return lambda: running.run(None, dict(feed))

        timed = interleaved({n: call(s, feeds[graph][0]) for n, s in sessions.items()}, rounds)
        for name in sessions:
            rows.append(
                {
                    "graph": graph,
                    "scheme": name,
                    **timed[name],
                    "error": distances(outputs[name], outputs["fp32"]),
                }
            )
            click.echo(rows[-1])
    return rows


def whole(
    bundle: Any, answers: Mapping[str, Files], fp32: Files, episodes: Sequence[Any], rounds: int
) -> list[dict[str, Any]]:
    """Encode the query, sample, decode; the pairs' latents are there, as in a stored task."""
    manifest = bundle.manifest
    rows = []
    for steps in (1, STEPS):
        calls, latents, pixels = {}, {}, {}
        for name, files in {"fp32": {}, **answers}.items():
            sessions = {g: session(files.get(g, fp32[g])) for g in (*GRAPHS, "modulation")}
            backend = Given(bundle, sessions)
            codec = Codec(backend, manifest.latent, *SIZE)
            modulation = Modulation(backend, manifest)
            sampler = Sampler(backend, modulation, height=SIZE[0], width=SIZE[1], pairs=1)
            grid = grid_for(steps, "uniform")
            pair_latents = [codec.encode_pairs(episode.pairs[:1]) for episode in episodes]

            def answer(
                number: int,
                codec: Any = codec,
                sampler: Any = sampler,
                pair_latents: Any = pair_latents,
                grid: Any = grid,
            ) -> tuple[Array, Array]:
                query = codec.encode(episodes[number].query)
                context = np.concatenate((pair_latents[number], query), axis=2)
                latent = sampler.sample(normal(number, query.shape), context, grid=grid)
                return latent, codec.decode(latent)

            both = [answer(number) for number in range(len(episodes))]
            latents[name], pixels[name] = [a for a, _ in both], [b for _, b in both]
            calls[name] = lambda answer=answer: answer(0)
        timed = interleaved(calls, rounds)
        for name in calls:
            square = np.mean(
                [
                    (a.astype(float) - b) ** 2
                    for a, b in zip(pixels[name], pixels["fp32"], strict=True)
                ]
            )
            rows.append(
                {
                    "answer": name,
                    "steps": steps,
                    **timed[name],
                    "latents": distances(latents[name], latents["fp32"]),
                    "psnr_to_fp32": None
                    if square == 0
                    else round(10 * float(np.log10(255**2 / square)), 1),
                }
            )
            click.echo(rows[-1])
    return rows


def answers(
    bundle: Any, schemes: Mapping[str, Files], fp32: Files, held_out: Sequence[Any], rounds: int
) -> list[dict[str, Any]]:
    step = {"step": schemes["own int8"]["step"]}
    unsigned = schemes["ort static, 99.99 %, U8S8"]
    chosen = {
        "own int8 step": step,
        "own int8 step and VAE": schemes["own int8, Conv too"],
        "own int8 step, ort U8S8 VAE": {**unsigned, **step},
        "own int8 step, ort U8S8 encoder": {"encoder": unsigned["encoder"], **step},
        "own int8 step, ort U8S8 decoder": {"decoder": unsigned["decoder"], **step},
    }
    turn = held_out[:: max(1, len(held_out) // 6)][:6]
    return whole(bundle, chosen, fp32, turn, rounds)


@click.command()
@click.option("--model", type=click.Choice(["edge", "0.1b"]), default="edge", show_default=True)
@click.option("--ckpt", type=Path, default=SHIPPED, show_default=True)
@click.option("--feeds", "limit", default=24, show_default=True, help="For calibration, a graph.")
@click.option("--rounds", default=15, show_default=True)
@click.option("--step-only", is_flag=True, help="Leave out the ST-VAE and whole answers.")
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(
    model: str, ckpt: Path, limit: int, rounds: int, step_only: bool, out: Path | None
) -> None:
    """Print error and speed of every scheme."""
    logging.disable(logging.WARNING)
    dit, vae = models(model, ckpt)
    config = replace(
        preset(model),
        inference=Inference(size=SIZE, pairs=1, steps=1, grid="uniform", guidance=1.0),
        latent_shift=vae.latent_shift,
        latent_scale=vae.latent_scale,
    )
    tasks = sorted(p for p in (BUNDLE / "tasks").iterdir() if p.is_dir())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        request = ExportRequest(
            name="schemes",
            out=folder / "schemes.lavin",
            config=config,
            source=WeightSource(kind="benchmark", sha256=""),
            licence="",
            sizes=[SIZE],
            pairs=[1],
            steps=1,
            guidance=1.0,
        )
        export_bundle(dit, vae, request)
        plans = {p.name: p for p in graph_specs(dit, vae, GraphChoice(sizes=[SIZE], pairs=[1]))}
        names = ("step",) if step_only else GRAPHS
        traced = {name: trace(plans[name]) for name in names}
        with open_bundle(request.out) as bundle:
            variant, grid = bundle.variant(), grid_for(STEPS, "uniform")
            common = {"grid": grid, "guidance": 1.0, "seed": 0}
            stored = leave_one_out({task.name: task / "pairs" for task in tasks})
            held_out = leave_one_out({t.name: BUNDLE / "validation" / t.name for t in tasks})
            recorded = record_feeds(bundle, variant, stored, limit=limit, **common)
            seen = record_feeds(bundle, variant, held_out, limit=12, **common)
            stems = {name: f"graphs/{plans[name].stem}.onnx" for name in (*GRAPHS, "modulation")}
            feeds = {name: recorded.graphs[stems[name]] for name in names}
            unseen = {name: seen.graphs[stems[name]] for name in names}
            fp32 = {name: request.out / stem for name, stem in stems.items()}
            schemes = ort_schemes(traced, feeds, folder)
            schemes |= own_schemes(traced, feeds, folder, config.dit.depth)
            rows = by_graph(schemes, fp32, unseen, rounds)
            whole_rows = [] if step_only else answers(bundle, schemes, fp32, held_out, rounds)
    report = {
        "model": model,
        "size": "x".join(map(str, SIZE)),
        "calibration": recorded.to_dict(),
        "graphs": rows,
        "answers": whole_rows,
        "rounds": rounds,
        "threads": len(os.sched_getaffinity(0)),
        "machine": platform.processor() or platform.machine(),
        "onnxruntime": ort.__version__,
    }
    if out is not None:
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
