"""Every engine of every variant of a bundle: is it as right as torch in the same precision?

    python benchmarks/gpu_engines.py BUNDLE [--json FILE]

The bundle needs fp32 beside the others (``lavin-export --precision fp32 --precision fp16 ...``).
Engines are built for the GPU that is here and run on random inputs. Errors are relative L2 against
the fp32 graph in ONNX Runtime on the CPU; at most twice the error of the same graph in torch, node
by node in its own types, passes. ``--backend onnxruntime`` builds nothing and runs on the CPU,
which tests this script.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from lavin_deploy.arrays import Array
from lavin_deploy.bundle.manifest import Graph, Variant
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.engines.build import BuildRequest, build_bundle
from lavin_deploy.engines.identity import graph_label
from lavin_deploy.errors import LavinError
from lavin_deploy.export.checks.backends import TorchBackend
from lavin_deploy.export.checks.gate import TensorDistance
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.backends.choose import make_backend

R = TypeVar("R", bound=Any)

FLOOR = {"fp32": 1e-4}
"""Errors that always pass; other precisions: 1e-3."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One output of one graph; errors are relative L2 against fp32 in ONNX Runtime."""

    precision: str
    dialect: str
    graph: str
    output: str
    error: float
    torch_error: float
    passed: bool


def build(bundle: Bundle, precision: str, dialect: str = "native") -> list[dict[str, Any]]:
    """Build the engines of a variant that are missing, for the GPU that is here.

    By TensorRT-RTX, or by the target that the variable ``TARGET`` names.
    """
    target = os.environ.get("TARGET", "tensorrt-rtx")
    request = BuildRequest(
        target=target, capabilities=("current",), precision=precision, dialect=dialect
    )
    built = build_bundle(bundle, request)
    return [{**asdict(each), "folder": each.folder.name} for each in built]


def of_every_variant(
    bundle: Bundle, backend: str, check: Callable[[Variant], Iterable[R]], out: Path | None
) -> tuple[list[R], list[str]]:
    """Build and check the variants one by one; what fails is noted, and the next one goes on.

    Args:
        bundle: open.
        backend: engines are built for ``tensorrt``.
        check: gives rows, dataclasses, of a variant.
        out: written after each variant, for the next may end the process.

    Returns:
        The rows, and a sentence for each variant that failed.
    """
    builds: list[dict[str, Any]] = []
    rows: list[R] = []
    failures: list[str] = []
    for variant in bundle.manifest.variants:
        try:
            if backend == "tensorrt":
                builds += build(bundle, variant.precision, variant.dialect)
            rows += check(variant)
        except LavinError as error:
            failures.append(f"{variant.precision} {variant.dialect}: {error}")
        if out is not None:
            report = {"backend": backend, "builds": builds, "failures": failures}
            report |= {"rows": [asdict(row) for row in rows]}
            out.write_text(json.dumps(report, indent=1) + "\n")
    return rows, failures


def inputs(graph: Graph, reference: Backend) -> dict[str, Array]:
    """Standard normal numbers, but a real modulation row; the same for every precision."""
    rng = np.random.default_rng(zlib.crc32(graph_label(graph).encode()))
    feed = {}
    for spec in graph.inputs:
        if spec.name == "modulation":
            times = reference.variant.graph("modulation")
            feed[spec.name] = reference.infer_one(times, t=np.array([0.4], np.float32))
        elif spec.name == "t":
            feed[spec.name] = np.array([0.4], np.float32)
        else:
            feed[spec.name] = rng.standard_normal(spec.shape, np.float32)
    return feed


def run(backend: Backend, graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
    """The graph of that label in a back end, types as it takes them."""
    label = graph_label(graph)
    mine = next(each for each in backend.variant.graphs if graph_label(each) == label)
    inputs = {spec.name: feed[spec.name].astype(spec.dtype) for spec in mine.inputs}
    return {name: x.astype(np.float64) for name, x in backend.infer(mine, inputs).items()}


def compare(bundle: Bundle, variant: Variant, name: str, reference: Backend) -> Iterator[Row]:
    """All graphs of a variant in a back end."""
    plain = bundle.variant(variant.precision, "native")
    with (
        make_backend(name, bundle, variant.precision, variant.dialect) as backend,
        TorchBackend(bundle, plain) as torch,
    ):
        for graph in reference.variant.graphs:
            feed = inputs(graph, reference)
            exact, mine, its = (run(each, graph, feed) for each in (reference, backend, torch))
            for output, values in exact.items():
                error, allowed = (
                    TensorDistance.between([each[output]], [values]).rel_l2 for each in (mine, its)
                )
                floor = FLOOR.get(variant.precision, 1e-3)
                yield Row(
                    precision=variant.precision,
                    dialect=variant.dialect,
                    graph=graph_label(graph),
                    output=output,
                    error=error,
                    torch_error=allowed,
                    passed=error <= max(2 * allowed, floor),
                )


@click.command()
@click.argument("path", metavar="BUNDLE", type=Path)
@click.option("--backend", default="tensorrt", show_default=True)
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(path: Path, backend: str, out: Path | None) -> None:
    """Build and compare; exit code 1 where an engine is wrong."""
    with open_bundle(path) as bundle, make_backend("onnxruntime", bundle, "fp32") as reference:
        rows, failures = of_every_variant(
            bundle, backend, lambda variant: compare(bundle, variant, backend, reference), out
        )
    for row in rows:
        click.echo(
            f"{row.precision} {row.dialect} {row.graph} {row.output}: {row.error:.1e}, torch "
            f"{row.torch_error:.1e}, {'right' if row.passed else 'WRONG'}"
        )
    wrong = sum(not row.passed for row in rows)
    for failure in failures:
        click.echo(f"FAILED {failure}")
    click.echo(f"{len(rows) - wrong} of {len(rows)} outputs are right")
    raise SystemExit(1 if wrong or failures else 0)


if __name__ == "__main__":
    main()
