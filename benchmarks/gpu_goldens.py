"""Whole answers of the golden weights against what the authors' implementation gave.

    python benchmarks/gpu_goldens.py BUNDLE [--json FILE]

BUNDLE is an export of ``tests/golden``, which this script reads too. Each variant answers three
times with guidance and without: a device queues the first, captures with the second and launches
the third, which must give the same numbers. ``--backend onnxruntime`` runs on the CPU, which tests
this script.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from gpu_engines import of_every_variant
from safetensors.numpy import load_file

from lavin_deploy.bundle.manifest import Variant
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.runtime.pipeline import load

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "io.safetensors"
LIMITS = {"fp32": 1e-4, "fp16": 2e-3}
"""Largest deviation of latents, relative to their largest value; other precisions: 0.05."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant at one guidance: deviation of latents, and of later answers from the first."""

    precision: str
    dialect: str
    guidance: float
    deviation: float
    later: float
    passed: bool


def answers(path: Path, variant: Variant, backend: str) -> Iterator[Row]:
    """Both guidances in one variant."""
    golden = load_file(GOLDEN)
    images = golden["pipe.images_u8"].transpose(0, 2, 3, 1)
    pairs = [(images[0], images[1]), (images[2], images[3])]
    kinds = {"backend": backend, "precision": variant.precision, "dialect": variant.dialect}
    with load(path, **kinds) as model:
        for name, guidance in (("cfg1", 1.0), ("cfg", 1.5)):
            frames, noise = [images[4]] * 3, golden["pipe.noise"]
            results = model.stream(frames=frames, pairs=pairs, noise=noise, guidance=guidance)
            first, *others = (result.latents for result in results)
            expected = golden[f"pipe.{name}.latent"]
            largest = float(np.abs(expected).max())
            deviation = float(np.abs(first - expected).max()) / largest
            later = max(float(np.abs(other - first).max()) for other in others) / largest
            limit = LIMITS.get(variant.precision, 0.05)
            yield Row(
                precision=variant.precision,
                dialect=variant.dialect,
                guidance=guidance,
                deviation=deviation,
                later=later,
                passed=deviation <= limit and later <= 1e-6,
            )


@click.command()
@click.argument("path", metavar="BUNDLE", type=Path)
@click.option("--backend", default="tensorrt", show_default=True)
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(path: Path, backend: str, out: Path | None) -> None:
    """Answer and compare; exit code 1 where an answer is wrong."""
    with open_bundle(path) as bundle:
        rows, failures = of_every_variant(
            bundle, backend, lambda variant: answers(path, variant, backend), out
        )
    for row in rows:
        click.echo(
            f"{row.precision} {row.dialect}, guidance {row.guidance:g}: off by {row.deviation:.1e},"
            f" later answers by {row.later:.1e}, {'right' if row.passed else 'WRONG'}"
        )
    for failure in failures:
        click.echo(f"FAILED {failure}")
    raise SystemExit(0 if rows and all(row.passed for row in rows) and not failures else 1)


if __name__ == "__main__":
    main()
