"""Pools: several answers of one input, which items may be pairs, growing, the exported encoder."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from lavin_deploy.arrays import U8
from lavin_deploy.config import preset
from lavin_deploy.errors import InputError
from lavin_deploy.models.vae2d import Encoder2d
from lavin_deploy.training.latents import make
from lavin_deploy.training.latents.encoder import picture_encoder, torch_encoder
from lavin_deploy.training.latents.make import chunks, make_pool, open_pool
from lavin_deploy.training.latents.pool import (
    GROUP,
    Chunk,
    LatentPools,
    Pool,
    foreground_weights,
)
from lavin_deploy.training.loop.processes import CPU
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Family, Group
from tests.helpers.checkpoints import random_models
from tests.helpers.processes import at_once

RECIPE = DiTRecipe(preset="tiny", size=32, bf16=False)


class Numbered(Family):
    """Item i of group g is a flat grey; its answers are other greys; some lack the second one."""

    name = "numbered"
    answers = 2

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        flat = rng.integers(0, 256, count)

        def picture(value: int) -> U8:
            return np.full((size, size, 3), value % 256, np.uint8)

        present = np.ones((count, 2), bool)
        present[5:, 1] = False
        return Group(
            inputs=[picture(v) for v in flat],
            targets=[[picture(255 - v), picture(v // 2)] for v in flat],
            present=present,
            sources=np.arange(count),
        )


@pytest.fixture(scope="module")
def collage() -> Collage:
    photo = np.zeros((64, 64, 3), np.uint8)
    return Collage([photo], [np.full((32, 32, 4), 255, np.uint8)])


def numbered(latents: int = 2) -> Pool:
    """Latents that say group, item and column: value 100 g + item + column / 4."""
    items = np.arange(2 * GROUP)
    values = 100 * (items // GROUP) + items % GROUP
    table = values[:, None] + np.arange(1 + latents) / 4
    present = np.ones((2 * GROUP, latents), bool)
    present[:, 1] = items % GROUP < 5
    chunk = Chunk(
        latents=np.broadcast_to(table[:, :, None, None, None], (2 * GROUP, 3, 16, 2, 2)).astype(
            np.float16
        ),
        ids=items,
        present=present,
    )
    return Pool(name="numbered", chunks=[chunk], weight=1.0)


@pytest.mark.unit
def test_an_episode_has_one_group_one_answer_and_no_picture_twice() -> None:
    pools = LatentPools(pools=[numbered()], shift=0.0, scale=1.0)
    answers = set()
    for seed in range(60):
        drawn = pools.draw(np.random.default_rng(seed), 3, queries=6)
        pairs, queries, targets = (z[..., 0, 0] for z in drawn[:3])
        shown, asked = pairs[0], queries[:, 0, 0]
        inputs, painted = shown[::2], shown[1::2]
        columns = {*(painted - inputs), *(targets[:, 0, 0] - asked)}
        assert len(columns) == 1
        (column,) = columns
        answers.add(column)
        groups = {int(v // 100) for v in (*inputs, *asked)}
        assert len(groups) == 1
        assert len({*inputs}) == 3
        assert not {*inputs} & {*asked}
        if column == 0.5:
            assert all(v % 100 < 5 for v in inputs)
    assert answers == {0.25, 0.5}


@pytest.mark.unit
def test_mismatched_pairs_have_the_inputs_and_other_targets_of_the_same_answer() -> None:
    pools = LatentPools(pools=[numbered()], shift=0.0, scale=1.0)
    for seed in range(40):
        right, wrong = pools.draw_both(np.random.default_rng(seed), 2, 3)
        assert wrong is not None
        assert wrong.shape == right.pairs.shape
        a, b = right.pairs[0, :, 0, 0], wrong[0, :, 0, 0]
        assert np.array_equal(a[::2], b[::2])
        assert not any(np.isclose(b[1::2] - a[::2], a[1] - a[0]))
        assert {*(b[1::2] % 1)} == {a[1] % 1}
        assert not {*b[1::2]} & {*right.targets[:, 0, 0, 0, 0]}


@pytest.mark.unit
def test_marked_places_weigh_more_and_all_together_the_same() -> None:
    targets = np.full((2, 1, 16, 4, 4), -1.0, np.float32)
    targets[0, :, :, 1:3, 1:3] = 1.0
    weights = foreground_weights(targets, 3.0)
    assert weights.shape == (2, 1, 1, 4, 4)
    np.testing.assert_allclose(weights.mean(axis=(3, 4)), 1, rtol=1e-6)
    assert weights[0, 0, 0, 1, 1] == pytest.approx(4 * weights[0, 0, 0, 0, 0])
    assert (weights[1] == 1).all()
    assert (foreground_weights(targets, 0.0) == 1).all()
    for more in (0.0, 3.0):
        pools = LatentPools(pools=[replace(numbered(), foreground=more)], shift=0.0, scale=1.0)
        drawn = pools.draw(np.random.default_rng(0), 1, queries=2)
        assert drawn.weights.shape == (2, 1, 1, 2, 2)


@pytest.mark.unit
def test_what_is_not_known_does_not_weigh() -> None:
    pool = numbered()
    known = np.ones((len(pool.chunks[0].latents), 2, 2), np.float16)
    known[:, 0] = 0.25
    chunks = [replace(pool.chunks[0], known=known)]
    pools = LatentPools(pools=[replace(pool, chunks=chunks)], shift=0.0, scale=1.0)
    weights = pools.draw(np.random.default_rng(0), 1, queries=2).weights
    np.testing.assert_array_equal(weights[:, 0, 0], [[[0.25, 0.25], [1, 1]]] * 2)


@pytest.mark.unit
def test_too_few_pictures_for_the_pairs_are_refused() -> None:
    pools = LatentPools(pools=[numbered()], shift=0.0, scale=1.0)
    assert pools.draw(np.random.default_rng(0), 5).pairs.shape[1] == 10  # the first answer alone
    with pytest.raises(InputError, match=r"'numbered'.*lower max_pairs"):
        pools.draw(np.random.default_rng(0), GROUP)


@pytest.mark.parametrize("in_pixels", [False, True])
def test_a_pool_grows_and_keeps_what_it_has(
    collage: Collage, tmp_path: Path, in_pixels: bool
) -> None:
    vae = random_models(preset("tiny"))[1]
    recipe = DiTRecipe(
        preset="tiny", size=32, bf16=False, pixel_l1=float(in_pixels), at_noise=1.0, drop=0.0
    )
    task = Numbered(collage)
    make_pool(vae, task, tmp_path / "a", groups=3, recipe=recipe)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*.npy")}
    make_pool(vae, task, tmp_path / "a", groups=2, recipe=recipe)
    make_pool(vae, task, tmp_path / "a", groups=5, recipe=recipe)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert [c.name for c in chunks(tmp_path / "a")] == ["00000-00003", "00003-00005"]
    make_pool(vae, task, tmp_path / "b", groups=5, recipe=recipe)
    grown, whole = (
        open_pool(task, tmp_path / name, 1.0, in_pixels=in_pixels) for name in ("a", "b")
    )
    assert (grown.groups, grown.answers, grown.frames) == (5, 2, 1)
    for name in ("latents", "present", "pixels"):
        parts = [[getattr(c, name) for c in pool.chunks] for pool in (grown, whole)]
        if parts[0][0] is not None:
            np.testing.assert_array_equal(*(np.concatenate(p) for p in parts))
    drawn = LatentPools.of([grown], preset("tiny")).draw(np.random.default_rng(0), 2, queries=4)
    assert (drawn.pixels is not None) == in_pixels


def test_progress_is_told_where_there_is_no_terminal(
    collage: Collage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(make, "SAY_EVERY", -1.0)
    vae = random_models(preset("tiny"))[1]
    make_pool(vae, Numbered(collage), tmp_path / "numbered", groups=2, recipe=RECIPE)
    lines = capsys.readouterr().err.splitlines()
    assert "numbered: 1 of 2 groups" in lines[0]
    assert lines[-1].startswith("numbered: 2 of 2 groups, 0 s left")


def test_pictures_are_encoded_by_the_exported_graph_as_by_torch() -> None:
    vae = random_models(preset("tiny"))[1]
    pixels = np.random.default_rng(0).uniform(-1, 1, (5, 3, 1, 32, 32)).astype(np.float32)
    graph = picture_encoder(vae, 32, CPU, bf16=False)
    modules = torch_encoder(Encoder2d(vae).eval(), CPU, bf16=False)
    assert graph.__qualname__ != modules.__qualname__
    np.testing.assert_allclose(graph(pixels), modules(pixels), atol=2e-5)
    np.testing.assert_allclose(graph(pixels[:1]), modules(pixels)[:1], atol=2e-5)
    with torch.no_grad():
        expected = vae.encode(torch.from_numpy(pixels[:1])).mean.numpy()
    np.testing.assert_allclose(graph(pixels[:1]), expected, atol=2e-5)


def test_two_processes_make_one_pool_once(data: Path, tmp_path: Path) -> None:
    imports = """
import os, sys
from pathlib import Path
from lavin_deploy.config import preset
from lavin_deploy.training.latents.make import make_pool
from lavin_deploy.training.synthesis.collage import Collage
from tests.helpers.checkpoints import random_models
from tests.training.latents.test_pool import Numbered, RECIPE
vae, task = random_models(preset("tiny"))[1], Numbered(Collage.load(Path(sys.argv[1]), "train"))
"""
    code = "make_pool(vae, task, Path(sys.argv[2]), groups=int(sys.argv[3]), recipe=RECIPE)"
    at_once(imports, code, [(data, tmp_path / "pool", groups) for groups in (2, 3)])
    parts = [tuple(map(int, chunk.name.split("-"))) for chunk in chunks(tmp_path / "pool")]
    assert parts[0][0] == 0
    assert parts[-1][1] == 3
    assert all(a[1] == b[0] for a, b in pairwise(parts))
