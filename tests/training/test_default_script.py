"""scripts/train_default.sh: it goes on where it was, and milestones leave the run alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lavin_deploy.training.loop import states
from tests.helpers.answers import generated_data

ROOT = Path(__file__).parents[2]
SMALL = (
    *("tasks=region:2,filter:1", "groups=4", "held_out=1", "validate_every=4", "size=64"),
    *("first_reading=-9", "batch=4", "queries=2", "max_pairs=2", "warmup=1", "bf16=0"),
    *("compiled=0", "save_minutes=0"),
)


def words(out: Path, *more: str) -> list[str]:
    script = ["sh", str(ROOT / "scripts" / "train_default.sh"), str(out)]
    milestone = [word for word in more if word == "milestone"]
    settings = [*SMALL, *(word for word in more if word != "milestone")]
    return [*script, *milestone, *(word for each in settings for word in ("--set", each))]


def steps_of(folder: Path) -> list[int]:
    return [int(path.name[-8:]) for path in states.present(folder / "jdit.states")]


@pytest.mark.data
@pytest.mark.timeout(600)
def test_the_long_run_survives_a_kill_and_branches_milestones_off(tmp_path: Path) -> None:
    generated_data(tmp_path / "data")
    (tmp_path / "prepared").touch()  # no packages
    place = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": place, "SAMPLES": "2", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        words(tmp_path, "steps=100000"), env=environment, start_new_session=True
    ) as started:
        while not steps_of(tmp_path / "run") or steps_of(tmp_path / "run")[0] < 6:
            assert started.poll() is None
            time.sleep(0.2)
        os.killpg(started.pid, signal.SIGKILL)
    settings = (tmp_path / "run" / "settings").read_text()
    assert "first_tasks=" in settings  # the repository's milestone reads already
    pools = sorted((tmp_path / "run" / "latents").iterdir())
    killed = steps_of(tmp_path / "run")[0]
    last = killed + 20
    subprocess.run(words(tmp_path, f"steps={last}"), env=environment, check=True)
    before = load_file(tmp_path / "run" / "lavin_dit.safetensors")
    subprocess.run(words(tmp_path, "milestone"), env=environment, check=True)
    (milestone,) = (tmp_path / "milestones").iterdir()
    assert milestone.name == f"step-{last + -(-last // 10)}"
    assert steps_of(tmp_path / "run")[0] == last
    assert not (tmp_path / "branch").exists()
    assert (tmp_path / "run" / "settings").read_text() == settings
    assert sorted((tmp_path / "run" / "latents").iterdir()) == pools  # of one seed all along
    weights = load_file(milestone / "lavin_dit.safetensors")
    assert any(not torch.equal(weights[name], before[name]) for name in before)
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())
    assert json.loads((milestone / "config.json").read_text())["dit"]["pairing"] == "merged"
    found = json.loads((milestone / "pairs.json").read_text())
    assert {row["family"] for row in found["families"]} >= {"follow", "region", "filter"}
    assert (milestone / "pairs" / "report.html").exists()
    subprocess.run(words(tmp_path, f"steps={last + 2}"), env=environment, check=True)
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "jdit.log.jsonl").read_text().splitlines()
    ]
    assert rows[-1]["step"] == last + 2
