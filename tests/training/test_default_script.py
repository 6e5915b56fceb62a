"""scripts/train_default.sh: from pictures to an evaluated bundle, stopped and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.answers import generated_data

ROOT = Path(__file__).parents[2]


@pytest.mark.large  # minutes: edge is trained, exported and evaluated twice
@pytest.mark.timeout(3600)
def test_the_unattended_run_goes_on_where_it_was(tmp_path: Path) -> None:
    generated_data(tmp_path / "data")
    small = ("batch=2", "groups=20", "compiled=0", "max_pairs=1", "bf16=0", "save_minutes=0")
    words = ["sh", str(ROOT / "scripts" / "train_default.sh"), str(tmp_path)]
    words += [word for each in small for word in ("--set", each)]
    place = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": place, "FIRST": "30", "STEPS": "31", "SAMPLES": "2"}
    with subprocess.Popen(words, env=environment, start_new_session=True) as started:
        while not [*tmp_path.glob("run/jdit.states/step-*")]:
            assert started.poll() is None
            time.sleep(0.5)
        os.killpg(started.pid, signal.SIGTERM)
        assert started.wait() != 0
    assert not (tmp_path / "first.lavin").exists()
    assert subprocess.run(words, env=environment).returncode == 0
    for name in ("first", "edge"):
        report = json.loads((tmp_path / f"{name}-report" / "report.json").read_text())
        assert len(report["tasks"]) == 7  # of the suite's, those that ship
        assert "generated" in (tmp_path / f"{name}.lavin" / "DATA.md").read_text()
    again = time.monotonic()
    assert subprocess.run(words, env=environment).returncode == 0  # all is done
    assert time.monotonic() - again < 10
