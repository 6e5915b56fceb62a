"""``lavin-train``: the two trainers, one after the other into one checkpoint folder."""

from __future__ import annotations

from pathlib import Path

import click

from lavin_deploy.cli.common import command
from lavin_deploy.errors import InputError, unknown_name


@command()
@click.argument("model", type=click.Choice(["stvae", "jdit"]))
@click.option("--recipe", "name", default="edge", show_default=True)
@click.option("--data", type=Path, required=True, help="Folder made by lavin-data prepare.")
@click.option("--out", type=Path, required=True, help="Checkpoint folder; jdit needs its stvae.")
@click.option("--resume", is_flag=True, help="Go on from the last saved state.")
@click.option("--init-from", type=Path, help="Checkpoint folder whose J-DiT to start from.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
def train(
    model: str,
    name: str,
    data: Path,
    out: Path,
    resume: bool,
    init_from: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Train MODEL (stvae, then jdit) on prepared data; SIGTERM saves and stops."""
    from lavin_deploy.training.recipes import DiTRecipe, VAERecipe, override, recipe

    chosen = override(recipe(model, name), settings)

    from lavin_deploy.training.collage import Collage
    from lavin_deploy.training.episodes import TASKS

    sources = Collage.load(data, "train")
    if isinstance(chosen, VAERecipe):
        from lavin_deploy.training.stvae import train_stvae

        train_stvae([make(sources) for make in TASKS.values()], chosen, out, resume=resume)
    else:
        assert isinstance(chosen, DiTRecipe)
        from lavin_deploy.models.checkpoint import DIT_FILE, load_vae
        from lavin_deploy.training.jdit import train_jdit
        from lavin_deploy.training.latents import (
            LatentPools,
            make_pool,
            parse_weights,
            pool_path,
            share_groups,
        )

        weights = parse_weights(chosen.tasks)
        for task in weights:
            if task not in TASKS:
                raise unknown_name("task", task, TASKS)
        vae, config = load_vae(out)
        files = {}
        for task, groups in share_groups(weights, chosen.groups).items():
            path = pool_path(out, task, groups, chosen, data)
            made = TASKS[task](sources)
            make_pool(vae, made, path, groups=groups, recipe=chosen)
            files[path] = weights[task]
        if init_from is not None and not (init_from / DIT_FILE).is_file():
            raise InputError(f"--init-from {init_from} holds no {DIT_FILE}.")
        init = None if init_from is None else init_from / DIT_FILE
        pools = LatentPools.open(files, config)
        train_jdit(pools, chosen, config, out, resume=resume, init=init)
    click.echo(f"{out}: trained to step {chosen.steps} or stopped before; see {model}.log.jsonl")
