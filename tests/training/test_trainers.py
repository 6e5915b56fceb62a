"""The trainers on generated data: they learn, resume exactly, and end in a bundle."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import lavin_deploy as lavin
from lavin_deploy.cli.export import export
from lavin_deploy.cli.train import train
from lavin_deploy.config import PRESETS, preset
from lavin_deploy.errors import CheckpointError, InputError, WorkError
from lavin_deploy.models.checkpoint import (
    find_files,
    load_released,
    load_vae,
    read_config,
    save_dit,
)
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.training.data.inventory import Inventory
from lavin_deploy.training.families.registry import FAMILIES
from lavin_deploy.training.latents.open import named_weights, share_groups
from lavin_deploy.training.loop import states
from lavin_deploy.training.loop.objective import Batch, Loss, Objective
from lavin_deploy.training.loop.processes import CPU, Processes, bfloat16_pays
from lavin_deploy.training.loop.settings import ALL_TASKS, DiTRecipe, Recipe, VAERecipe
from lavin_deploy.training.loop.trainer import Trainer, learning_rate
from lavin_deploy.training.recipes import RECIPES, override, recipe
from lavin_deploy.training.tasks.clips import CLIP_TASKS
from lavin_deploy.training.tasks.registry import TASKS

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def vae(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an ST-VAE, the latents that it makes, and no J-DiT yet."""
    out = tmp_path_factory.mktemp("vae")
    run("stvae", "--recipe", "tiny", "--data", data, "--out", out, "--set", "steps=1")
    return out


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
    listed = (tmp_path / "m.lavin" / "DATA.md").read_text()
    items = Inventory.load(data).items
    for item in items:
        assert (item.file in listed) == (item.split == "train")
    assert "Apache-2.0" in listed
    with lavin.load(tmp_path / "m.lavin") as model:
        picture = model.run("segmentation", torch.zeros(30, 40, 3, dtype=torch.uint8).numpy())
        assert picture.image.shape == (30, 40, 3)


def save_random(folder: Path) -> None:
    """Put a J-DiT beside an ST-VAE; gates start at zero, where blocks would change nothing."""
    _, config = load_vae(folder)
    dit = JDiT(config.dit)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    save_dit(folder, dit.state_dict(), config)


def test_tensorboard_has_scalars_and_pictures(data: Path, vae: Path, tmp_path: Path) -> None:
    out = started(vae, tmp_path / "run")
    run(*saving(data, out), "--set=steps=2")
    tags = {}
    for kind in ("stvae", "jdit"):
        events = EventAccumulator(str(out / "tensorboard" / kind)).Reload()
        tags[kind] = events.Tags()
        assert {"loss", "samples_per_second", "utilisation"} <= set(tags[kind]["scalars"])
        (name,) = tags[kind]["images"]
        image = events.Images(name)[-1]
        assert (image.width, image.height) == ((128, 256) if kind == "stvae" else (192, 384))


@pytest.mark.filterwarnings("ignore")  # torch 2.13's compiler warns about its own inside
def test_compiled_blocks_compute_the_same_loss(data: Path, vae: Path, tmp_path: Path) -> None:
    save_random(started(vae, tmp_path / "base"))
    losses = {}
    for compiled in ("0", "1"):
        out = tmp_path / compiled
        shutil.copytree(vae, out)
        options = ["--set", "steps=2", "--set", f"compiled={compiled}"]
        run(
            *(
                "jdit",
                "--recipe",
                "tiny",
                "--data",
                data,
                "--out",
                out,
                "--init-from",
                tmp_path / "base",
            ),
            *options,
        )
        rows = (out / "jdit.log.jsonl").read_text().splitlines()  # one, or two if it took long
        losses[compiled] = sum(json.loads(row)["loss"] for row in rows) / len(rows)
    assert losses["1"] == pytest.approx(losses["0"], rel=1e-4)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "lavin_dit.safetensors")


def started(vae: Path, out: Path) -> Path:
    """A folder with an ST-VAE and its pools, ready for J-DiT."""
    shutil.copytree(vae, out)
    return out


def saving(data: Path, out: Path) -> list[str]:
    """Words for a run that saves after every step."""
    return ["jdit", "--recipe=tiny", f"--data={data}", f"--out={out}", "--set=save_minutes=0"]


def test_killed_and_resumed_equals_never_killed(data: Path, vae: Path, tmp_path: Path) -> None:
    whole, parts = started(vae, tmp_path / "whole"), started(vae, tmp_path / "parts")
    words = ["--set=steps=8"]
    run(*saving(data, whole), *words)
    code = "from lavin_deploy.cli.train import train; train()"
    with subprocess.Popen([sys.executable, "-c", code, *saving(data, parts), *words]) as process:
        while not states.present(parts / "jdit.states"):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert 0 < int(states.present(parts / "jdit.states")[0].name[-8:]) < 8
    run(*saving(data, parts), *words, "--resume")
    resumed = weights(parts)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, resumed[name]), name


@pytest.mark.parametrize("damage", ["cut", "flip", "unlisted"])
def test_damaged_state_falls_back_to_the_one_before(
    damage: str, data: Path, vae: Path, tmp_path: Path
) -> None:
    out = started(vae, tmp_path / "run")
    words = [*saving(data, out), "--set=steps=3"]
    run(*words)
    newest, _ = states.present(out / "jdit.states")
    shard = newest / "__0_0.distcp"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "unlisted":
        (newest / "files.json").unlink()
    else:
        shard.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    expected = weights(out)
    result = CliRunner().invoke(train, [*words, "--resume"])
    assert result.exit_code == 0, result.stderr
    assert f"{newest} is damaged; trying the one before" in result.output
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(out).items())


def test_lora_trains_adapters_and_saves_plain_weights(
    data: Path, vae: Path, tmp_path: Path
) -> None:
    base, out = started(vae, tmp_path / "base"), started(vae, tmp_path / "run")
    save_random(base)
    result = CliRunner().invoke(train, [*saving(data, out), "--set=lora=2"])
    assert result.exit_code == 2
    assert "--init-from" in result.stderr
    words = [*saving(data, out), "--set=lora=2", f"--init-from={base}"]
    run(*words, "--set=steps=2", "--set=decay=1e-9")
    run(*words, "--set=steps=3", "--set=decay=1e-9", "--resume")
    before, after = weights(base), weights(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "blocks.0.joint_attn.x_q.weight" in changed
    for name in changed:
        assert ".joint_attn." in name or "_mlp." in name
        values = torch.linalg.svdvals(after[name].float() - before[name].float())
        assert values[0] > 1e-3 > values[2]  # what lies behind is the rounding to float16


def test_a_joint_model_goes_on_as_a_frozen_one(data: Path, vae: Path, tmp_path: Path) -> None:
    base, out = started(vae, tmp_path / "base"), started(vae, tmp_path / "run")
    run(*saving(data, base), "--set=steps=2")
    run(*saving(data, out), "--set=steps=2", "--set=context=frozen", f"--init-from={base}")
    files = find_files(out)
    assert read_config(files).dit.context == "frozen"
    dit, _ = load_released(files.dit, files.vae, read_config(files))
    latents = torch.randn(1, 16, 3, 8, 8)
    with torch.no_grad():
        assert dit(torch.randn(1, 16, 1, 8, 8), torch.rand(1), latents).isfinite().all()
    result = CliRunner().invoke(train, [*saving(data, out), "--set=context=half", "--resume"])
    assert result.exit_code == 2
    assert "unknown context 'half'" in result.stderr


def test_sizes_other_than_the_recipes_are_refused(data: Path, vae: Path, tmp_path: Path) -> None:
    out = started(vae, tmp_path / "run")
    result = CliRunner().invoke(train, [*saving(data, out), "--set=preset=edge"])
    assert result.exit_code == 2
    assert "other sizes than the recipe's 'edge'" in result.stderr


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    plan = Recipe(steps=1, batch=1)
    line_trainer(tmp_path, plan).fit(line_batch, lambda _: None)
    other = Objective("model", nn.Linear(3, 3), line_loss)
    with pytest.raises(CheckpointError, match="does not fit this run"):
        Trainer([other], plan, tmp_path, "line", processes=Processes(), resume=True)


def test_states_of_kills_and_damaged_ones_go(tmp_path: Path) -> None:
    folder, processes = tmp_path / "line.states", Processes()
    for step in (1, 2, 3):
        states.save(folder, step, {"step": step}, processes)
    assert [path.name for path in states.present(folder)] == ["step-00000003", "step-00000002"]
    (folder / "step-00000003" / "files.json").unlink()
    (folder / ".lavin-01234567.tmp").mkdir()  # as a kill leaves it: not locked by anybody
    (folder / ".lavin-01234567.tmp" / "lock").touch()
    assert states.load(folder, lambda path, step: {"step": 0}, processes) == {"step": 2}
    states.save(folder, 2, {"step": 2}, processes)
    assert [path.name for path in folder.iterdir()] == ["step-00000002"]


class Line(nn.Module):
    """y = w x with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w


def line_loss(model: nn.Module, batch: Batch, step: int) -> tuple[torch.Tensor, dict[str, float]]:
    return (model(batch[0]) - batch[1]).square().mean(), {}


def line_batch(step: int, samples: range) -> Batch:
    x = torch.stack(
        [torch.randn(1, generator=torch.Generator().manual_seed(100 * step + i)) for i in samples]
    )
    return x, 3 * x


def line_trainer(out: Path, plan: Recipe, loss: Loss = line_loss) -> Trainer:
    objective = Objective("model", Line(), loss)
    return Trainer([objective], plan, out, "line", processes=Processes(), resume=False)


def test_the_loop_learns_a_line(tmp_path: Path) -> None:
    small = Recipe(steps=300, warmup=1, learning_rate=0.05, decay=0.5, ema=0.9, batch=16)
    trainer = line_trainer(tmp_path, small)
    trainer.fit(line_batch, lambda _: None)
    assert trainer.objectives[0].module.w.item() == pytest.approx(3, abs=0.05)
    assert trainer.averaged()["w"].item() == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("settings", [{"accumulate": 4}, {"recompute": True}, {"compiled": True}])
@pytest.mark.filterwarnings("ignore")
def test_memory_and_speed_change_no_number(settings: dict, tmp_path: Path) -> None:
    results = []
    for index, changes in enumerate(({}, settings)):
        plan = replace(Recipe(steps=5, warmup=1, learning_rate=0.05, batch=16), **changes)
        line = Line()
        objective = Objective("model", line, line_loss, blocks=[line])
        out = tmp_path / str(index)
        Trainer([objective], plan, out, "line", processes=Processes(), resume=False).fit(
            line_batch, lambda _: None
        )
        results.append(line.w.item())
    assert results[0] == pytest.approx(results[1], rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_blocks_are_compiled_inside_of_what_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``recompute`` must not hide the blocks from the compiler."""
    graphs = []
    real = torch.compile
    monkeypatch.setattr(
        "torch.compile",
        lambda f, **_: real(f, backend=lambda graph, _: graphs.append(graph) or graph.forward),
    )
    line = Line()
    objective = Objective("model", line, line_loss, blocks=[line])
    plan = Recipe(steps=2, batch=4, compiled=True, recompute=True)
    Trainer([objective], plan, tmp_path, "line", processes=Processes(), resume=False).fit(
        line_batch, lambda _: None
    )
    assert len(graphs) == 1


def test_a_save_before_an_objective_begins_changes_nothing(tmp_path: Path) -> None:
    results = []
    for minutes in (100.0, 0.0):
        lines = [Line(), Line()]
        plan = Recipe(steps=6, warmup=1, batch=4, save_minutes=minutes)
        objectives = [
            Objective("model", lines[0], line_loss),
            Objective("judge", lines[1], line_loss, start=3),
        ]
        out = tmp_path / str(minutes)
        Trainer(objectives, plan, out, "line", processes=Processes(), resume=False).fit(
            line_batch, lambda _: None
        )
        results.append([line.w.item() for line in lines])
    assert results[0] == results[1]


def test_a_second_objective_begins_later(tmp_path: Path) -> None:
    first, second = Line(), Line()
    plan = Recipe(steps=4, warmup=1, batch=4)
    objectives = [
        Objective("model", first, line_loss),
        Objective("judge", second, line_loss, start=3),
    ]
    trainer = Trainer(objectives, plan, tmp_path, "line", processes=Processes(), resume=False)
    trainer.fit(line_batch, lambda _: None)
    assert first.w.item() > second.w.item() > 0
    rows = (tmp_path / "line.log.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["judge_loss"] > 0


def test_a_loss_that_is_not_finite_stops_with_the_batch_saved(tmp_path: Path) -> None:
    def bad(model: nn.Module, batch: Batch, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        return model(batch[0]).sum() * torch.nan, {}

    trainer = line_trainer(tmp_path, Recipe(steps=2, batch=1), bad)
    with pytest.raises(WorkError, match="is not finite at step 0"):
        trainer.fit(line_batch, lambda _: None)
    ((x, _),) = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert torch.equal(x, line_batch(0, range(1))[0])
    assert trainer.objectives[0].module.w.item() == 0


def test_an_uneven_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiple of 3"):
        line_trainer(tmp_path, Recipe(batch=16, accumulate=3))


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
    earlier = override(recipe("stvae", "tiny"), ["judge=0.1", "judge_start=0.2", "taught=0.3"])
    assert (earlier.disc_weight, earlier.disc_start, earlier.distillation) == (0.1, 0.2, 0.3)
    with pytest.raises(InputError, match="takes a int"):
        override(base, ["steps=many"])
    with pytest.raises(InputError, match="unknown stvae recipe"):
        recipe("stvae", "huge")


def test_recipes_for_every_preset_can_be_shared_out() -> None:
    assert set(PRESETS) <= set(RECIPES["jdit"])
    for name, plan in RECIPES["jdit"].items():
        assert isinstance(plan, DiTRecipe)
        config = plan.adapt(preset(plan.preset))
        assert plan.size % (8 * config.dit.patch_size) == 0
        makers = {**TASKS, **FAMILIES, **CLIP_TASKS}
        assert set(named_weights(plan.tasks)) <= set(makers), name
        assert plan.batch % plan.queries == 0
    for name in ("0.1b", "1b", "3.4b", "3.4b-512"):
        Processes(size=64).share(RECIPES["jdit"][name].batch, 1)
    assert set(ALL_TASKS) == set(TASKS)
    for plan in RECIPES["stvae"].values():
        assert isinstance(plan, VAERecipe)
        plan.adapt(preset(plan.preset))


def test_a_run_is_not_overwritten(data: Path, vae: Path) -> None:
    result = CliRunner().invoke(train, ["stvae", "--recipe=tiny", f"--data={data}", f"--out={vae}"])
    assert result.exit_code == 2
    assert "--resume" in result.stderr


def test_two_runs_never_share_a_folder(data: Path, vae: Path, tmp_path: Path) -> None:
    out = started(vae, tmp_path / "run")
    words = ["jdit", "--recipe=tiny", f"--data={data}", f"--out={out}", "--set=steps=1"]
    with states.only_run(out):
        result = CliRunner().invoke(train, words)
    assert result.exit_code == 2
    assert f"another process trains in {out}" in result.stderr
    assert not (out / "jdit.states").exists()
    run(*words)  # the lock went with its holder


def test_pools_are_shared_out_by_weight() -> None:
    assert share_groups({"segmentation": 3.0, "edges": 1.0}, 100) == {
        "segmentation": 75,
        "edges": 25,
    }
    assert share_groups({"segmentation": 99.0, "edges": 1.0}, 10)["edges"] == 1


def test_bfloat16_only_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = override(recipe("jdit", "tiny"), ["bf16=true"])
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True})
    assert not bfloat16_pays(plan, CPU)
    assert "training in float32" in capsys.readouterr().out
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": True})
    assert bfloat16_pays(plan, CPU)
    assert bfloat16_pays(plan, torch.device("cuda"))
    assert not bfloat16_pays(override(plan, ["bf16=false"]), CPU)
