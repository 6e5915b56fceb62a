"""``lavin-train``: the two trainers, one after the other into one checkpoint folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lavin_deploy.training.collage import Collage

from lavin_deploy.cli.common import command
from lavin_deploy.errors import InputError, unknown_name


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
    from lavin_deploy.training.recipes import DiTRecipe, VAERecipe, override, recipe

    chosen = override(recipe(model, name), settings)

    from lavin_deploy.models.checkpoint import DIT_FILE, VAE_FILES, load_vae
    from lavin_deploy.training.clip_tasks import CLIP_TASKS
    from lavin_deploy.training.credits import write_credits
    from lavin_deploy.training.episodes import TASKS, Task, available
    from lavin_deploy.training.inventory import INVENTORY, Inventory
    from lavin_deploy.training.jdit import train_jdit
    from lavin_deploy.training.latents import (
        LatentPools,
        Pool,
        make_pool,
        parse_weights,
        pool_path,
        share_groups,
    )
    from lavin_deploy.training.own import parse_own
    from lavin_deploy.training.pixels import check_deterministic
    from lavin_deploy.training.stvae import train_stvae
    from lavin_deploy.training.world import joined

    own = parse_own(pairs)
    with joined() as world:
        if world.main:
            items = [] if data is None else Inventory.load(data).items
            write_credits(out, [item for item in items if item.split == "train"], own)
        if isinstance(chosen, VAERecipe):
            sources = prepared(data, "stvae")
            tasks = [*available(TASKS, sources).values(), *own.values()]
            start = None if init_from is None else found_in(init_from, VAE_FILES)
            train_stvae(sources, tasks, chosen, out, world=world, resume=resume, init=start)
        else:
            assert isinstance(chosen, DiTRecipe)
            vae, config = load_vae(out)
            start = None if init_from is None else found_in(init_from, (DIT_FILE,))
            weights = parse_weights(chosen.tasks)
            known = {**TASKS, **CLIP_TASKS}
            for task in weights:
                if task not in known and task not in own:
                    raise unknown_name("task", task, [*known, *own])
            made: dict[str, tuple[Task, str]] = {n: (t, t.sha256) for n, t in own.items()}
            if set(weights) - set(own):
                sources = prepared(data, ", ".join(set(weights) - set(own)))
                assert data is not None
                inventory = (data / INVENTORY).read_text()
                made |= {n: (known[n](sources), inventory) for n in weights if n in known}
            if chosen.in_pixels:
                check_deterministic(made[task][0] for task in weights)
            opened = []
            for task, groups in share_groups(weights, chosen.groups).items():
                maker, source = made[task]
                path = pool_path(out, task, groups, chosen, source)
                if world.main:
                    make_pool(vae, maker, path, groups=groups, recipe=chosen, device=world.device)
                world.barrier()
                opened.append(
                    Pool.open(
                        path,
                        weights[task],
                        ordered=maker.ordered,
                        in_pixels=chosen.in_pixels,
                    )
                )
            pools = LatentPools.of(opened, config)
            train_jdit(pools, vae, chosen, config, out, world=world, resume=resume, init=start)
        if world.main:
            log = f"{model}.log.jsonl"
            click.echo(f"{out}: trained to step {chosen.steps} or stopped before; see {log}")


def found_in(folder: Path, names: Sequence[str]) -> Path:
    """The first of some files that a folder has.

    Raises:
        InputError: it has none.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"--init-from {folder} holds no {' or '.join(names)}.")


def prepared(data: Path | None, what: str) -> Collage:
    """The training split of a prepared folder.

    Raises:
        InputError: none is given, or it is not prepared.
    """
    from lavin_deploy.training.collage import Collage

    if data is None:
        raise InputError(f"{what} is trained on prepared pictures; give their folder with --data.")
    return Collage.load(data, "train")
