"""A toy bundle with stored tasks and validation samples of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lavin_deploy.arrays import U8
from lavin_deploy.runtime.create_task import create_task
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Pair
from lavin_deploy.tasks.stored import StoredTask
from tests.helpers.bundles import edit
from tests.helpers.toy_bundle import write_toy

GREEN, BLACK = (64, 220, 96), (0, 0, 0)
SIGMA = 20.0


def mask_pair(seed: int) -> Pair:
    """A bright square on dark noise, and its mask in green on black: (32, 32, 3) each."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 90, (32, 32, 3), dtype=np.uint8)
    top, left = rng.integers(4, 16, 2)
    share = np.zeros((32, 32))
    share[top : top + 12, left : left + 12] = 1
    picture[share == 1] += 150
    return picture, paint(share, GREEN, BLACK)


def noise_pair(seed: int) -> Pair:
    """A grey picture with noise of ``SIGMA`` grey levels, and without: (32, 32, 3) each."""
    rng = np.random.default_rng(seed)
    clean = np.full((32, 32, 3), 100 + seed, np.uint8)
    noise = SIGMA * rng.standard_normal(clean.shape)
    return np.round(np.clip(clean + noise, 0, 255)).astype(np.uint8), clean


def toy_with_samples(path: Path, **options: Any) -> Path:
    """Write a toy bundle with two tasks, three pairs and three samples of each."""
    write_toy(path, **options)
    colours = {"foreground": list(GREEN), "background": list(BLACK)}
    for name, make, rendering in (
        ("segmentation", mask_pair, {"kind": "mask", **colours}),
        ("denoising", noise_pair, {"kind": "picture"}),
    ):
        folder = path.with_name(f"{name}-pairs")
        folder.mkdir()
        for seed in range(3):
            for role, picture in zip(("input", "target"), make(seed), strict=True):
                (folder / f"{seed}_{role}.png").write_bytes(png(picture))
        create_task(path, StoredTask(name=name, pairs=(), rendering=rendering), folder)
        add_samples(path, name, [make(seed) for seed in (10, 11, 12)])
    return path


def add_samples(bundle: Path, task: str, samples: Sequence[Pair]) -> None:
    """Give a bundle validation samples."""
    folder = bundle / "validation" / task
    folder.mkdir(parents=True)
    entries = {}
    for number, pair in enumerate(samples):
        for role, picture in zip(("input", "target"), pair, strict=True):
            content = png(picture)
            (folder / f"{number}_{role}.png").write_bytes(content)
            entries[f"validation/{task}/{number}_{role}.png"] = {
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }

    def declare(data: dict[str, Any]) -> None:
        data["files"].update(entries)
        place = {"folder": f"validation/{task}", "samples": len(samples)}
        data["validation"][task] = place

    edit(bundle, declare)


def png(picture: U8) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()
