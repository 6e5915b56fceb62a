from __future__ import annotations

import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from lavin_deploy.cli.common import command, group
from lavin_deploy.cli.main import lavin
from lavin_deploy.cli.run import run
from lavin_deploy.errors import InputError, WorkError

pytestmark = pytest.mark.cli

HEAVY = ("numpy", "PIL", "av", "tqdm", "onnxruntime", "onnx", "torch", "cv2")


@command()
@click.argument("what")
def fails(what: str) -> None:
    errors: dict[str, BaseException] = {
        "input": InputError("the input was wrong."),
        "work": WorkError("the work failed."),
        "bug": IndexError("17"),
        "stop": KeyboardInterrupt(),
    }
    if what in errors:
        raise errors[what]
    click.echo(what)


@group()
def tools() -> None:
    """Tools."""


tools.add_command(fails)


@pytest.mark.parametrize(
    ("what", "code", "text"),
    [
        ("fine", 0, ""),
        ("input", 2, "error: the input was wrong.\n"),
        ("work", 1, "error: the work failed.\n"),
        ("stop", 130, "interrupted\n"),
    ],
)
def test_exit_codes(what: str, code: int, text: str) -> None:
    for root, words in ((fails, [what]), (tools, ["fails", what])):
        result = CliRunner().invoke(root, words)
        assert (result.exit_code, result.stderr.lstrip("\n")) == (
            code,
            text,
        )  # click ends ^C's line
        assert result.stdout == ("fine\n" if what == "fine" else "")


def test_a_fault_of_the_program_is_a_sentence_too() -> None:
    result = CliRunner().invoke(fails, ["bug"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: IndexError: 17 (")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("what", ["input", "bug"])
def test_debug_shows_where(what: str) -> None:
    result = CliRunner().invoke(fails, [what, "--debug"])
    assert result.exit_code == (2 if what == "input" else 1)
    assert "Traceback" in result.stderr
    assert "test_common.py" in result.stderr


@pytest.mark.parametrize("words", [[], ["a", "b"], ["--nope"]])
def test_wrong_usage_is_one_sentence(words: list[str]) -> None:
    result = CliRunner().invoke(fails, words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.endswith("See fails --help.\n")
    assert result.stderr.count("\n") == 1


def test_the_group_lists_commands_and_refuses_others() -> None:
    result = CliRunner().invoke(lavin, ["--help"])
    assert result.exit_code == 0
    for name in ("run", "export", "inspect", "task", "train", "data", "eval"):
        assert f"\n  {name} " in result.stdout
    assert CliRunner().invoke(lavin, ["run", "--help"]).stdout.count("Usage: lavin run") == 1
    assert CliRunner().invoke(lavin, ["rum"]).exit_code == 2
    assert CliRunner().invoke(lavin, []).exit_code == 2


def test_run_help_names_every_option() -> None:
    result = CliRunner().invoke(run, ["--help"])
    assert result.exit_code == 0
    for option in (
        *("--task", "--output", "--bundle", "--backend", "--precision", "--steps", "--guidance"),
        *("--pairs", "--seed", "--view", "--data", "--json", "--debug"),
    ):
        assert option in result.stdout


@pytest.mark.parametrize("name", ["run:run", "main:lavin"])
def test_help_is_quick_and_imports_nothing_heavy(name: str) -> None:
    module, attribute = name.split(":")
    code = (
        f"import sys; from lavin_deploy.cli.{module} import {attribute} as c\n"
        "try: c(['--help'])\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    best = 9.0
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        best = min(best, time.perf_counter() - start)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage:")
    assert done.stderr == "[]\n"
    assert best < 0.3
