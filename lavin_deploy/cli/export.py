"""``lavin-export``: from a checkpoint to a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from lavin_deploy.cli.common import command, parse_size
from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.names import DIALECTS, PRECISIONS

if TYPE_CHECKING:
    from lavin_deploy.names import Dialect


@command()
@click.option("--ckpt", required=True, type=Path, help="Checkpoint folder or weight file.")
@click.option("--vae", type=Path, help="ST-VAE weights, when they are not beside the checkpoint.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=("fp32",),
    show_default=True,
    help=f"{', '.join(PRECISIONS)}; repeatable, first = default.",
)
@click.option("--out", type=Path, help="Folder to write; default NAME.lavin in this folder.")
@click.option("--size", "sizes", multiple=True, metavar="HxW", help="Repeatable; first = default.")
@click.option("--pairs", multiple=True, type=int, help="Example pairs; repeatable.")
@click.option("--steps", type=int, help="Default number of model evaluations.")
@click.option("--guidance", type=float, help="Default guidance weight; 1 = none.")
@click.option("--tasks", type=Path, help="Folder of folders, one per task, with example pairs.")
@click.option("--validation", type=Path, help="Folder of held-out samples, one folder per task.")
@click.option(
    "--dialect",
    "dialects",
    multiple=True,
    default=("native",),
    show_default=True,
    help="Repeatable.",
)
@click.option("--context", help="joint or frozen; default: what the model was trained with.")
@click.option(
    "--refresh", default=4, show_default=True, metavar="R", help="Frozen: evaluations per refresh."
)
@click.option("--euler", is_flag=True, help="Also a step with the Euler update inside.")
@click.option(
    "--without", multiple=True, metavar="REWRITE", help="Leave an exact graph rewrite out."
)
@click.option("--with", "added", multiple=True, metavar="REWRITE", help="fused-gate-up, for one.")
@click.option(
    "--clip", "clips", multiple=True, type=int, metavar="FRAMES", help="Whole clips; repeatable."
)
@click.option("--stream", type=int, metavar="LATENTS", help="Video in chunks of 4 LATENTS frames.")
@click.option("--calibration", type=Path, help="Folder of pairs per task, for int8 and fp8.")
@click.option("--gate", type=Path, help="JSON with limits in place of the package's.")
@click.option("--auto", is_flag=True, help="Search the fewest modules kept in fp32 that pass.")
@click.option("--force", is_flag=True, help="Ship what the gate refuses, unless it overflows.")
@click.option("--licence", default="see the source of the weights", help="Licence of the weights.")
@click.option("--model-card", type=Path, help="Text put into the bundle as README.md.")
def export(
    ckpt: Path,
    vae: Path | None,
    precisions: tuple[str, ...],
    out: Path | None,
    sizes: tuple[str, ...],
    pairs: tuple[int, ...],
    steps: int | None,
    guidance: float | None,
    tasks: Path | None,
    validation: Path | None,
    dialects: tuple[str, ...],
    context: str | None,
    refresh: int,
    euler: bool,
    without: tuple[str, ...],
    added: tuple[str, ...],
    clips: tuple[int, ...],
    stream: int | None,
    calibration: Path | None,
    gate: Path | None,
    auto: bool,
    force: bool,
    licence: str,
    model_card: Path | None,
) -> None:
    """Trace a checkpoint to ONNX, prove every graph equal to the model, and write a bundle."""
    from lavin_deploy.config import CONTEXTS

    for precision in precisions:
        if precision not in PRECISIONS:
            raise unknown_name("--precision", precision, PRECISIONS)
    for dialect in dialects:
        if dialect not in DIALECTS:
            raise unknown_name("--dialect", dialect, DIALECTS)
    if context is not None and context not in CONTEXTS:
        raise unknown_name("--context", context, CONTEXTS)
    parsed = [parse_size(size) for size in sizes]
    if model_card is not None and not model_card.is_file():
        raise InputError(f"--model-card {model_card} does not exist.")
    if validation is not None and not validation.is_dir():
        raise InputError(f"--validation {validation} is not a folder.")

    from lavin_deploy.bundle.manifest import WeightSource
    from lavin_deploy.export.exporter import export_bundle
    from lavin_deploy.export.given_folders import find_tasks
    from lavin_deploy.export.graphs.savings import GraphRewrites
    from lavin_deploy.export.request import ExportRequest
    from lavin_deploy.models.checkpoint import find_files, load_released, read_config

    files = find_files(ckpt, vae)
    config = read_config(files)
    stem = ckpt.resolve().name if ckpt.is_dir() else ckpt.resolve().parent.name
    target = out or Path(f"{stem}.lavin")
    data = files.dit.parent / "DATA.md"
    request = ExportRequest(
        name=target.name.removesuffix(".lavin"),
        out=target,
        config=config,
        source=WeightSource(kind="checkpoint", sha256=""),
        licence=licence,
        sizes=parsed or [config.inference.size],
        pairs=pairs or [config.inference.pairs],
        steps=config.inference.steps if steps is None else steps,
        guidance=config.inference.guidance if guidance is None else guidance,
        context=context or config.dit.context,
        refresh=refresh,
        euler=euler,
        rewrites=GraphRewrites.chosen(off=without, on=added),
        precisions=precisions,
        dialects=cast("tuple[Dialect, ...]", dialects),
        calibration=calibration,
        gate=gate,
        auto=auto,
        force=force,
        clips=clips,
        stream=stream,
        model_card=None if model_card is None else _text(model_card),
        credits=_text(data) if data.is_file() else None,
        tasks=() if tasks is None else find_tasks(tasks),
        validation=validation,
    )
    dit, stvae = load_released(files.dit, files.vae, config)
    source = replace(request.source, sha256=files.sha256())  # once it is known to be readable
    manifest = export_bundle(dit, stvae, replace(request, source=source))
    worst = max(row["max"] for row in manifest.report["parity"])
    size = sum(entry.size for entry in manifest.files.values()) / 1e6
    variants = ", ".join(
        f"{v.precision} {v.dialect} ({len(v.graphs)} graphs)" for v in manifest.variants
    )
    click.echo(
        f"{target}: {variants}, {size:.1f} MB, largest deviation of fp32 from torch {worst:.1e}"
    )
    for variant in manifest.variants:
        if variant.stream is not None:
            norms = "per frame" if config.vae.temporal_norm == "frame" else "over time"
            click.echo(f"streams ({variant.precision}, norms {norms}): {variant.stream}")


def _text(file: Path) -> str:
    """Read a text that goes into the bundle.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 ({error.reason}); save it as UTF-8.") from error
