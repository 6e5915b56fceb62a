"""One process and two, copied or sharded: the same losses, and states that any number can load."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from lavin_deploy.cli.train import train
from lavin_deploy.errors import InputError
from lavin_deploy.training.loop import states
from lavin_deploy.training.loop.processes import Processes

pytestmark = pytest.mark.data
STEPS = 8


@pytest.fixture(scope="module")
def single(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by one process: ST-VAE, then J-DiT."""
    out = tmp_path_factory.mktemp("runs") / "single"
    words = ["stvae", "--recipe=tiny", f"--data={data}", f"--out={out}", "--set=steps=1"]
    assert CliRunner().invoke(train, words).exit_code == 0
    result = CliRunner().invoke(train, words_of(data, out))
    assert result.exit_code == 0, result.stderr
    return out


def words_of(data: Path, out: Path, *more: str) -> list[str]:
    shared = ["jdit", "--recipe=tiny", f"--data={data}", f"--out={out}", f"--set=steps={STEPS}"]
    return [*shared, *more]


def together(words: list[str]) -> None:
    """Run ``lavin-train`` under torchrun with two processes on the CPU."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = str(Path(sys.executable).with_name("lavin-train"))
    command = [*launcher, "--nproc-per-node=2", "--no-python", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def fresh(single: Path, out: Path) -> Path:
    """A folder with the ST-VAE and the latents of ``single``, and no J-DiT."""
    shutil.copytree(
        single, out, ignore=shutil.ignore_patterns("jdit*", "lavin_dit*", "tensorboard")
    )
    return out


def mean_loss(out: Path) -> float:
    """Mean over all steps: lines of the log are weighted by the steps that they stand for."""
    rows = [json.loads(line) for line in (out / "jdit.log.jsonl").read_text().splitlines()]
    before, total = 0, 0.0
    for row in rows:
        total, before = total + row["loss"] * (row["step"] - before), row["step"]
    return total / before


@pytest.mark.parametrize("settings", ["sharded=0", "sharded=1"])
def test_two_processes_do_what_one_does(
    settings: str, data: Path, single: Path, tmp_path: Path
) -> None:
    out = fresh(single, tmp_path / "two")
    together(words_of(data, out, f"--set={settings}"))
    assert mean_loss(out) == pytest.approx(mean_loss(single), abs=1e-5)
    weights = load_file(out / "lavin_dit.safetensors")
    for name, expected in load_file(single / "lavin_dit.safetensors").items():
        torch.testing.assert_close(weights[name], expected, rtol=1e-3, atol=1e-5)


def test_a_state_is_loaded_by_another_number_of_processes(
    data: Path, single: Path, tmp_path: Path
) -> None:
    out = fresh(single, tmp_path / "run")
    together(words_of(data, out, "--set=sharded=1", "--set=save_minutes=0"))
    for path in states.present(out / "jdit.states")[:1]:
        shutil.rmtree(path)  # goes on from the step before the last
    result = CliRunner().invoke(train, words_of(data, out, "--resume"))
    assert result.exit_code == 0, result.stderr
    weights = load_file(out / "lavin_dit.safetensors")
    for name, expected in load_file(single / "lavin_dit.safetensors").items():
        torch.testing.assert_close(weights[name], expected, rtol=1e-3, atol=1e-5)


def test_samples_are_shared_out_once() -> None:
    parts = [Processes(rank=rank, size=3).share(24, 2) for rank in range(3)]
    assert sorted(i for ranges in parts for part in ranges for i in part) == list(range(24))
    with pytest.raises(InputError, match="multiple of 6"):
        Processes(size=3).share(20, 2)
