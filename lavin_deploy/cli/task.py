"""``lavin-task``: create, list and show the tasks of a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lavin_deploy.cli.common import group
from lavin_deploy.names import VIEWS, View

_BUNDLE = click.option(
    "--bundle", metavar="DIR", help="Bundle to read; by default the one that ships."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@group()
def task() -> None:
    """Create, list and show the tasks of a bundle."""


@task.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--pairs",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of <id>_input.* and <id>_target.* pictures.",
)
@click.option("--bundle", required=True, metavar="DIR", help="Bundle folder to add the task to.")
@click.option("--description", default="", metavar="TEXT", help="What the task does.")
@click.option(
    "--deterministic/--generative",
    default=True,
    show_default=True,
    help="Whether there is one right answer, or many.",
)
@click.option("--steps", type=click.IntRange(1), help="Recommended model evaluations.")
@click.option("--guidance", type=float, metavar="W", help="Recommended guidance weight.")
@click.option(
    "--num-pairs",
    type=click.IntRange(1, 1000),
    help="Pairs to use; by default as many as the bundle's.",
)
@click.option(
    "--view",
    type=click.Choice(VIEWS),
    help="How lavin-run shows the answer.",
)
@click.option("--replace", "replace_old", is_flag=True, help="Replace a task of that name.")
def create(
    name: str,
    pairs: Path,
    bundle: str,
    description: str,
    deterministic: bool,
    steps: int | None,
    guidance: float | None,
    num_pairs: int | None,
    view: View | None,
    replace_old: bool,
) -> None:
    """Add the task NAME to a bundle: encode example pairs once, for every size it has."""
    from lavin_deploy.bundle.reader import open_bundle
    from lavin_deploy.cli.inspect import stored_and_used
    from lavin_deploy.runtime.create_task import create_task
    from lavin_deploy.runtime.request import used_pairs
    from lavin_deploy.tasks.stored import StoredTask

    new_task = StoredTask(
        name=name,
        description=description,
        pairs=(),
        deterministic=deterministic,
        steps=steps,
        guidance=guidance,
        num_pairs=num_pairs,
        view=view,
    )
    stored = create_task(bundle, new_task, pairs, replace_old=replace_old)
    with open_bundle(bundle) as opened:
        used = used_pairs(opened.manifest, stored)
    click.echo(f"{bundle}: task {stored.name} with {stored_and_used(len(stored.pairs), used)}")


@task.command(name="list")
@_BUNDLE
@_JSON
def list_tasks(bundle: str | None, as_json: bool) -> None:
    """List the tasks of a bundle."""
    from lavin_deploy.bundle.reader import open_bundle
    from lavin_deploy.cli.inspect import stored_and_used, summarise
    from lavin_deploy.runtime.pipeline import bundle_path

    with open_bundle(bundle_path(bundle)) as opened:
        tasks = summarise(opened)["tasks"]
    if as_json:
        click.echo(json.dumps({"tasks": tasks}))
        return
    width = max((len(each["name"]) for each in tasks), default=0)
    for each in tasks:
        pairs = stored_and_used(each["pairs"], each["used_pairs"])
        line = f"{each['name']:{width}}  {pairs}  {each['description']}"
        click.echo(line.rstrip())


@task.command()
@click.argument("name", metavar="NAME")
@_BUNDLE
@_JSON
def show(name: str, bundle: str | None, as_json: bool) -> None:
    """Show the task NAME and where its pictures lie."""
    from lavin_deploy.bundle.reader import open_bundle
    from lavin_deploy.cli.inspect import stored_and_used
    from lavin_deploy.runtime.pipeline import bundle_path
    from lavin_deploy.runtime.request import choose_sampling, used_pairs
    from lavin_deploy.tasks.stored import read_task, task_file

    with open_bundle(bundle_path(bundle)) as opened:
        stored = read_task(opened, name)
        folder = task_file(opened, name).rpartition("/")[0]
        sampling = choose_sampling(opened.manifest, stored)
        used = used_pairs(opened.manifest, stored)
    if as_json:
        click.echo(json.dumps({**json.loads(stored.to_text()), "folder": folder}))
        return
    click.echo(f"{stored.name}: {stored.description or 'no description'}")
    how = f"steps {sampling.steps}, guidance {sampling.guidance:g}"
    click.echo(f"  {how}, view {stored.view or 'overlay'}")
    click.echo(f"  pairs  {stored_and_used(len(stored.pairs), used)}")
    click.echo(f"  answer  {'one is right' if stored.deterministic else 'one of many'}")
    for key, value in stored.rendering.items():
        click.echo(f"  {key}  {value}")
    for pair in stored.pairs:
        click.echo(f"  pair {pair.id}  {folder}/{pair.input}  {folder}/{pair.target}")
