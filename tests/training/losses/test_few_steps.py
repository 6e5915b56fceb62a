"""Few evaluations: consistency over segments, and one step end to end in pixels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import Tensor, nn

from lavin_deploy.cli.train import train
from lavin_deploy.config import preset
from lavin_deploy.errors import InputError
from lavin_deploy.flow import grids, solvers
from lavin_deploy.models.checkpoint import find_files, load_vae, read_config, save_dit
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.training.jdit import flow_loss
from lavin_deploy.training.latents.make import chunks
from lavin_deploy.training.latents.pool import GROUP, Chunk
from lavin_deploy.training.loop import meter, states
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.losses.consistency import Teacher, answer, draw_time
from lavin_deploy.training.recipes import RECIPES, override, recipe
from tests.helpers.checkpoints import random_models

pytestmark = pytest.mark.data
SHAPE = (8, 16, 1, 2, 2)
CONTEXT = (torch.zeros(8, 16, 2, 2, 2), torch.zeros(8, 16, 1, 2, 2))
PIXELS = ("--set=at_noise=1", "--set=drop=0", "--set=pixel_l1=1")
SEGMENTS = ("--set=segments=2", "--set=teacher_steps=4")


class Field(nn.Module):
    """A velocity given by a formula of z and t (B, 1, 1, 1, 1)."""

    def __init__(self, formula: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, z: Tensor, times: Tensor, pairs: Tensor, query: Tensor) -> Tensor:
        return self.formula(z, times.view(-1, 1, 1, 1, 1))


def points(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


@pytest.mark.parametrize("segments", [1, 2, 4])
def test_a_straight_flow_has_nothing_to_learn(segments: int) -> None:
    straight = Field(lambda z, t: (2 - z) / (1 - t).clamp(min=1e-3))  # lines that end in 2
    teacher = Teacher(straight, segments, 8, bf16=False)
    data, noise = points()
    batch = (*CONTEXT, data, noise, torch.arange(8) / 8, torch.ones(8, 1, 1, 1, 1))
    value, _ = flow_loss(straight, batch, DiTRecipe(), bf16=False, teacher=teacher)
    assert value.item() < 1e-10
    curved = Field(lambda z, t: z)
    teacher = Teacher(curved, segments, 8, bf16=False)
    value, _ = flow_loss(curved, batch, DiTRecipe(), bf16=False, teacher=teacher)
    assert value.item() > 1e-3


def test_the_answer_of_all_losses_zero_is_that_of_the_teachers_steps() -> None:
    """A student that meets every target exactly lands in K steps where the teacher does in N."""
    curved, steps, segments = Field(lambda z, t: z * (1 + t)), 8, 2
    teacher = Teacher(curved, segments, steps, bf16=False)

    def exact(z: Tensor, t: Tensor) -> Tensor:
        return teacher.target(student, z, t.flatten(), CONTEXT)

    student = Field(exact)
    noise, _ = points()
    many = answer(curved, noise, CONTEXT, steps, bf16=False)
    few = answer(student, noise, CONTEXT, segments, bf16=False)
    torch.testing.assert_close(few, many)
    assert not torch.allclose(answer(curved, noise, CONTEXT, segments, bf16=False), many)


def test_the_student_gives_no_gradient_through_its_target() -> None:
    weight = nn.Parameter(torch.ones(()))
    student = Field(lambda z, t: weight * z)
    teacher = Teacher(Field(lambda z, t: z), 1, 4, bf16=False)
    assert not teacher.target(student, points()[0], torch.zeros(8), CONTEXT).requires_grad


def test_answers_are_those_of_the_runtimes_solver() -> None:
    dit, _ = random_models(preset("tiny"))
    noise, context = torch.randn(2, 16, 1, 4, 4), torch.randn(2, 16, 3, 4, 4)

    def velocity(z: np.ndarray, t: np.float32) -> np.ndarray:
        with torch.no_grad():
            return dit(torch.from_numpy(z), torch.full((2,), float(t)), context).numpy()

    expected = solvers.euler(velocity, noise.numpy(), grids.uniform(4))
    output = answer(dit, noise, (context,), 4, bf16=False)
    np.testing.assert_allclose(output.numpy(), expected, atol=1e-5)


def test_times_lie_on_the_teachers_grid() -> None:
    rng = np.random.default_rng(0)
    plan = DiTRecipe(segments=2, teacher_steps=6, at_noise=0.5)
    times = [draw_time(rng, plan) for _ in range(600)]
    assert set(times) == {index / 6 for index in range(6)}
    starts = sum(time in (0, 0.5) for time in times) / 600
    assert starts == pytest.approx(0.5 + 0.5 / 3, abs=0.06)


def test_choices_are_checked() -> None:
    with pytest.raises(InputError, match="multiple of 4"):
        Teacher(Field(lambda z, t: z), 4, 6, bf16=False)
    with pytest.raises(InputError, match="at_noise=1"):
        DiTRecipe(pixel_l1=1.0).adapt(preset("edge"))
    with pytest.raises(InputError, match="segments=0"):
        DiTRecipe(pixel_l1=1.0, at_noise=1, drop=0, segments=1).adapt(preset("edge"))


@pytest.mark.parametrize(("name", "steps"), [("4", 4), ("2", 2), ("1", 1), ("one-step", 1)])
def test_recipes_say_how_their_models_are_run(name: str, steps: int) -> None:
    plan = recipe("jdit", f"edge-{name}")
    assert isinstance(plan, DiTRecipe)
    inference = plan.adapt(preset("3.4b")).inference
    assert (inference.steps, inference.grid, inference.guidance) == (steps, "uniform", 1.0)
    if plan.segments:
        Teacher(Field(lambda z, t: z), plan.segments, plan.teacher_steps, bf16=False)


def test_each_recipe_of_segments_takes_the_weights_of_the_one_before() -> None:
    four, two, one = (recipe("jdit", f"edge-{count}") for count in (4, 2, 1))
    assert two.teacher_steps == four.segments
    assert one.teacher_steps == two.segments


def run(*words: str | Path) -> None:
    result = CliRunner().invoke(train, list(map(str, words)))
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ST-VAE and a J-DiT of random weights; gates start at zero, and these do not."""
    out = tmp_path_factory.mktemp("few") / "base"
    run("stvae", "--recipe=tiny", "--data", data, "--out", out, "--set=steps=1")
    _, config = load_vae(out)
    dit = JDiT(config.dit)
    for parameter in dit.parameters():
        nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    save_dit(out, dit.state_dict(), config)
    return out


def words_of(data: Path, base: Path, out: Path, *settings: str) -> list[str | Path]:
    """Words for a run in a folder with the ST-VAE alone."""
    if not out.exists():
        left = shutil.ignore_patterns("lavin_dit*", "tensorboard")
        shutil.copytree(base, out, ignore=left)
    words = ["jdit", "--recipe=tiny", "--data", data, "--out", out, "--init-from", base]
    return [*words, "--set=decay=1e-9", *settings]


@pytest.mark.parametrize("settings", [SEGMENTS, PIXELS], ids=["segments", "pixels"])
def test_stopped_and_resumed_equals_never_stopped(
    settings: tuple[str, ...], data: Path, base: Path, tmp_path: Path
) -> None:
    whole = words_of(data, base, tmp_path / "whole", *settings)
    parts = words_of(data, base, tmp_path / "parts", *settings)
    run(*whole, "--set=steps=5")
    run(*parts, "--set=steps=2")
    assert states.present(tmp_path / "parts" / "jdit.states")[0].name == "step-00000002"
    run(*parts, "--set=steps=5", "--resume")
    never_stopped, resumed = (
        load_file(tmp_path / name / "lavin_dit.safetensors") for name in ("whole", "parts")
    )
    assert all(torch.equal(resumed[name], tensor) for name, tensor in never_stopped.items())


def test_segments_need_a_teacher_and_say_how_many_steps(
    data: Path, base: Path, tmp_path: Path
) -> None:
    words = words_of(data, base, tmp_path / "run", *SEGMENTS, "--set=steps=1")
    alone = [str(word) for word in words if word not in ("--init-from", base)]
    result = CliRunner().invoke(train, alone)
    assert result.exit_code == 2
    assert "--init-from" in result.stderr
    run(*words)
    inference = read_config(find_files(tmp_path / "run")).inference
    assert (inference.steps, inference.grid) == (2, "uniform")


def test_one_step_in_pixels_learns(
    data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "EVERY", -1.0)  # a row for every step, however fast they are
    out = tmp_path / "run"
    more = ("--set=velocity=0", "--set=learning_rate=3e-3", "--set=pixel_perceptual=0.1")
    words = words_of(data, base, out, *PIXELS, *more)
    run(*words, "--set=steps=1")
    run(*words, "--set=steps=40", "--resume")
    rows = [json.loads(line) for line in (out / "jdit.log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 41))
    for name in ("pixel_l1", "loss"):
        first, last = rows[0][name], np.mean([row[name] for row in rows[-10:]])
        assert last < 0.95 * first
    (pool,) = (out / "latents").iterdir()
    chunk = Chunk.open(chunks(pool)[0], in_pixels=True)
    targets, latents = chunk.pixels, chunk.latents
    assert targets is not None
    assert targets.shape == (chunk.groups * GROUP, 1, 64, 64, 3)
    vae, _ = load_vae(base)
    for number in (0, 17):
        clip = torch.tensor(targets[number, 0]).permute(2, 0, 1)[None, :, None] / 127.5 - 1
        with torch.no_grad():
            mean = vae.encode(clip).mean[0, :, 0].numpy()
        np.testing.assert_allclose(latents[number, 1], mean, atol=5e-3, rtol=5e-3)


def test_tasks_of_many_answers_are_refused_in_pixels(
    data: Path, base: Path, tmp_path: Path
) -> None:
    words = words_of(data, base, tmp_path / "run", *PIXELS, "--set=tasks=edges:1,inpainting:1")
    result = CliRunner().invoke(train, list(map(str, words)))
    assert result.exit_code == 2
    assert "'inpainting' has many right answers" in result.stderr


def test_settings_of_few_steps_can_be_set() -> None:
    plan = override(RECIPES["jdit"]["edge-one-step"], ["pixel_perceptual=0.5", "pixel_l1=0"])
    assert isinstance(plan, DiTRecipe)
    assert plan.in_pixels
