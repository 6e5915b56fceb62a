"""How well a checkpoint does on held-out clips, in torch: its ST-VAE, and video tasks.

    python benchmarks/clips.py CHECKPOINT --data DATA [--size 64] [--samples 24] [--json FILE]

Reconstruction: PSNR of clips of 5 and 9 frames, posterior mode. Every task: PSNR of the answer's
frames, of the answer to pairs of another task, of the truth after the ST-VAE, and of the last
frame of the query held (copy). `frame_prediction` counts the pixels that move, frame by frame;
`optical_flow` has the end-point error too.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lavin_deploy.arrays import F64
from lavin_deploy.evaluation.measures import MOVED
from lavin_deploy.models.checkpoint import DIT_FILE, load_checkpoint, load_vae
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.tasks.flow_colours import end_point_error, read_flow
from lavin_deploy.training.latents.encoder import clip_encoder
from lavin_deploy.training.latents.make import encode_group
from lavin_deploy.training.loop.processes import CPU
from lavin_deploy.training.losses.consistency import answer
from lavin_deploy.training.stvae import to_clip
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Task
from lavin_deploy.training.tasks.clips import CLIP_TASKS, clip
from lavin_deploy.training.tasks.registry import as_group

TEST = 1_000_000
"""Added to seeds, so that no sample is one of training's."""


def decibel(answer: NDArray[np.float32], truth: NDArray[np.uint8], where: F64 | None = None) -> F64:
    """PSNR of each frame (T,); NaN where no pixel counts."""
    squares = ((answer.astype(np.float64) - truth) ** 2).mean(axis=-1)
    counts = np.ones_like(squares) if where is None else where
    total = counts.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(10 * np.log10(255**2 * total / (squares * counts).sum(axis=(1, 2))))


def pixels(decoded: Tensor) -> NDArray[np.float32]:
    """(1, 3, T, H, W) in [-1, 1] -> (T, H, W, 3) float32 in [0, 255]."""
    images: NDArray[np.float32] = (
        (decoded[0].clamp(-1, 1) + 1).mul(127.5).permute(1, 2, 3, 0).numpy()
    )
    return images


def flow_error(answer: NDArray[np.float32], truth: NDArray[np.uint8]) -> F64:
    """End-point error of each frame (T,), in hundredths of the clip's largest speed."""
    painted = answer.round().astype(np.uint8)
    pairs = zip(painted, truth, strict=True)
    return np.array([end_point_error(read_flow(a, 100.0), read_flow(b, 100.0)) for a, b in pairs])


def mean(rows: list[F64]) -> list[float]:
    """Mean of each column over the rows that have it."""
    return [round(float(value), 2) for value in np.nanmean(np.stack(rows), axis=0)]


def reconstruction(vae: STVAE, data: Collage, frames: int, size: int, samples: int) -> list[float]:
    """PSNR of each frame of held-out clips."""
    rows = []
    for index in range(samples):
        truth = clip(np.random.default_rng((TEST, index)), data, frames, size)
        rows.append(decibel(pixels(vae.decode(vae.encode(to_clip([truth])).mean)), truth))
    return mean(rows)


def measure(
    dit: JDiT, vae: STVAE, task: Task, other: Task, *, size: int, samples: int, steps: int
) -> dict[str, list[float]]:
    """PSNR of each frame by row."""
    rows: dict[str, list[F64]] = {}
    for index in range(samples):
        drawn = []
        for maker in (task, other):
            rng = np.random.default_rng((TEST, index))
            style = maker.draw_style(rng)
            pair = [maker.sample(rng, style, size) for _ in range(2)]
            latents = encode_group(clip_encoder(vae, CPU, bf16=False), maker, as_group(pair, style))
            drawn.append((pair, vae.scale(torch.from_numpy(latents))))
        (own_samples, own), (_, wrong) = drawn
        asked = own_samples[1]
        half = own.shape[1] // 2
        query, truth = own[1, :half], own[1, half:]
        noise = torch.from_numpy(rng.standard_normal((1, 16, *truth.shape[:1], *truth.shape[2:])))
        answers = {"truth after the ST-VAE": truth.transpose(0, 1)[None]}
        for name, pairs in (("model", own), ("wrong prompt", wrong)):
            context = torch.cat((pairs[0], query)).transpose(0, 1)[None]
            answers[name] = answer(dit, noise.float(), (context,), steps, bf16=False)
        where = None
        if task.follows:
            change = np.abs(asked.target.astype(np.int16) - asked.input[-1]).max(axis=-1)
            where = (change > MOVED).astype(np.float64)
        for name, z in answers.items():
            whole = torch.cat((query.transpose(0, 1)[None], z), dim=2) if task.follows else z
            frames = pixels(vae.decode(vae.unscale(whole)))[-len(asked.target) :]
            if task.name == "optical_flow":
                rows.setdefault(f"{name}, EPE", []).append(flow_error(frames, asked.target))
            rows.setdefault(name, []).append(decibel(frames, asked.target, where))
        held = np.broadcast_to(asked.input[-1], asked.target.shape)
        copy = held if task.follows else asked.input
        rows.setdefault("copy", []).append(decibel(copy.astype(np.float32), asked.target, where))
    return {name: mean(each) for name, each in rows.items()}


@click.command()
@click.argument("checkpoint", type=Path)
@click.option("--data", type=Path, required=True, help="Folder made by lavin-data prepare.")
@click.option("--size", default=64, show_default=True)
@click.option("--samples", default=24, show_default=True)
@click.option("--steps", default=1, show_default=True, help="Model evaluations.")
@click.option("--task", "names", multiple=True, help="Of the video tasks; none: all.")
@click.option("--json", "out", type=Path, help="Write the figures there.")
@torch.no_grad()
def main(
    checkpoint: Path,
    data: Path,
    size: int,
    samples: int,
    steps: int,
    names: tuple[str, ...],
    out: Path | None,
) -> None:
    """Print PSNR in dB, frame by frame."""
    vae, _ = load_vae(checkpoint)
    vae = vae.eval()
    pictures = Collage.load(data, "test")
    report: dict[str, object] = {"size": size, "samples": samples, "steps": steps}
    for frames in (5, 9):
        row = reconstruction(vae, pictures, frames, size, samples)
        report[f"reconstruction of {frames}"] = row
        click.echo(f"reconstruction of {frames} frames: {row}")
    if (checkpoint / DIT_FILE).is_file():
        dit, _ = load_checkpoint(checkpoint)
        tasks = {name: make(pictures) for name, make in CLIP_TASKS.items()}
        for name in names or tasks:
            other = "video_depth" if name != "video_depth" else "video_segmentation"
            rows = measure(
                dit, vae, tasks[name], tasks[other], size=size, samples=samples, steps=steps
            )
            report[name] = rows
            for row_name, row in rows.items():
                click.echo(f"{name:20} {row_name:24} {row}")
    if out is not None:
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
