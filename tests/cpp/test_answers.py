"""The C++ runtime's answers are Python's: same bundle, noise and back end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lavin_deploy as lavin
from lavin_deploy.bundle.edit import pack
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.runtime.media.images import read_image
from lavin_deploy.runtime.pipeline import DEFAULT_BUNDLE, Model
from tests.conftest import ROOT
from tests.helpers import clib

pytestmark = pytest.mark.parity

PHOTOS = ("removal", "inpainting", "low_light", "segmentation", "denoising")
SIZES = ((480, 640), (333, 517), (128, 128), (720, 405), (97, 301))

U8 = np.ndarray


@pytest.fixture(scope="session")
def pictures() -> list[U8]:
    """Five real pictures of five sizes."""
    found = []
    for task, (height, width) in zip(PHOTOS, SIZES, strict=True):
        file = sorted((ROOT / "examples" / "tasks" / task).glob("*_input.*"))[0]
        picture = Image.fromarray(read_image(file)).resize((width, height))
        found.append(np.array(picture))
    return found


def compare(python: Model, cpp: clib.Model, task: str | None, frame: U8, **options: object) -> None:
    """Assert that both answer alike, to the bar of latents 1e-5 and pixels 99.99 %."""
    mine = python.run(task, frame, **options)  # type: ignore[arg-type]
    size = options.pop("size", None)
    if size is not None:
        options["height"], options["width"] = size  # type: ignore[misc]
    image, target, latents = cpp.run(task, frame, **options)  # type: ignore[arg-type]
    assert np.abs(latents - mine.latents.ravel()).max() <= 1e-5
    assert np.mean(image == mine.image) >= 0.9999
    assert np.mean(target == mine.target) >= 0.9999


@pytest.fixture(scope="module", params=["joint", "frozen"])
def both(
    request: pytest.FixtureRequest, library: clib.Library, golden_bundle: Path
) -> Iterator[tuple[Model, clib.Model]]:
    """A bundle open on both sides: released weights (joint), and the one that ships (frozen)."""
    bundle = golden_bundle if request.param == "joint" else DEFAULT_BUNDLE
    with (
        lavin.load(bundle, backend="onnxruntime") as python,
        library.load(bundle, backend="onnxruntime") as cpp,
    ):
        yield python, cpp


@pytest.mark.parametrize("index", range(5))
def test_five_pictures(both: tuple[Model, clib.Model], pictures: list[U8], index: int) -> None:
    compare(*both, "segmentation", pictures[index], seed=index)


def test_guidance_and_steps(both: tuple[Model, clib.Model], pictures: list[U8]) -> None:
    compare(*both, "segmentation", pictures[0], guidance=2.5, steps=5)
    compare(*both, "segmentation", pictures[0], guidance=1.0, steps=3)


def test_pairs_of_the_caller(both: tuple[Model, clib.Model], pictures: list[U8]) -> None:
    (count,) = {bucket.pairs for bucket in both[0].manifest.buckets}
    pairs = [(picture, 255 - picture) for picture in pictures[:count]]
    compare(*both, None, pictures[3], pairs=pairs, steps=3)


def test_given_noise(both: tuple[Model, clib.Model], pictures: list[U8]) -> None:
    height, width = both[0].manifest.defaults.size
    shape = (1, 16, 1, height // 8, width // 8)
    noise = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    compare(*both, "segmentation", pictures[1], noise=noise, size=(height, width), steps=3)


def test_every_task_of_the_bundle_that_ships(library: clib.Library, pictures: list[U8]) -> None:
    with (
        lavin.load(backend="onnxruntime") as python,
        library.load(DEFAULT_BUNDLE) as cpp,
    ):
        for task in python.tasks:
            compare(python, cpp, task, pictures[2])


def test_every_variant(library: clib.Library, exported: Bundle, pictures: list[U8]) -> None:
    """fp32, fp16 (float16 keys and values where frozen) and int8, both dialects, one with Euler."""
    for variant in exported.manifest.variants:
        chosen = {"precision": variant.precision, "dialect": variant.dialect}
        with (
            lavin.load(exported.path, backend="onnxruntime", **chosen) as python,
            library.load(exported.path, backend="onnxruntime", **chosen) as cpp,
        ):
            compare(python, cpp, "segmentation", pictures[4])
            compare(python, cpp, "segmentation", pictures[4], guidance=1.5)


def test_a_packed_bundle(
    library: clib.Library, tmp_path: Path, pictures: list[U8], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_bundle(ROOT / "tests" / "golden" / "toy.lavin") as bundle:
        pack(bundle, tmp_path / "toy.zip")
    (tmp_path / "place").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "place"))
    with (
        lavin.load(tmp_path / "toy.zip") as python,
        library.load(tmp_path / "toy.zip") as cpp,
    ):
        compare(python, cpp, "brighten", pictures[0])
        compare(python, cpp, "brighten", pictures[0], num_pairs=1, size=(16, 32))
    assert not list((tmp_path / "place").iterdir())  # what was extracted is gone


@pytest.mark.parametrize("name", ["cfg1", "cfg"])
def test_the_golden_pipeline(
    library: clib.Library,
    golden_bundle: Path,
    golden_io: dict[str, np.ndarray],
    name: str,
) -> None:
    """What the authors' implementation computed, within 1e-4 of the largest value."""
    images = golden_io["pipe.images_u8"].transpose(0, 2, 3, 1)
    with library.load(golden_bundle) as model:
        weight = 1.0 if name == "cfg1" else 1.5
        pairs = [(images[0], images[1]), (images[2], images[3])]
        image, _, latents = model.run(
            None, images[4], pairs=pairs, guidance=weight, noise=golden_io["pipe.noise"], steps=19
        )
    wanted = golden_io[f"pipe.{name}.latent"].ravel()
    assert np.abs(latents - wanted).max() <= 1e-4 * np.abs(wanted).max()
    golden_image = golden_io[f"pipe.{name}.image_u8"][0, :, 0].transpose(1, 2, 0)
    # Where a value lies on the edge between two grey levels, another CPU's kernels take the other.
    assert np.mean(np.abs(image.astype(int) - golden_image) <= 1) >= 0.9999
    assert np.mean(image == golden_image) >= 0.999
