"""``lavin-build`` as a command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.cli.build import build

pytestmark = pytest.mark.cli


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, where no test has imported anything."""
    return subprocess.run(
        [sys.executable, "-c", "from lavin_deploy.cli.build import build; build()", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_both_targets() -> None:
    result = CliRunner().invoke(build, ["--help"])
    assert result.exit_code == 0
    assert "tensorrt-rtx" in result.output
    assert "--compute-capability" in result.output


def test_one_object_says_what_was_built(exported: Bundle) -> None:
    pytest.importorskip("tensorrt_rtx")
    words = [str(exported.path), "--target=tensorrt-rtx", "--compute-capability=8.6", "--json"]
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    said = json.loads(done.stdout)
    assert len(said["engines"]) == len(exported.variant().graphs)
    for engine in said["engines"]:
        folder = Path(engine["engine"])
        assert (folder / "engine.plan").stat().st_size == engine["bytes"]
        assert "Finished engine building" in (folder / "build.log").read_text()
    again = command(*words[:-1])
    assert all(line.endswith("was there") for line in again.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target=tensorrt-rtx", "--compute-capability=ada"], "'ada' is no compute capability"),
        (["--target=tensorrt-rtx", "--compute-capability=9.0"], "not build for compute capability"),
        (["--target=tensorrt-rtx", "--compute-capability=current"], "no NVIDIA driver"),
        (["--target=tensorrt"], "needs the module tensorrt"),
        (["--target=tensorrt-rtx", "--precision=fp8"], "has no fp8 native variant"),
    ],
)
def test_errors_are_sentences(exported: Bundle, words: list[str], said: str) -> None:
    done = command(str(exported.path), *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
