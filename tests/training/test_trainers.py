"""The trainers on generated data: they learn, resume exactly, and end in a bundle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import lavin_deploy as lavin
from lavin_deploy.cli.export import export
from lavin_deploy.cli.train import train
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.models.checkpoint import load_vae, save_dit
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.training.engine import Batch, Trainer, bfloat16_pays, learning_rate
from lavin_deploy.training.latents import share_groups
from lavin_deploy.training.recipes import DiTRecipe, Recipe, override, recipe
from lavin_deploy.training.sources import prepare

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(folder, sources=["generated"])
    return folder


def run(*words: str | Path) -> None:
    result = CliRunner().invoke(train, list(map(str, words)))
    assert result.exit_code == 0, result.stderr


def test_from_data_to_an_answer(data: Path, tmp_path: Path, golden_tasks: Path) -> None:
    out = tmp_path / "run"
    run("stvae", "--recipe", "tiny", "--data", data, "--out", out, "--set", "steps=6")
    run("jdit", "--recipe", "tiny", "--data", data, "--out", out, "--set", "steps=8")
    assert {"config.json", "stvae.safetensors", "lavin_dit.safetensors"} <= {
        p.name for p in out.iterdir()
    }
    rows = [json.loads(line) for line in (out / "jdit.log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 8
    config = json.loads((out / "config.json").read_text())
    assert config["latent_scale"] != pytest.approx(1.08936170213)  # measured, not the release's
    words = ["--ckpt", out, "--out", tmp_path / "m.lavin", "--tasks", golden_tasks, "--pairs", "1"]
    assert CliRunner().invoke(export, list(map(str, words))).exit_code == 0
    with lavin.load(tmp_path / "m.lavin") as model:
        picture = model.run("segmentation", torch.zeros(30, 40, 3, dtype=torch.uint8).numpy())
        assert picture.image.shape == (30, 40, 3)


@pytest.mark.filterwarnings("ignore")  # torch 2.13's compiler warns about its own inside
def test_compiled_blocks_compute_the_same_loss(data: Path, tmp_path: Path) -> None:
    vae = tmp_path / "vae"
    run("stvae", "--recipe", "tiny", "--data", data, "--out", vae, "--set", "steps=1")
    _, config = load_vae(vae)
    dit = JDiT(config.dit)
    for parameter in dit.parameters():  # gates start at zero, where blocks change nothing
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    save_dit(tmp_path, dit.state_dict(), config)
    losses = {}
    for compiled in ("0", "1"):
        out = tmp_path / compiled
        shutil.copytree(vae, out)
        options = ["--set", "steps=2", "--set", f"compiled={compiled}"]
        run(
            *("jdit", "--recipe", "tiny", "--data", data, "--out", out, "--init-from", tmp_path),
            *options,
        )
        rows = (out / "jdit.log.jsonl").read_text().splitlines()  # one, or two if it took long
        losses[compiled] = sum(json.loads(row)["loss"] for row in rows) / len(rows)
    assert losses["1"] == pytest.approx(losses["0"], rel=1e-4)


def test_killed_and_resumed_equals_never_killed(data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ["--recipe", "tiny", "--data", data, "--set", "decay=1e-9", "--set", "taught=0"]
    run("stvae", *options, "--out", whole, "--set", "steps=4")
    run("stvae", *options, "--out", parts, "--set", "steps=2")
    run("stvae", *options, "--out", parts, "--set", "steps=4", "--resume")
    states = [torch.load(p / "stvae.state.pt", weights_only=True) for p in (whole, parts)]
    assert states[0]["step"] == states[1]["step"] == 4
    for name, tensor in states[0]["model"].items():
        assert torch.equal(tensor, states[1]["model"][name]), name


def test_damaged_state_falls_back_to_the_one_before(data: Path, tmp_path: Path) -> None:
    options = ["--recipe", "tiny", "--data", data, "--out", tmp_path / "run"]
    run("stvae", *options, "--set", "steps=2")
    run("stvae", *options, "--set", "steps=3", "--resume")
    (tmp_path / "run" / "stvae.state.pt").write_bytes(b"broken")
    result = CliRunner().invoke(
        train, [*list(map(str, ["stvae", *options, "--resume"])), "--set", "steps=3"]
    )
    assert result.exit_code == 0
    assert "trying the one before" in result.output


class Line(nn.Module):
    """y = w x with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, 1))


def test_the_loop_learns_a_line(tmp_path: Path) -> None:
    line = Line()
    small = Recipe(steps=300, warmup=1, learning_rate=0.05, decay=0.5, ema=0.9)

    def batch(step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 1, generator=generator)
        return x, 3 * x

    def loss(data: Batch, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        return (data[0] @ line.w - data[1]).square().mean(), {}

    trainer = Trainer(line, small, tmp_path, "line", resume=False)
    trainer.fit(batch, loss, lambda _: None)
    assert line.w.item() == pytest.approx(3, abs=0.05)
    assert trainer.ema["w"].item() == pytest.approx(3, abs=0.1)


def test_a_loss_that_is_not_finite_stops_with_the_batch_saved(tmp_path: Path) -> None:
    line = Line()
    trainer = Trainer(line, Recipe(steps=2), tmp_path, "line", resume=False)
    with pytest.raises(WorkError, match="the loss is nan at step 0"):
        trainer.fit(
            lambda _: (torch.ones(1),), lambda *_: (line.w.sum() * torch.nan, {}), lambda _: None
        )
    assert (tmp_path / "bad_batch.pt").exists()


def test_schedule() -> None:
    plan = Recipe(steps=100, warmup=10, decay=0.2, learning_rate=1.0)
    assert learning_rate(plan, 0) == pytest.approx(0.1)
    assert learning_rate(plan, 50) == 1.0
    assert learning_rate(plan, 90) == pytest.approx(0.5)


def test_settings() -> None:
    base = recipe("jdit", "edge")
    changed = override(base, ["steps=7", "bf16=false", "tasks=edges:1"])
    assert changed == replace(base, steps=7, bf16=False, tasks="edges:1")
    assert isinstance(changed, DiTRecipe)
    with pytest.raises(InputError, match="Did you mean 'steps'"):
        override(base, ["step=7"])
    with pytest.raises(InputError, match="takes a int"):
        override(base, ["steps=many"])
    with pytest.raises(InputError, match="unknown stvae recipe"):
        recipe("stvae", "huge")


def test_a_run_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    options = ["stvae", "--recipe", "tiny", "--data", data, "--out", tmp_path, "--set", "steps=1"]
    run(*options)
    result = CliRunner().invoke(train, list(map(str, options)))
    assert result.exit_code == 2
    assert "--resume" in result.stderr


def test_pools_are_shared_out_by_weight() -> None:
    assert share_groups({"segmentation": 3.0, "edges": 1.0}, 100) == {
        "segmentation": 75,
        "edges": 25,
    }
    assert share_groups({"segmentation": 99.0, "edges": 1.0}, 10)["edges"] == 1


def test_bfloat16_only_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = override(recipe("jdit", "tiny"), ["bf16=true"])
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True})
    assert not bfloat16_pays(wanted)
    assert "training in float32" in capsys.readouterr().out
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": True})
    assert bfloat16_pays(wanted)
    assert not bfloat16_pays(override(wanted, ["bf16=false"]))
