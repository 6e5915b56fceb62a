from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from lavin_deploy.cli.task import task
from tests.helpers.toy_bundle import flat, write_toy

pytestmark = pytest.mark.cli


def call(*arguments: object) -> Result:
    return CliRunner().invoke(task, [str(argument) for argument in arguments])


def assert_refused(result: Result, message: str) -> None:
    assert result.exit_code == 2
    assert not result.stdout
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    write_toy(tmp_path / "toy.lavin", pairs=(1,))
    return tmp_path / "toy.lavin"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    Image.fromarray(flat(32, 32, 40, 40, 40)).save(folder / "a_input.png")
    Image.fromarray(flat(32, 32, 70, 70, 70)).save(folder / "a_target.jpg")
    return folder


def test_create_list_show(toy: Path, pairs: Path) -> None:
    result = call(
        *("create", "brighten", "--pairs", pairs, "--bundle", toy, "--steps", 1),
        *("--description", "Thirty levels up", "--view", "side-by-side"),
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{toy}: task brighten with 1 pair stored, 1 used\n"
    assert result.stderr.startswith("backend auto: onnxruntime ")

    line = "brighten  1 pair stored, 1 used  Thirty levels up\n"
    assert call("list", "--bundle", toy).stdout == line
    listed = json.loads(call("list", "--bundle", toy, "--json").stdout)
    assert listed["tasks"][0]["name"] == "brighten"

    printed = call("show", "brighten", "--bundle", toy).stdout
    assert "steps 1, guidance 1, view side-by-side" in printed
    assert "tasks/brighten/pairs/001_input.png" in printed
    data = json.loads(call("show", "brighten", "--bundle", toy, "--json").stdout)
    assert data["folder"] == "tasks/brighten"
    assert data["pairs"][0]["id"] == "a"

    assert_refused(
        call("create", "brighten", "--pairs", pairs, "--bundle", toy), "already has a task"
    )
    result = call(
        "create", "brighten", "--pairs", pairs, "--bundle", toy, "--replace", "--generative"
    )
    assert result.exit_code == 0, result.stderr
    assert "one of many" in call("show", "brighten", "--bundle", toy).stdout


def test_an_empty_list_is_empty(toy: Path) -> None:
    result = call("list", "--bundle", toy)
    assert result.exit_code == 0
    assert result.stdout == ""


def test_errors_are_one_sentence(toy: Path, pairs: Path, tmp_path: Path) -> None:
    create = ("create", "--bundle", toy)
    assert_refused(call(*create, "x", "--pairs", tmp_path / "none"), "there is no folder")
    assert_refused(call(*create, "Grüße", "--pairs", pairs), "cannot name a task")
    assert_refused(call("create", "x", "--pairs", pairs), "--bundle")
    assert_refused(
        call("create", "x", "--pairs", pairs, "--bundle", tmp_path / "none"), "there is no bundle"
    )
    assert_refused(call("show", "x", "--bundle", toy), "unknown task 'x'")
    (pairs / "b_input.png").write_text("not a picture")
    assert_refused(call(*create, "x", "--pairs", pairs), "stands alone")
    (pairs / "b_target.png").write_text("not a picture")
    assert_refused(call(*create, "x", "--pairs", pairs), "not a picture")
    assert call("list", "--bundle", toy).stdout == ""


@pytest.mark.parametrize("command", [[], ["create"], ["list"], ["show"]])
def test_help(command: list[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout
