"""``lavin``: all commands in one. Each is imported only when it runs."""

from __future__ import annotations

import importlib

import click

from lavin_deploy import __version__
from lavin_deploy.cli.common import Group

# name: (attribute of lavin_deploy.cli.<module>, what it does)
_COMMANDS = {
    "run": ("run:run", "Run a task on an image, a video or a folder of them."),
    "export": ("export:export", "Export a checkpoint to a bundle that runs without torch."),
    "inspect": ("inspect:inspect", "Say what is in a bundle."),
    "task": ("task:task", "Create, list and show the tasks of a bundle."),
    "train": ("train:train", "Train the autoencoder or the diffusion transformer."),
    "data": ("data:data", "Prepare training data."),
    "eval": ("eval:evaluate", "Measure a bundle's tasks beside controls and baselines."),
    "build": ("build:build", "Build TensorRT engines of a bundle."),
    "plan": ("plan:plan", "Plan a bundle for a device, on paper."),
}


class _LazyGroup(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name][0].split(":")
        name = f"lavin_deploy.cli.{module}"
        try:
            command = getattr(importlib.import_module(name), attribute)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise click.UsageError(f"this installation has no command {cmd_name!r}") from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.command(cls=_LazyGroup)
@click.version_option(__version__, prog_name="lavin")
def lavin() -> None:
    """LaVin-DiT from training to the device: one model for many vision tasks."""
