"""``lavin-train``: the two trainers, one after the other into one checkpoint folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click

from lavin_deploy.cli.common import command
from lavin_deploy.errors import InputError


@command()
@click.argument("model", type=click.Choice(["stvae", "jdit"]))
@click.option("--recipe", "name", default="edge", show_default=True)
@click.option("--data", type=Path, help="Folder made by lavin-data prepare.")
@click.option(
    "--pairs", multiple=True, metavar="NAME=FOLDER", help="A task from your own pairs; repeatable."
)
@click.option("--out", type=Path, required=True, help="Checkpoint folder; jdit needs its stvae.")
@click.option("--resume", is_flag=True, help="Go on from the last saved state.")
@click.option("--init-from", type=Path, help="Checkpoint folder whose model to start from.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
def train(
    model: str,
    name: str,
    data: Path | None,
    pairs: tuple[str, ...],
    out: Path,
    resume: bool,
    init_from: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Train MODEL (stvae, then jdit) on prepared data; SIGTERM saves and stops.

    Under torchrun all processes train together."""
    from lavin_deploy.training.loop.settings import DiTRecipe, VAERecipe
    from lavin_deploy.training.recipes import override, recipe

    chosen = override(recipe(model, name), settings)

    from lavin_deploy.models.checkpoint import DIT_FILES, VAE_FILES, load_vae
    from lavin_deploy.training.credits import write_credits
    from lavin_deploy.training.data.inventory import Inventory
    from lavin_deploy.training.jdit import train_jdit
    from lavin_deploy.training.latents.open import open_stages, prepared
    from lavin_deploy.training.loop.processes import joined
    from lavin_deploy.training.loop.resume import look_ahead
    from lavin_deploy.training.loop.states import only_run
    from lavin_deploy.training.stvae import train_stvae
    from lavin_deploy.training.tasks.own import parse_own
    from lavin_deploy.training.tasks.registry import TASKS, available

    own = parse_own(pairs)
    with joined() as processes, only_run(out) if processes.main else nullcontext():
        look_ahead(out / f"{model}.states", chosen, resume=resume)
        if processes.main:
            items = [] if data is None else Inventory.load(data).items
            write_credits(out, [item for item in items if item.split == "train"], own)
        if isinstance(chosen, VAERecipe):
            sources = prepared(data, "stvae")
            tasks = [*available(TASKS, sources).values(), *own.values()]
            start = None if init_from is None else weights_file(init_from, VAE_FILES)
            train_stvae(sources, tasks, chosen, out, processes=processes, resume=resume, init=start)
        else:
            assert isinstance(chosen, DiTRecipe)
            vae, config = load_vae(out)
            start = None if init_from is None else weights_file(init_from, DIT_FILES)
            stages = open_stages(chosen, vae, config, out, data=data, own=own, processes=processes)
            train_jdit(
                stages, vae, chosen, config, out, processes=processes, resume=resume, init=start
            )
        if processes.main:
            log = f"{model}.log.jsonl"
            click.echo(f"{out}: trained to step {chosen.steps} or stopped before; see {log}")


def weights_file(folder: Path, names: Sequence[str]) -> Path:
    """The first of some files that a folder has.

    Raises:
        InputError: it has none.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"--init-from {folder} holds no {' or '.join(names)}.")
