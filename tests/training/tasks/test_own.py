"""A task from a folder of the user's own pairs."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lavin_deploy.cli.train import train
from lavin_deploy.config import preset
from lavin_deploy.errors import InputError
from lavin_deploy.models.checkpoint import load_vae, save_vae
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.tasks.pairs import ROLES, find_pairs
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.data.shards import ShardWriter
from lavin_deploy.training.latents.make import make_pool, open_pool
from lavin_deploy.training.latents.open import open_pools
from lavin_deploy.training.latents.pool import LatentPools
from lavin_deploy.training.loop.processes import Processes
from lavin_deploy.training.loop.settings import ALL, ALL_TASKS, DiTRecipe
from lavin_deploy.training.tasks.own import OwnPairs, parse_own

pytestmark = pytest.mark.data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pairs of different sizes; a target is its input with red and blue exchanged."""
    place = tmp_path / "pairs"
    place.mkdir()
    rng = np.random.default_rng(0)
    for index, (height, width) in enumerate(((40, 60), (50, 30), (64, 64))):
        coarse = rng.integers(0, 256, (height // 10, width // 10, 3)).astype(np.uint8)
        picture = Image.fromarray(coarse).resize((width, height))
        picture.save(place / f"{index}_input.png")
        Image.fromarray(np.asarray(picture)[..., ::-1].copy()).save(place / f"{index}_target.png")
    return place


def test_input_and_target_are_cut_alike(folder: Path) -> None:
    task = OwnPairs("swap", folder)
    rng = np.random.default_rng(1)
    seen = set()
    for size in (32, 64, 64, 64, 64):
        sample = task.sample(rng, Style(), size)
        assert sample.input.shape == (size, size, 3)
        np.testing.assert_array_equal(sample.input[..., ::-1], sample.target)
        seen.add(sample.input.tobytes())
    assert len(seen) == 5


def test_shards_of_pairs_are_the_same_pairs(folder: Path, tmp_path: Path) -> None:
    loose = OwnPairs("swap", folder)
    with ShardWriter(tmp_path, ()) as writer:
        for pair in find_pairs(folder):
            files = {
                f"{role}{file.suffix}": file.read_bytes()
                for role, file in (("input", pair.input), ("target", pair.target))
            }
            writer.add("own", pair.id, {**files, "json": b"{}"})
    packed = OwnPairs("swap", tmp_path)
    assert len(packed.pairs) == len(loose.pairs)
    for pair, expected in zip(packed.pairs, loose.pairs, strict=True):
        np.testing.assert_array_equal(pair, expected)
    (tmp_path / "broken.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match=r"broken\.tar"):
        OwnPairs("swap", tmp_path)


def packed(shard: Path, files: Sequence[tuple[str, bytes]]) -> None:
    with tarfile.open(shard, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def grey(level: int) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (20, 20), (level, level, level)).save(held, "PNG")
    return held.getvalue()


def test_pairs_in_folders_of_shards_are_all_there(tmp_path: Path) -> None:
    keys = ["a/1", "b/1", "a-b/1", "a/b-1", "./c/1", "1", "ü/" + "x" * 90 + "/" + "y" * 90 + "/1"]
    names = [(f"{key}.{role}", shard) for shard in ("s", "s-1") for key in keys for role in ROLES]
    levels = {name: number for number, name in enumerate(names)}
    for shard in ("s", "s-1"):
        files = [(f"{key}.PNG", grey(levels[key, shard])) for key, its in names if its == shard]
        files += [(f"{key.partition('.')[0]}.json", b"{}") for key, _ in names[:1]]
        files += [("__MACOSX/a/1.input.png", b"x"), ("a/._1.input.png", b"x"), (".DS_Store", b"x")]
        packed(tmp_path / f"{shard}.tar", files)
        (tmp_path / f"._{shard}.tar").write_bytes(b"what macOS keeps of it")
    pairs = OwnPairs("swap", tmp_path).pairs
    found = {(int(one[0, 0, 0]), int(other[0, 0, 0])) for one, other in pairs}
    assert found == {(number, number + 1) for number in range(0, len(names), 2)}


def test_roles_of_shards_are_in_letters_of_either_case(tmp_path: Path) -> None:
    names = ("a.INPUT.PNG", "a.Target.PNG", "b.input.png", "b.TARGET.png")
    packed(tmp_path / "s.tar", [(name, grey(level)) for level, name in enumerate(names)])
    pairs = OwnPairs("swap", tmp_path).pairs
    assert [(int(one[0, 0, 0]), int(other[0, 0, 0])) for one, other in pairs] == [(0, 1), (2, 3)]


def test_shards_without_whole_pairs_say_so(tmp_path: Path) -> None:
    packed(tmp_path / "s.tar", [("a/1.input.png", grey(1)), ("b/1.target.png", grey(2))])
    with pytest.raises(InputError, match=r"the pair 's\.tar/a/1' has no target file"):
        OwnPairs("swap", tmp_path)
    packed(tmp_path / "s.tar", [("1.input.png", grey(1)), ("1.input.jpg", grey(2))])
    with pytest.raises(InputError, match=r"the pair 's\.tar/1' has two input files"):
        OwnPairs("swap", tmp_path)
    packed(tmp_path / "s.tar", [("1.png", grey(1))])
    with pytest.raises(InputError, match=r"no pairs in s\.tar"):
        OwnPairs("swap", tmp_path)


def test_pairs_are_dealt_out_and_never_shown_with_their_own_query(
    folder: Path, tmp_path: Path
) -> None:
    task = OwnPairs("swap", folder)
    dealt = [sample.source for sample in task.episode(np.random.default_rng(0), Style(), 32, 16)]
    assert all(set(dealt[turn : turn + 3]) == {0, 1, 2} for turn in range(0, 15, 3))
    vae = STVAE(preset("tiny").vae)
    file = tmp_path / "swap"
    recipe = DiTRecipe(preset="tiny", size=32, bf16=False)
    make_pool(vae, task, file, groups=2, recipe=recipe)
    pool = open_pool(task, file, 1.0)
    ids = pool.chunks[0].ids
    for group in range(2):
        own_ids = ids[16 * group : 16 * group + 16]
        assert len(set(own_ids)) == 3
        assert min(own_ids) >= 16 * group
    pools = LatentPools.of([pool], preset("tiny"))
    for seed in range(20):
        drawn = pools.draw(np.random.default_rng(seed), 2, queries=7)
        assert drawn.pairs.shape == (16, 4, 4, 4)
        shown = [drawn.pairs[:, i] for i in (1, 3)]
        assert not any(np.array_equal(a, b[:, 0]) for a in shown for b in drawn.targets)
    with pytest.raises(InputError, match="lower max_pairs or add pairs"):
        pools.draw(np.random.default_rng(0), 3)


def test_another_picture_is_another_source(folder: Path) -> None:
    before = OwnPairs("swap", folder).sha256
    assert OwnPairs("swap", folder).sha256 == before
    Image.new("RGB", (40, 40)).save(folder / "2_target.png")
    Image.new("RGB", (40, 40)).save(folder / "2_input.png")
    assert OwnPairs("swap", folder).sha256 != before


def test_what_cannot_be_a_task(folder: Path) -> None:
    with pytest.raises(InputError, match="none of segmentation"):
        OwnPairs("segmentation", folder)
    with pytest.raises(InputError, match="not NAME=FOLDER"):
        parse_own([str(folder)])
    with pytest.raises(InputError, match="not NAME=FOLDER"):
        parse_own([f"a={folder}", f"a={folder}"])
    for index in "12":
        for role in ("input", "target"):
            (folder / f"{index}_{role}.png").unlink()
    with pytest.raises(InputError, match="two or more"):
        OwnPairs("swap", folder)


def test_training_on_nothing_but_own_pairs(data: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["stvae", "--recipe=tiny", f"--data={data}", f"--out={out}", "--set=steps=1"]
    assert CliRunner().invoke(train, words).exit_code == 0
    words = ["jdit", "--recipe=tiny", f"--out={out}", "--set=steps=2"]
    result = CliRunner().invoke(train, words)
    assert result.exit_code == 2
    assert "segmentation is trained on prepared pictures; give their folder" in result.stderr
    words += [f"--pairs=swap={folder}", "--set=tasks=swap:1"]
    result = CliRunner().invoke(train, words)
    assert result.exit_code == 0, result.stderr
    tasks = {path.name.partition("-")[0] for path in (out / "latents").iterdir()}
    assert tasks == {"swap"}
    row = json.loads((out / "jdit.log.jsonl").read_text().splitlines()[-1])
    assert row["step"] == 2


def test_all_means_what_there_are_pictures_for(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = DiTRecipe(preset="tiny", size=32, bf16=False, groups=len(ALL_TASKS), tasks=ALL)
    config = preset("tiny")
    save_vae(tmp_path, STVAE(config.vae).state_dict(), config)
    vae, _ = load_vae(tmp_path)
    pools = open_pools(chosen, vae, config, tmp_path, data=data, own={}, processes=Processes())
    absent = {"land_mask", "relief", "brain_mask", "tissue", "nuclei"}
    assert len(pools.pools) == len(ALL_TASKS) - len(absent)
    assert all(name in caplog.text for name in absent)
    with pytest.raises(InputError, match="land_mask"):
        open_pools(
            replace(chosen, tasks="land_mask:1"),
            vae,
            config,
            tmp_path,
            data=data,
            own={},
            processes=Processes(),
        )
