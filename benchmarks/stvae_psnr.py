"""Held-out PSNR of an ST-VAE: what its latents keep of photos and of flat label images.

    python benchmarks/stvae_psnr.py CHECKPOINT --data DATA --size 128 [--samples 100] [--json FILE]

Photos are crops of the test split without colour changes. A label image paints every object of a
test collage in a random RGB colour on black, without antialiasing. Pixels are encoded, the
posterior's mode is decoded, and both sides are compared as uint8.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation.metrics import psnr
from lavin_deploy.models.checkpoint import load_vae
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.training.stvae import draw_labels, to_clip, to_images
from lavin_deploy.training.synthesis.collage import Collage

Draw = Callable[[Collage, np.random.Generator, int], U8]


def photo(data: Collage, rng: np.random.Generator, size: int) -> U8:
    """Draw a crop of a photo, (size, size, 3) uint8."""
    return data.photo(rng, size, jitter=False)


KINDS: dict[str, Draw] = {"photos": photo, "flat label images": draw_labels}


def measure(vae: STVAE, data: Collage, draw: Draw, size: int, samples: int) -> dict[str, float]:
    """Mean and standard error of the PSNR in dB over pictures drawn from seeds 0, 1, ..."""
    values = []
    for seed in range(samples):
        picture = draw(data, np.random.default_rng(seed), size)
        with torch.no_grad():
            again = vae.decode(vae.encode(to_clip([picture])).mean)
        values.append(psnr(to_images(again)[0], picture))
    error = float(np.std(values, ddof=1)) / math.sqrt(samples)
    return {"mean_db": float(np.mean(values)), "standard_error_db": error}


@click.command()
@click.argument("checkpoint", type=Path)
@click.option("--data", type=Path, required=True, help="Folder made by lavin-data prepare.")
@click.option("--size", default=128, show_default=True, help="Side in pixels, a multiple of 8.")
@click.option("--samples", type=click.IntRange(2), default=100, show_default=True)
@click.option("--json", "out", type=Path, help="Write the figures there.")
def main(checkpoint: Path, data: Path, size: int, samples: int, out: Path | None) -> None:
    """Print one line a kind of picture."""
    vae, _ = load_vae(checkpoint)
    vae.eval()
    pictures = Collage.load(data, "test")
    rows = {kind: measure(vae, pictures, draw, size, samples) for kind, draw in KINDS.items()}
    for kind, row in rows.items():
        click.echo(f"{kind:18} {row['mean_db']:.2f} +- {row['standard_error_db']:.2f} dB")
    if out is not None:
        report = {"checkpoint": checkpoint.name, "size": size, "samples": samples, "psnr": rows}
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
