"""Tasks from pairs on disk, added to the toy bundle and run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lavin_deploy as lavin
from lavin_deploy.bundle.edit import pack
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.errors import BundleError, InputError, WorkError
from lavin_deploy.runtime.create_task import create_task
from lavin_deploy.runtime.letterbox import Letterbox
from lavin_deploy.tasks.stored import StoredTask, read_context, read_task
from tests.helpers.bundles import edit
from tests.helpers.toy_bundle import flat, toy_latents, write_toy

pytestmark = pytest.mark.unit

SIZES = ((32, 32), (16, 48))


def task(name: str = "brighten", steps: int | None = None) -> StoredTask:
    return StoredTask(name=name, description="Thirty levels up", pairs=(), steps=steps)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    write_toy(tmp_path / "toy.lavin", sizes=SIZES, pairs=(1, 2))
    return tmp_path / "toy.lavin"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    for number, level in enumerate((40, 60, 80)):
        Image.fromarray(flat(48, 40, *[level] * 3)).save(folder / f"{number}_input.png")
        Image.fromarray(flat(48, 40, *[level + 30] * 3)).save(folder / f"{number}_target.png")
    return folder


def test_a_created_task_runs(toy: Path, pairs: Path) -> None:
    stored = create_task(toy, task(steps=1), pairs)
    assert [pair.id for pair in stored.pairs] == ["0", "1", "2"]
    frame = flat(32, 32, 100, 110, 120)
    with lavin.load(toy) as model:
        assert model.tasks == ("brighten",)
        assert model.task("brighten") == stored
        result = model.run("brighten", frame)
        assert np.abs(result.image.astype(int) - (frame.astype(int) + 30)).max() <= 1
        for num_pairs in (1, 2):
            again = model.run("brighten", frame, num_pairs=num_pairs)
            np.testing.assert_allclose(again.latents, result.latents, atol=1e-5)
        with pytest.raises(InputError, match=r"cannot use 3 pairs: there are 3 .* takes 1, 2"):
            model.run("brighten", frame, num_pairs=3)
        with pytest.raises(InputError, match="Did you mean 'brighten'"):
            model.run("brigthen", frame)


def test_as_many_pairs_are_used_as_the_task_asks_for_or_the_bundle(
    toy: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "unlike"
    folder.mkdir()
    pictures = [(flat(32, 32, *[40] * 3), flat(32, 32, *[40 + up] * 3)) for up in (20, 60, 100)]
    for number, pair in enumerate(pictures):
        for role, picture in zip(("input", "target"), pair, strict=True):
            Image.fromarray(picture).save(folder / f"{number}_{role}.png")
    frame = flat(32, 32, 100, 110, 120)
    create_task(toy, task("all"), folder)
    create_task(toy, replace(task("one"), num_pairs=1), folder)
    create_task(toy, replace(task("many"), num_pairs=8), folder)
    with lavin.load(toy) as model:
        given = model.run(pairs=pictures, query=frame)  # the largest graph takes two
        for name, used, up in (("all", 2, 40), ("one", 1, 20), ("many", 2, 40)):
            result = model.run(name, frame)
            assert result.pairs == used
            assert np.abs(result.image.astype(int) - (frame.astype(int) + up)).max() <= 1
            if used == 2:
                assert given.pairs == 2
                np.testing.assert_allclose(given.latents, result.latents, atol=1e-5)


def test_the_recommended_steps_are_used_unless_others_are_asked_for(
    tmp_path: Path, pairs: Path
) -> None:
    write_toy(tmp_path / "decay.lavin", field="decay", pairs=(1,))
    create_task(tmp_path / "decay.lavin", task(steps=2), pairs)
    frame = flat(32, 32, 100, 110, 120)
    with lavin.load(tmp_path / "decay.lavin") as model:
        chosen = model.run("brighten", frame)
        two, four = (model.run("brighten", frame, steps=steps) for steps in (2, 4))
        np.testing.assert_array_equal(chosen.latents, two.latents)
        assert (chosen.latents != four.latents).any()


def test_stored_latents_are_those_of_the_stored_pictures(toy: Path, pairs: Path) -> None:
    stored = create_task(toy, task(), pairs)
    with open_bundle(toy) as bundle:
        for size in SIZES:
            context = read_context(bundle, stored, *size)
            assert context.shape == (1, 16, 6, size[0] // 8, size[1] // 8)
            for number, pair in enumerate(stored.pairs):
                with Image.open(bundle.file(f"tasks/brighten/{pair.input}")) as opened:
                    picture = np.array(opened)
                fitted = Letterbox((48, 40), size).forward(picture)
                np.testing.assert_allclose(
                    context[:, :, 2 * number : 2 * number + 1], toy_latents(fitted), atol=1e-6
                )


def test_large_pictures_are_scaled_down(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    for role in ("input", "target"):
        Image.fromarray(flat(100, 2048, 1, 2, 3)).save(folder / f"a_{role}.png")
    create_task(toy, task(), folder)
    with Image.open(toy / "tasks" / "brighten" / "pairs" / "001_input.png") as opened:
        assert opened.size == (1024, 50)


def test_replacing_a_task(toy: Path, pairs: Path) -> None:
    create_task(toy, task(), pairs)
    with pytest.raises(InputError, match="already has a task 'brighten'"):
        create_task(toy, task(), pairs)
    for steps in (1, 2, 3):
        create_task(toy, task(steps=steps), pairs, replace_old=True)
        with open_bundle(toy) as bundle:
            assert read_task(bundle, "brighten").steps == steps
            assert len(bundle.manifest.tasks) == 1
            listed = {toy / path for path in bundle.manifest.files}
        on_disk = {p for p in toy.rglob("*") if p.is_file()} - {toy / "manifest.json"}
        assert on_disk == listed, "files of the replaced task stay behind, or are lost"


def test_unknown_keys_of_the_manifest_survive(toy: Path, pairs: Path) -> None:
    edit(toy, lambda data: data.update(later={"x": 1}))
    create_task(toy, task(), pairs)
    assert json.loads((toy / "manifest.json").read_text())["later"] == {"x": 1}


def test_a_failure_leaves_the_bundle_as_it_was(
    toy: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (toy / "manifest.json").read_bytes()

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lavin_deploy.files.os.replace", broken)
    with pytest.raises(WorkError, match="No space left on device; the bundle is as it was"):
        create_task(toy, task(), pairs)
    monkeypatch.undo()
    assert (toy / "manifest.json").read_bytes() == before
    assert not [p for p in toy.rglob("*.tmp")]
    create_task(toy, task(), pairs)
    with lavin.load(toy) as model:
        assert model.tasks == ("brighten",)


def test_tasks_that_cannot_be_made(toy: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot name a task"):
        create_task(toy, task("../evil"), pairs)
    with pytest.raises(BundleError, match="there is no bundle"):
        create_task(tmp_path / "none.lavin", task(), pairs)
    with open_bundle(toy) as bundle:
        zipped = pack(bundle, tmp_path / "toy.zip")
    with pytest.raises(InputError, match="packed bundle; unzip it"):
        create_task(zipped, task(), pairs)
    Image.fromarray(flat(8, 8, 0, 0, 0)).save(pairs / "1_target.png")
    with pytest.raises(InputError, match="input of pair '1' has 48x40"):
        create_task(toy, task(), pairs)
    write_toy(tmp_path / "two.lavin", pairs=(4,))
    with pytest.raises(InputError, match="3 example pairs and the bundle needs at least 4"):
        create_task(tmp_path / "two.lavin", task(), pairs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": []}, "at least one pair"),
        ({"name": "other"}, "must have the name 'brighten'"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"view": "sideways"}, "must be one of"),
    ],
)
def test_damaged_task_files(
    toy: Path, pairs: Path, change: dict[str, object], message: str
) -> None:
    import hashlib

    create_task(toy, task(), pairs)
    file = toy / "tasks" / "brighten" / "task.json"
    content = json.dumps({**json.loads(file.read_text()), **change}).encode()
    file.write_bytes(content)
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(toy, lambda data: data["files"].update({"tasks/brighten/task.json": entry}))
    with open_bundle(toy) as bundle, pytest.raises(BundleError, match=message):
        read_task(bundle, "brighten")


def test_a_task_without_latents_for_a_size_says_so(toy: Path, pairs: Path) -> None:
    stored = create_task(toy, task(), pairs)
    edit(toy, lambda data: data["files"].pop("tasks/brighten/context-16x48.npy"))
    with open_bundle(toy) as bundle, pytest.raises(BundleError, match="no context for 16x48"):
        read_context(bundle, stored, 16, 48)
