"""Whole exports: other sizes than the traced ones, guidance, refusals."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lavin_deploy as lavin
from lavin_deploy.bundle.manifest import Validation
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.cli.export import export
from lavin_deploy.config import DiTConfig, ModelConfig, Pairing, VAEConfig
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.export.checks import parity
from lavin_deploy.flow.grids import grid_for
from lavin_deploy.models import STVAE, JDiT
from lavin_deploy.runtime.letterbox import to_pixels
from lavin_deploy.runtime.media.images import read_image
from tests.helpers.checkpoints import write_released

pytestmark = pytest.mark.parity

OTHER = ModelConfig(
    dit=DiTConfig(hidden_size=144, depth=2, num_heads=6, kv_group=3),
    vae=VAEConfig(block_out_channels=(16, 32, 32, 48), layers_per_block=2, norm_groups=16),
)

PAIRINGS = [pytest.param("sequence", marks=pytest.mark.soak), "merged"]
"""Graphs of pairs in sequence are those of the bundle that ships, which other tests run."""


@torch.no_grad()
def reference(
    models: tuple[JDiT, STVAE],
    pairs: list[tuple[np.ndarray, np.ndarray]],
    query: np.ndarray,
    noise: np.ndarray,
    guidance: float,
    steps: int = 19,
) -> tuple[np.ndarray, np.ndarray]:
    """The answer by the plain models: scaled latents and (H, W, 3) uint8 pixels."""
    dit, vae = models
    images = [image for pair in pairs for image in pair] + [query]
    frames = [vae.scale(vae.encode(torch.from_numpy(to_pixels(i))).mean) for i in images]
    context = torch.cat(frames, dim=2)
    null = torch.cat((torch.zeros_like(frames[-1]), frames[-1]), dim=2)
    z = torch.from_numpy(noise)
    grid = grid_for(steps, "linear-quadratic")
    for t0, t1 in itertools.pairwise(grid):
        t = torch.tensor([float(t0)])
        v = dit(z, t, context)
        if guidance != 1:
            v_null = dit(z, t, null)
            v = v_null + guidance * (v - v_null)
        z = z + float(t1 - t0) * v
    pixels = vae.decode(vae.unscale(z))[0, :, 0].permute(1, 2, 0)
    return z.numpy(), torch.floor(255 * (pixels / 2 + 0.5).clamp(0, 1)).numpy().astype(np.uint8)


def test_other_sizes_reproduce_the_model(tmp_path: Path) -> None:
    models = write_released(tmp_path / "ckpt", OTHER)
    words = ["--ckpt", tmp_path / "ckpt", "--out", tmp_path / "m.lavin", "--size", "48x80"]
    export(
        [*map(str, words), "--pairs", "1", "--steps", "19", "--guidance", "1.5"],
        standalone_mode=False,
    )
    rng = np.random.default_rng(7)
    pictures = [rng.integers(0, 256, (48, 80, 3), dtype=np.uint8) for _ in range(3)]
    noise = rng.standard_normal((1, 16, 1, 6, 10), dtype=np.float32)
    pairs = [(pictures[0], pictures[1])]
    with lavin.load(tmp_path / "m.lavin") as model:
        assert model.manifest.defaults.guidance == 1.5
        for guidance, asked in ((1.5, None), (1.0, 1.0)):
            latents, pixels = reference(models, pairs, pictures[2], noise, guidance)
            result = model.run(pairs=pairs, query=pictures[2], noise=noise, guidance=asked)
            assert np.abs(result.latents - latents).max() / np.abs(latents).max() < 1e-3
            close = np.abs(result.target.astype(int) - pixels.astype(int)) <= 1
            assert close.mean() >= 0.999


def test_golden_pipeline(golden_bundle: Path, golden_io: dict[str, np.ndarray]) -> None:
    images = golden_io["pipe.images_u8"].transpose(0, 2, 3, 1)
    pairs = [(images[0], images[1]), (images[2], images[3])]
    with lavin.load(golden_bundle) as model:
        for name, guidance in (("cfg1", 1.0), ("cfg", None)):  # the bundle's own default is 1.5
            result = model.run(
                pairs=pairs, query=images[4], noise=golden_io["pipe.noise"], guidance=guidance
            )
            expected = golden_io[f"pipe.{name}.latent"]
            assert np.abs(result.latents - expected).max() / np.abs(expected).max() < 1e-4
            pixels = golden_io[f"pipe.{name}.image_u8"][0, :, 0].transpose(1, 2, 0)
            close = np.abs(result.target.astype(int) - pixels.astype(int)) <= 1
            assert close.mean() >= 0.999


def test_report_covers_every_graph_and_whole_answers(golden_bundle: Path) -> None:
    with open_bundle(golden_bundle) as bundle:
        rows = bundle.manifest.report["parity"]
        files = {graph.file for graph in bundle.manifest.variants[0].graphs}
    whole = {f"end-to-end {part}" for part in ("context", "latents", "pixels")}
    assert {row["graph"].partition(":")[0] for row in rows} == files | whole
    assert {row["seed"] for row in rows} == set(parity.SEEDS)
    assert all(0 < row["max"] < 1e-4 and row["mean"] <= row["p99"] <= row["max"] for row in rows)


def test_samples_are_declared_and_authors_named(golden_bundle: Path, golden_samples: Path) -> None:
    with open_bundle(golden_bundle) as bundle:
        declared = bundle.manifest.validation
        assert declared == {"segmentation": Validation(folder="validation/segmentation", samples=1)}
        stored = {path for path in bundle.manifest.files if path.startswith("validation/")}
        names = ("ATTRIBUTION.md", "segmentation/a_input.png", "segmentation/a_target.png")
        assert stored == {f"validation/{name}" for name in names}
        target = read_image(bundle.file("validation/segmentation/a_target.png"))
        assert (target == read_image(golden_samples / "segmentation" / "a_target.webp")).all()
        assert bundle.read("tasks/ATTRIBUTION.md") == b"authors of the pairs"
        assert bundle.read("validation/ATTRIBUTION.md") == b"authors of the samples"


def test_a_graph_that_deviates_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_released(tmp_path / "ckpt", OTHER)
    monkeypatch.setattr(parity, "TOLERANCE", 1e-12)
    words = ["--ckpt", tmp_path / "ckpt", "--out", tmp_path / "m.lavin", "--size", "32x32"]
    with pytest.raises(WorkError, match=r"deviates .* nothing was exported"):
        export(list(map(str, words)), standalone_mode=False)
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt"]


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_a_frozen_model_runs_from_its_bundle(tmp_path: Path, pairing: Pairing) -> None:
    config = replace(OTHER, dit=replace(OTHER.dit, context="frozen", pairing=pairing))
    models = write_released(tmp_path / "ckpt", config)
    words = ["--ckpt", tmp_path / "ckpt", "--out", tmp_path / "m.lavin", "--size", "32x48"]
    export([*map(str, words), "--pairs", "1", "--pairs", "2"], standalone_mode=False)
    rng = np.random.default_rng(7)
    pictures = [rng.integers(0, 256, (32, 48, 3), dtype=np.uint8) for _ in range(6)]
    noise = rng.standard_normal((1, 16, 1, 4, 6), dtype=np.float32)
    with lavin.load(tmp_path / "m.lavin") as model:
        assert {(v.context, v.pairing) for v in model.manifest.variants} == {("frozen", pairing)}
        for guidance in (1.0, 1.5):
            for pairs in ([pictures[:2]], [pictures[:2], pictures[2:4]]):
                examples = [(a, b) for a, b in pairs]
                for query in pictures[4:]:  # the second one meets the keys of the first
                    expected, _ = reference(models, examples, query, noise, guidance)
                    result = model.run(pairs=examples, query=query, noise=noise, guidance=guidance)
                    assert np.abs(result.latents - expected).max() / np.abs(expected).max() < 1e-3


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_a_joint_model_with_refreshes(tmp_path: Path, pairing: Pairing) -> None:
    config = replace(OTHER, dit=replace(OTHER.dit, pairing=pairing))
    models = write_released(tmp_path / "ckpt", config)
    words = ["--ckpt", tmp_path / "ckpt", "--out", tmp_path / "m.lavin", "--size", "32x32"]
    export(
        [*map(str, words), "--pairs", "1", "--context", "frozen", "--refresh", "3"],
        standalone_mode=False,
    )
    rng = np.random.default_rng(7)
    pictures = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3)]
    noise = rng.standard_normal((1, 16, 1, 4, 4), dtype=np.float32)
    pairs = [(pictures[0], pictures[1])]
    with lavin.load(tmp_path / "m.lavin") as model:
        refresh = model.manifest.variants[0].refresh
        assert refresh is not None
        assert refresh.every == 3
        assert set(refresh.error) == {"2", "3", "4", "8", "19"}
        assert 0 < refresh.error["2"] < refresh.error["19"]
        one = model.run(pairs=pairs, query=pictures[2], noise=noise, steps=3, guidance=1)
        expected, _ = reference(models, pairs, pictures[2], noise, 1.0, steps=3)
        # t = 0, 0.05, ...: the first is a whole step, so only the others are off.
        off = np.linalg.norm(one.latents - expected) / np.linalg.norm(expected)
        assert 1e-5 < off < 0.5


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_a_step_with_the_update_inside_gives_the_same(tmp_path: Path, pairing: Pairing) -> None:
    write_released(tmp_path / "ckpt", replace(OTHER, dit=replace(OTHER.dit, pairing=pairing)))
    words = ["--ckpt", str(tmp_path / "ckpt"), "--size", "32x32", "--pairs", "1"]
    latents = []
    rng = np.random.default_rng(7)
    a, b, query = (rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3))
    for name, more in (("plain", []), ("euler", ["--euler"]), ("time", ["--without=folded-time"])):
        export([*words, "--out", str(tmp_path / f"{name}.lavin"), *more], standalone_mode=False)
        with lavin.load(tmp_path / f"{name}.lavin") as model:
            result = model.run(pairs=[(a, b)], query=query, steps=3, guidance=1.0)
            names = {graph.name for graph in model.manifest.variants[0].graphs}
            assert ("step_euler" in names) == (name == "euler")
            latents.append(result.latents)
    for other in latents[1:]:
        assert np.abs(other - latents[0]).max() < 1e-5 * np.abs(latents[0]).max()


def test_a_frozen_model_is_no_joint_one(tmp_path: Path) -> None:
    write_released(tmp_path / "ckpt", replace(OTHER, dit=replace(OTHER.dit, context="frozen")))
    words = ["--ckpt", str(tmp_path / "ckpt"), "--context", "joint", "--size", "32x32"]
    with pytest.raises(InputError, match="--context frozen"):
        export(words, standalone_mode=False)
