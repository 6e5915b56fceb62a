"""The mix of a run: a curriculum that is left, weights that validation steers, exact resumes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from lavin_deploy.cli.train import train
from lavin_deploy.training.families.registry import FAMILIES
from lavin_deploy.training.jdit import is_small
from lavin_deploy.training.latents.open import named_weights
from lavin_deploy.training.loop import states
from lavin_deploy.training.loop.settings import ALL_TASKS, CLIP_WEIGHTS, FAMILY_WEIGHTS, DiTRecipe
from lavin_deploy.training.loop.trainer import DRAWN_AHEAD
from lavin_deploy.training.mix import Mix
from lavin_deploy.training.recipes import recipe
from lavin_deploy.training.tasks.clips import CLIP_TASKS
from lavin_deploy.training.validation import Held

BASE = {"follow": 4.0, "region": 2.0, "edges": 1.0}


def held(follow: float, region: float) -> dict[str, Held]:
    return {
        "follow": Held(loss=1 - follow, wrong=1.0),
        "region": Held(loss=1 - region, wrong=1.0),
        "edges": Held(loss=0.3, wrong=None),
    }


@pytest.mark.unit
def test_what_is_read_less_is_drawn_more_often_from_a_few_steps_on(tmp_path: Path) -> None:
    mix = Mix(tmp_path / "mix.json", BASE, beginning=False, step=0)
    assert mix.at(0).weights == BASE
    mix.add(100, held(follow=0.2, region=0.6), read_first=False)
    assert mix.at(99 + DRAWN_AHEAD).weights == BASE
    weights = mix.at(100 + DRAWN_AHEAD).weights
    assert weights["follow"] == pytest.approx(4 * 0.8 / 0.6)
    assert weights["region"] == pytest.approx(2 * 0.4 / 0.6)
    assert weights["edges"] == 1
    mix.add(200, held(follow=-3.0, region=0.99), read_first=False)
    weights = mix.at(300).weights  # from the first weights again, within bounds
    assert (weights["follow"], weights["region"]) == (pytest.approx(4 * 4 / 2.005), 1.0)


@pytest.mark.unit
def test_a_curriculum_is_left_once_and_for_good(tmp_path: Path) -> None:
    mix = Mix(tmp_path / "mix.json", BASE, beginning=True, step=0)
    for step, read, beginning in ((10, False, True), (20, True, False), (30, False, False)):
        mix.add(step, {}, read_first=read)
        assert mix.at(step + DRAWN_AHEAD).beginning == beginning


@pytest.mark.unit
def test_a_resume_forgets_what_the_run_has_not_reached(tmp_path: Path) -> None:
    file = tmp_path / "mix.json"
    mix = Mix(file, BASE, beginning=True, step=0)
    mix.add(10, {}, read_first=True)
    mix.add(20, held(0.1, 0.5), read_first=False)
    assert Mix(file, BASE, beginning=True, step=25).entries == mix.entries
    assert Mix(file, BASE, beginning=True, step=12).entries == mix.entries[:2]
    assert Mix(file, BASE, beginning=True, step=9).entries == mix.entries[:1]
    assert not Mix(file, BASE, beginning=False, step=9).at(9).beginning  # first_tasks= is gone
    fewer = Mix(file, {"follow": 1.0}, beginning=True, step=25)
    assert not fewer.at(25).beginning
    assert fewer.at(25).weights == {"follow": 1.0}


@pytest.mark.unit
def test_the_long_run_has_every_family() -> None:
    weights = named_weights("everything")
    assert set(weights) == {*ALL_TASKS, *FAMILY_WEIGHTS, *CLIP_WEIGHTS}
    assert all(weights[name] >= weight for name, weight in ALL_TASKS.items())
    assert set(FAMILY_WEIGHTS) == set(FAMILIES) - {"region_flat"}
    assert set(CLIP_WEIGHTS) <= set(CLIP_TASKS)
    plan = recipe("jdit", "edge-pairs")
    assert isinstance(plan, DiTRecipe)
    assert plan.first_tasks == "region_flat:1"


@pytest.fixture(scope="module")
def vae(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vae")
    words = ["stvae", "--recipe=tiny", f"--data={data}", f"--out={out}", "--set=steps=1"]
    assert CliRunner().invoke(train, words).exit_code == 0
    return out


def words(data: Path, out: Path, *more: str) -> list[str]:
    settings = (
        *("tasks=region:2,filter:1,edges:1", "pairing=merged", "context=frozen", "queries=4"),
        *("groups=4", "held_out=1", "validate_every=3", "first_tasks=region_flat:1", "size=48"),
        *("first_size=32", "first_reading=-9", "max_pairs=2", "save_minutes=0", "steps=16"),
        "small_steps=0.5",
    )
    return [
        *("jdit", "--recipe=tiny", f"--data={data}", f"--out={out}"),
        *(f"--set={each}" for each in (*settings, *more)),
    ]


def test_a_share_of_the_steps_is_small() -> None:
    plan = recipe("jdit", "edge-pairs")
    assert isinstance(plan, DiTRecipe)
    for share in (0.0, 0.25, 1.0):
        few = replace(plan, small_steps=share)
        small = [is_small(few, step) for step in range(2000)]
        assert np.mean(small) == pytest.approx(share, abs=0.03)
        assert small == [is_small(few, step) for step in range(2000)]


@pytest.mark.data
def test_killed_and_resumed_with_a_curriculum_equals_never_killed(
    data: Path, vae: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    shutil.copytree(vae, whole)
    result = CliRunner().invoke(train, words(data, whole))
    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line) for line in (whole / "jdit.log.jsonl").read_text().splitlines()]
    measured = [(row["step"], set(row["held_out"])) for row in rows if "held_out" in row]
    assert [step for step, _ in measured] == [3, 6, 9, 12, 15]
    assert measured[0][1] == measured[1][1] == {"region_flat"}
    assert measured[-1][1] == {"region", "filter", "edges"}
    ends = {
        size: max(path.name[-5:] for path in whole.glob(f"latents/region-{size}-*/*-*"))
        for size in (32, 48)
    }
    assert ends == {32: "00004", 48: "00002"}  # round((48 / 32)^2) times as many groups
    shutil.copytree(vae, parts)
    shutil.copytree(whole / "latents", parts / "latents")
    code = "from lavin_deploy.cli.train import train; train()"
    with subprocess.Popen([sys.executable, "-c", code, *words(data, parts)]) as process:
        while not any(int(p.name[-8:]) >= 5 for p in states.present(parts / "jdit.states")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert int(states.present(parts / "jdit.states")[0].name[-8:]) < 16
    result = CliRunner().invoke(train, [*words(data, parts), "--resume"])
    assert result.exit_code == 0, result.stderr
    expected, found = (load_file(p / "lavin_dit.safetensors") for p in (whole, parts))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    mixes = [json.loads((p / "jdit.mix.json").read_text()) for p in (whole, parts)]
    assert mixes[0] == mixes[1]
    assert [entry["beginning"] for entry in mixes[0]][:2] == [True, False]


@pytest.mark.data
@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("queries=3", "whole episodes of queries=3"),
        ("held_out=0", "set held_out to the groups"),
        ("pairing=glued", "'glued'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    data: Path, vae: Path, tmp_path: Path, setting: str, sentence: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(vae, out)
    result = CliRunner().invoke(train, words(data, out, setting))
    assert result.exit_code == 2
    assert sentence in result.stderr
