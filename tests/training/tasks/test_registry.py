"""Collages and the image tasks made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.evaluation.metrics import psnr
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis import appearance
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import boundaries, far_colours
from lavin_deploy.training.tasks.labelled import LABELLED
from lavin_deploy.training.tasks.registry import NEVER_TRAINED, TASKS, available, load_tasks
from lavin_deploy.training.tasks.restoration import DEGRADATIONS

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def prepared(data: Path) -> Path:
    """A folder of generated pictures: no network, no package."""
    return data


@pytest.fixture(scope="module")
def collage(prepared: Path) -> Collage:
    return Collage.load(prepared, "train")


@pytest.mark.parametrize("size", [48, 64])
def test_collage_covers_the_asked_share_and_is_consistent(collage: Collage, size: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(25):
        scene = collage.sample(rng, size)
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == np.uint8
        fine = scene.fine_instances > 0
        assert 0.05 <= fine.mean() <= 0.40
        means = fine.reshape(size, 2, size, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(scene.coverage, means, atol=1e-6)
        np.testing.assert_array_equal(scene.instances, scene.fine_instances[1::2, 1::2])
        # The soft alpha and the hard mask show the same thing.
        assert np.abs(scene.alpha - scene.coverage).mean() < 0.06


def test_a_pasted_disc_lies_where_the_mask_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Analytic: a plain red disc over plain blue; the picture must agree with the mask."""
    monkeypatch.setattr(appearance, "recolour", lambda rng, layer, *rest: layer[..., :3])
    y, x = np.mgrid[-32:32, -32:32] + 0.5
    disc = np.zeros((64, 64, 4), np.uint8)
    disc[..., 0], disc[..., 3] = 255, np.where(np.hypot(x, y) < 31, 255, 0)
    blue = np.zeros((80, 80, 3), np.uint8)
    blue[..., 2] = 255
    collage = Collage([blue], [disc])
    for seed in range(5):
        scene = collage.sample(np.random.default_rng(seed), 96)
        red = scene.image[..., 0].astype(int) - scene.image[..., 2] > 0
        assert (red != (scene.coverage > 0.5)).mean() < 0.02


def test_the_same_seed_gives_the_same_sample(prepared: Path) -> None:
    for name, task in load_tasks(prepared, "test").items():
        first, again = (
            task.sample(rng, task.draw_style(rng), 32)
            for rng in (np.random.default_rng(7), np.random.default_rng(7))
        )
        np.testing.assert_array_equal(first.input, again.input, err_msg=name)
        np.testing.assert_array_equal(first.target, again.target, err_msg=name)


# tasks


@pytest.mark.parametrize("name", [name for name in TASKS if name not in LABELLED])
def test_every_task_gives_pictures_of_the_asked_size(collage: Collage, name: str) -> None:
    task = TASKS[name](collage)
    assert task.name == name
    rng = np.random.default_rng(1)
    style = task.draw_style(rng)
    json.dumps(vars(style))
    for size in (32, 64):
        drawn = task.sample(rng, style, size)
        for image in (drawn.input, drawn.target):
            assert image.shape == (size, size, 3)
            assert image.dtype == np.uint8


def test_segmentation_paints_exactly_the_two_colours(collage: Collage) -> None:
    task = TASKS["segmentation"](collage)
    rng = np.random.default_rng(2)
    for _ in range(20):
        style = task.draw_style(rng)
        target = task.sample(rng, style, 64).target.reshape(-1, 3)
        front = (target == style.foreground).all(axis=1).mean()
        back = (target == style.background).all(axis=1).mean()
        assert 0.02 < front < 0.42
        assert back > 0.5
        assert front + back > 0.75  # the rest is the antialiased rim


def test_polarities_and_colours_vary_between_episodes(collage: Collage) -> None:
    task = TASKS["segmentation"](collage)
    rng = np.random.default_rng(3)
    styles = [task.draw_style(rng) for _ in range(100)]
    on_black = sum(style.background == (0, 0, 0) for style in styles)
    black_on = sum(style.foreground == (0, 0, 0) for style in styles)
    assert min(on_black, black_on, 100 - on_black - black_on) > 20  # no kind is rare
    assert len(set(styles)) > 80
    first, second = far_colours(rng)
    assert np.linalg.norm(np.subtract(first, second)) >= 100


def test_inpainting_hides_one_grey_square(collage: Collage) -> None:
    task = TASKS["inpainting"](collage)
    drawn = task.sample(np.random.default_rng(4), task.draw_style(np.random.default_rng(0)), 64)
    changed = (drawn.input != drawn.target).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert 12 <= rows[-1] - rows[0] + 1 <= 20
    assert 12 <= columns[-1] - columns[0] + 1 <= 20
    assert (drawn.input[changed] == 127).all()


def test_denoising_adds_the_noise_of_its_style(collage: Collage) -> None:
    task = TASKS["denoising"](collage)
    rng = np.random.default_rng(5)
    style = task.draw_style(rng)
    drawn = task.sample(rng, style, 64)
    inner = (drawn.target > 100) & (drawn.target < 155)
    error = drawn.input.astype(float)[inner] - drawn.target[inner]
    assert abs(error.std() - style.strength) < 0.15 * style.strength


def test_boundaries_are_a_line_between_instances() -> None:
    fine = np.zeros((32, 32), np.uint8)
    fine[:, 16:] = 1
    line = boundaries(fine)
    assert line[:, :7].max() == 0
    assert line[:, 10:].max() == 0
    np.testing.assert_allclose(line.sum(axis=1), 1.5)


def test_unknown_task_gets_a_hint(prepared: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'depth'"):
        load_tasks(prepared, "train", ["dept"])


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_degradation_grows_with_its_strength(collage: Collage, name: str) -> None:
    degradation = DEGRADATIONS[name]
    means = []
    for strength in (degradation.least, degradation.most):
        scores = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            whole = collage.photo(rng, 64)
            degraded = degradation.degrade(rng, whole, strength)
            assert (degraded.shape, degraded.dtype) == (whole.shape, np.uint8)
            scores.append(psnr(degraded, whole))
        means.append(np.mean(scores))
    assert 60 > means[0] > means[1] + 0.5
    assert means[1] > 5


def test_degradation_leaves_flat_pictures_alone_where_it_should() -> None:
    grey = np.full((64, 64, 3), 120, np.uint8)
    rng = np.random.default_rng(0)
    for name in ("deblurring", "motion_deblurring", "super_resolution", "glass_deblurring"):
        assert (
            np.abs(
                DEGRADATIONS[name].degrade(rng, grey, DEGRADATIONS[name].most).astype(int) - 120
            ).max()
            <= 1
        )


def test_no_model_is_trained_on_what_tests_reading_from_pairs(collage: Collage) -> None:
    assert not set(NEVER_TRAINED) & set(TASKS)
    rng = np.random.default_rng(3)
    samples = {
        n: task.sample(rng, Style(), 32) for n, task in available(NEVER_TRAINED, collage).items()
    }
    assert np.array_equal(samples["negative"].target, 255 - samples["negative"].input)
    for name in ("sepia", "sketch"):
        target = samples[name].target.astype(int)
        spread = np.ptp(target, axis=-1)
        assert (spread == 0).all() if name == "sketch" else (target[..., 0] >= target[..., 2]).all()


def test_removal_keeps_what_no_object_covers(collage: Collage) -> None:
    sample = TASKS["removal"](collage).sample(np.random.default_rng(5), Style(), 64)
    same = np.abs(sample.input.astype(int) - sample.target).max(axis=-1) < 40
    assert 0.4 < same.mean() < 1
