"""Settings that no run can have, and those that a run may change when it goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from lavin_deploy.cli.train import train
from lavin_deploy.config import preset
from lavin_deploy.errors import InputError
from lavin_deploy.training.loop.ranges import RANGES
from lavin_deploy.training.loop.resume import SETTINGS
from lavin_deploy.training.loop.settings import DiTRecipe, VAERecipe
from lavin_deploy.training.recipes import RECIPES, override, recipe


@pytest.mark.unit
def test_every_number_of_a_recipe_has_a_range() -> None:
    for kind in (VAERecipe, DiTRecipe):
        numbers = {f.name for f in fields(kind) if type(f.default) in (int, float)}
        assert numbers <= set(RANGES)
    assert RECIPES  # all of them were made, so none is out of range


@pytest.mark.unit
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400", "-inf"])
@pytest.mark.parametrize("name", ["learning_rate", "decay", "ema", "save_minutes", "at_noise"])
def test_a_number_that_no_run_can_have_is_refused(name: str, value: str) -> None:
    with pytest.raises(InputError, match=rf"^{name} is .*; it is a number from 0 to "):
        override(recipe("jdit", "tiny"), [f"{name}={value}"])


@pytest.mark.unit
@pytest.mark.parametrize("setting", ["steps=1000000001", "batch=0", "seed=-1", "queries=0"])
def test_absurd_counts_are_refused(setting: str) -> None:
    with pytest.raises(InputError, match="it is a number from"):
        override(recipe("jdit", "tiny"), [setting])


@pytest.mark.unit
def test_sides_that_the_model_cannot_have_are_refused() -> None:
    tiny = preset("tiny")
    for side, near in ((24, "16 or 32"), (40, "32 or 48"), (20, "16 or 32"), (8, "16")):
        for name in ("size", "first_size"):
            with pytest.raises(InputError, match=f"{name} is {side}, .* nearest is {near}"):
                override(DiTRecipe(preset="tiny"), [f"{name}={side}"]).adapt(tiny)
    with pytest.raises(InputError, match=r"size is 20, .* multiples of 8; the nearest is 16 or 24"):
        VAERecipe(preset="tiny", size=20).adapt(tiny)
    assert VAERecipe(preset="tiny", size=24).adapt(tiny) == tiny


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in "123":
        for role in ("input", "target"):
            Image.new("RGB", (40, 48), (ord(name), 90, 10)).save(folder / f"{name}_{role}.png")
    return f"--pairs=own={folder}"


def jdit(run: Path, *words: str) -> Result:
    fixed = ["jdit", "--recipe=tiny", f"--out={run}", "--set=tasks=own:1", "--set=size=16"]
    return CliRunner().invoke(train, [*fixed, *words])


@pytest.fixture
def run(golden: Path, tmp_path: Path) -> Path:
    """A folder with a tiny ST-VAE, as training leaves it, not trained."""
    from lavin_deploy.models.checkpoint import save_vae
    from lavin_deploy.models.stvae import STVAE

    config = preset("tiny")
    save_vae(tmp_path / "run", STVAE(config.vae).state_dict(), config)
    return tmp_path / "run"


@pytest.mark.cli
def test_a_wrong_side_is_refused_before_anything_is_encoded(run: Path, pairs: str) -> None:
    for side in (24, 40, 20):
        result = jdit(run, pairs, f"--set=size={side}")
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: size is {side}, but this model has sides")
        assert not (run / "latents").exists()


@pytest.mark.cli
def test_resume_says_what_differs_and_whether_that_is_allowed(run: Path, pairs: str) -> None:
    assert jdit(run, pairs, "--set=steps=2").exit_code == 0
    same = jdit(run, pairs, "--set=steps=2", "--resume")
    assert same.exit_code == 0
    assert "other settings" not in same.stderr

    more = jdit(run, pairs, "--set=steps=3", "--set=learning_rate=0.0005", "--resume")
    assert more.exit_code == 0, more.stderr
    assert (
        "--resume with other settings, which is allowed from here on: steps was 2, is 3; "
        "learning_rate was 0.001, is 0.0005."
    ) in more.stderr
    state = max((run / "jdit.states").glob("step-*"))
    assert json.loads((state / SETTINGS).read_text())["all"]["steps"] == 3

    encoded = sorted((run / "latents").iterdir())
    other = ("--set=steps=4", "--set=size=32")  # which takes latents of its own
    for setting, words in (
        ("context=frozen", "context was joint, is frozen"),
        ("pairing=merged", "pairing was sequence, is merged"),
    ):
        result = jdit(run, pairs, *other, f"--set={setting}", "--resume")
        assert result.exit_code == 2
        assert words in result.stderr
        assert "cannot change on the way" in result.stderr
    begun_anew = jdit(run, pairs, *other)
    assert begun_anew.exit_code == 2
    assert "holds a run already; give --resume or another --out" in begun_anew.stderr
    assert sorted((run / "latents").iterdir()) == encoded

    (run / "jdit.states" / "step-old").mkdir()  # what somebody put aside is none
    fewer = jdit(run, pairs, "--set=steps=1", "--resume")
    assert fewer.exit_code == 2
    assert "steps is 1, but the state in" in fewer.stderr
    assert "is at step 3" in fewer.stderr


@pytest.mark.cli
def test_a_state_of_an_earlier_version_goes_on(run: Path, pairs: str) -> None:
    assert jdit(run, pairs, "--set=steps=1").exit_code == 0
    state = run / "jdit.states" / "step-00000001"
    (state / SETTINGS).unlink()
    digests = json.loads((state / "files.json").read_text())
    del digests[SETTINGS]
    (state / "files.json").write_text(json.dumps(digests))
    assert jdit(run, pairs, "--set=steps=2", "--resume").exit_code == 0


@pytest.mark.cli
def test_thin_pairs_are_refused_in_a_sentence(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "thin"
    folder.mkdir()
    for name in "12":
        for role in ("input", "target"):
            Image.new("RGB", (500, 3)).save(folder / f"{name}_{role}.png")
    result = jdit(run, f"--pairs=own={folder}")
    assert result.exit_code == 2
    assert "pictures of 500x3 pixels" in result.stderr
    assert "at least 8 pixels a side" in result.stderr
    shutil.rmtree(folder)


@pytest.mark.cli
@pytest.mark.parametrize("text", [b"\xff", b"[]", b"{", b'{"fixed": 3}'])
def test_damaged_settings_make_a_damaged_state(run: Path, pairs: str, text: bytes) -> None:
    assert jdit(run, pairs, "--set=steps=1").exit_code == 0
    (run / "jdit.states" / "step-00000001" / SETTINGS).write_bytes(text)
    result = jdit(run, pairs, "--set=steps=2", "--resume")
    assert result.exit_code == 2
    assert "holds no readable state" in result.stderr
