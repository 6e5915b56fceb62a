"""The pipeline on a toy bundle run by ONNX Runtime, against answers computed by hand."""

from __future__ import annotations

import pydoc
import re
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import lavin_deploy as lavin
from lavin_deploy.arrays import U8, Array
from lavin_deploy.bundle.edit import pack
from lavin_deploy.bundle.manifest import Graph
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.errors import BundleError, InputError
from lavin_deploy.flow.grids import grid_for, linear_quadratic, uniform
from lavin_deploy.flow.noise import normal
from lavin_deploy.names import BACKENDS
from lavin_deploy.runtime.answerer import STAGES
from lavin_deploy.runtime.pipeline import Model
from tests.helpers.toy_bundle import flat, toy_latents, write_toy

pytestmark = pytest.mark.unit


BRIGHTEN = [(flat(32, 32, 40, 50, 60), flat(32, 32, 70, 80, 90))]


def blocks(height: int, width: int, seed: int = 0) -> U8:
    """A random picture that is constant in every 8x8 cell, so that the toy codec is exact."""
    cells = np.random.default_rng(seed).integers(20, 200, (height // 8, width // 8, 3))
    return cells.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)


def assert_close(image: U8, expected: NDArray[np.integer]) -> None:
    """Equal up to one grey level: the release floors, so 0.99999 of a level is lost."""
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected.astype(int)).max() <= 1


def spy(model: Model) -> list[str]:
    """Note the name of every graph that runs from now on."""
    seen: list[str] = []
    backend = model._backend
    infer = backend.infer_impl

    def noting(graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
        seen.append(graph.name)
        return infer(graph, feed)

    backend.infer_impl = noting  # type: ignore[method-assign]
    return seen


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "toy.lavin"
    write_toy(path, sizes=((32, 32), (16, 48)), pairs=(1, 2))
    return path


@pytest.fixture(scope="module")
def decay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decay") / "decay.lavin"
    write_toy(path, field="decay", grid=linear_quadratic(20), kind="linear-quadratic")
    return path


@pytest.fixture
def model(toy: Path) -> Iterator[Model]:
    with lavin.load(toy) as opened:
        yield opened


def test_the_answer_is_query_plus_what_the_pairs_say(model: Model) -> None:
    frame = blocks(32, 32)
    result = model.run(pairs=BRIGHTEN, query=frame)
    assert_close(result.image, frame.astype(int) + 30)
    np.testing.assert_array_equal(result.image, result.target)
    assert result.latents.shape == (1, 16, 1, 4, 4)
    assert result.latents.dtype == np.float32
    step = toy_latents(BRIGHTEN[0][1]) - toy_latents(BRIGHTEN[0][0])
    np.testing.assert_allclose(result.latents, toy_latents(frame) + step, atol=2e-5)


def test_every_pair_counts(model: Model) -> None:
    pairs = [*BRIGHTEN, (flat(32, 32, 10, 10, 10), flat(32, 32, 20, 10, 10))]
    result = model.run(pairs=pairs, query=blocks(32, 32))
    assert_close(result.image, blocks(32, 32).astype(int) + np.array([20, 15, 15]))


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_a_straight_field_ends_on_the_answer_in_any_number_of_steps(
    model: Model, steps: int
) -> None:
    frame = blocks(32, 32, 1)
    result = model.run(pairs=BRIGHTEN, query=frame, steps=steps, seed=9)
    assert_close(result.image, frame.astype(int) + 30)


@pytest.mark.parametrize(("steps", "guidance"), [(None, 1.0), (3, 1.0), (5, 1.5), (19, 0.0)])
def test_what_is_left_of_the_noise_is_the_euler_product(
    decay: Path, steps: int | None, guidance: float
) -> None:
    grid = linear_quadratic(20) if steps is None else grid_for(steps, "linear-quadratic")
    left = np.prod([1 - (float(t1) - float(t0)) for t0, t1 in pairwise(grid)])
    frame, noise = blocks(32, 32), normal(3, (1, 16, 1, 4, 4))
    with lavin.load(decay) as model:
        result = model.run(pairs=BRIGHTEN, query=frame, steps=steps, guidance=guidance, seed=3)
        same = model.run(pairs=BRIGHTEN, query=frame, steps=steps, guidance=guidance, noise=noise)
    step = toy_latents(BRIGHTEN[0][1]) - toy_latents(BRIGHTEN[0][0])
    answer = toy_latents(frame) + guidance * step
    np.testing.assert_allclose(result.latents, answer + left * (noise - answer), atol=2e-5)
    np.testing.assert_array_equal(same.latents, result.latents)


def test_guidance_pushes_away_from_the_null_answer(model: Model) -> None:
    frame = blocks(32, 32)
    result = model.run(pairs=BRIGHTEN, query=frame, guidance=1.5)
    assert_close(result.image, frame.astype(int) + 45)


def test_weight_one_runs_no_null_branch(toy: Path) -> None:
    with lavin.load(toy) as model:
        seen = spy(model)
        model.run(pairs=BRIGHTEN, query=blocks(32, 32), guidance=1.0)
        assert seen == ["encoder"] * 3 + ["step"] * 4 + ["decoder"]
        seen.clear()
        model.run(pairs=BRIGHTEN, query=blocks(32, 32), guidance=2.0, steps=3)
        assert sorted(seen) == sorted(
            ["encoder"] * 3 + ["step", "step_null"] * 3 + ["modulation"] * 2 + ["decoder"]
        ), "times that the table lacks run the modulation graph once each"


def test_aspect_ratio_is_kept_and_chooses_the_size(model: Model) -> None:
    wide = blocks(16, 48)
    result = model.run(pairs=[(wide, wide)], query=wide)
    assert result.target.shape == (16, 48, 3)
    assert_close(result.image, wide.astype(int))
    tall = flat(50, 20, 100, 110, 120)
    result = model.run(pairs=[(tall, tall)], query=tall)
    assert result.target.shape == (32, 32, 3)
    assert result.image.shape == (50, 20, 3)
    assert_close(result.image, tall.astype(int))
    result = model.run(pairs=[(tall, tall)], query=tall, size=(16, 48))
    assert result.target.shape == (16, 48, 3)


def test_stream_equals_run_and_does_not_flicker(decay: Path) -> None:
    frames = [blocks(32, 32, seed) for seed in (0, 0, 1)]
    with lavin.load(decay) as model:
        options = {"pairs": BRIGHTEN, "steps": 3, "seed": 5}
        results = list(model.stream(None, iter(frames), **options))  # type: ignore[arg-type]
        alone = [model.run(query=f, **options) for f in frames]  # type: ignore[arg-type]
    np.testing.assert_array_equal(results[0].latents, results[1].latents)
    for result, other in zip(results, alone, strict=True):
        np.testing.assert_array_equal(result.latents, other.latents)
        np.testing.assert_array_equal(result.image, other.image)
        assert tuple(result.timings) == STAGES
        assert all(seconds >= 0 for seconds in result.timings.values())


def test_stream_encodes_the_context_once(toy: Path) -> None:
    with lavin.load(toy) as model:
        seen = spy(model)
        pairs = [(blocks(32, 32, 1), blocks(32, 32, 2))]
        results = list(model.stream(None, [blocks(32, 32, i) for i in range(5)], pairs=pairs))
    assert seen.count("encoder") == 2 + 5
    assert results[0].timings["setup"] > 10 * results[4].timings["setup"]


def test_stream_keeps_memory_constant(toy: Path) -> None:
    frame = blocks(32, 32)
    with lavin.load(toy) as model:
        results = model.stream(None, (frame for _ in range(400)), pairs=BRIGHTEN)
        tracemalloc.start()
        levels = []
        for number, _ in enumerate(results, 1):
            if number % 200 == 0:
                levels.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert len(levels) == 2
    assert levels[1] - levels[0] < 200 * frame.nbytes / 10, "results or frames are kept"


def test_stream_refuses_bad_arguments_before_the_first_frame(model: Model) -> None:
    def frames() -> Iterator[U8]:
        raise AssertionError("a frame was read")
        yield

    with pytest.raises(InputError, match="unknown task"):
        model.stream("segmentation", frames())
    with pytest.raises(InputError, match="steps is 0"):
        model.stream(None, frames(), pairs=BRIGHTEN, steps=0)
    with pytest.raises(InputError, match=r"needs \(1, 16, 1, 4, 4\) or \(1, 16, 1, 2, 6\)"):
        model.stream(None, frames(), pairs=BRIGHTEN, noise=normal(0, (1, 16, 1, 4, 6)))
    noise = normal(0, (1, 16, 1, 4, 4))
    with pytest.raises(InputError, match=r"needs \(1, 16, 1, 2, 6\)\."):
        model.stream(None, frames(), pairs=BRIGHTEN, noise=noise, size=(16, 48))
    with pytest.raises(InputError, match=r"stream\(frames=..., pairs=...\); given: NoneType"):
        model.stream(pairs=BRIGHTEN)


def test_pairs_and_frames_may_be_generators_and_keywords(model: Model) -> None:
    frame = blocks(32, 32)
    (result,) = model.stream(frames=(f for f in [frame]), pairs=(pair for pair in BRIGHTEN))
    assert_close(result.image, frame.astype(int) + 30)
    result = model.run(query=frame, pairs=(list(p) for p in BRIGHTEN))  # type: ignore[misc]
    assert_close(result.image, frame.astype(int) + 30)


def test_numbers_of_numpy_are_numbers(model: Model) -> None:
    options = {"guidance": np.int64(1), "steps": np.int64(4), "seed": np.int64(0)}
    result = model.run(
        pairs=BRIGHTEN,
        query=blocks(32, 32),
        size=np.array([32, 32]),
        **options,  # type: ignore[arg-type]
    )
    assert_close(result.image, blocks(32, 32).astype(int) + 30)


def test_a_closed_model_says_so(toy: Path) -> None:
    with lavin.load(toy) as model:
        results = model.stream(None, [blocks(32, 32)] * 2, pairs=BRIGHTEN)
        next(results)
    calls: list[Callable[[], object]] = [
        lambda: model.run(pairs=BRIGHTEN, query=blocks(32, 32)),
        lambda: model.stream(None, [], pairs=BRIGHTEN),
        lambda: next(results),
        lambda: model.task("edges"),
        lambda: model.codec((32, 32)),
        model.describe,
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"this model is closed; load '.*toy\.lavin' again"):
            call()


def test_help_of_load_lists_the_back_ends() -> None:
    text = pydoc.render_doc(lavin.load, renderer=pydoc.plaintext)
    (line,) = (line for line in text.splitlines() if line.strip().startswith("backend: "))
    assert tuple(re.findall('``"(.+?)"``', line)) == BACKENDS


def test_the_zip_form_gives_the_same_answer(toy: Path, tmp_path: Path) -> None:
    with open_bundle(toy) as bundle:
        zipped = pack(bundle, tmp_path / "toy.zip")
    frame = blocks(32, 32)
    with lavin.load(toy) as one, lavin.load(zipped) as two:
        first = one.run(pairs=BRIGHTEN, query=frame)
        second = two.run(pairs=BRIGHTEN, query=frame)
    np.testing.assert_array_equal(first.latents, second.latents)


def test_two_models_at_once(toy: Path, decay: Path) -> None:
    with lavin.load(toy) as one, lavin.load(decay) as two:
        first = one.run(pairs=BRIGHTEN, query=blocks(32, 32))
        two.run(pairs=BRIGHTEN, query=blocks(32, 32))
    with lavin.load(toy, threads=1) as again:
        third = again.run(pairs=BRIGHTEN, query=blocks(32, 32))
    np.testing.assert_array_equal(first.image, third.image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one frame"),
        ({"query": flat(8, 8, 0, 0, 0), "frame": flat(8, 8, 0, 0, 0)}, "give one frame"),
        ({"query": flat(8, 8, 0, 0, 0)}, "either the name of a stored task or example pairs"),
        ({"query": flat(8, 8, 0, 0, 0), "pairs": []}, "0 example pairs"),
        ({"query": np.zeros((8, 8, 3)), "pairs": BRIGHTEN}, "uint8"),
        ({"query": flat(8, 8, 0, 0, 0), "pairs": BRIGHTEN, "num_pairs": 2}, "cannot use 2"),
        ({"query": flat(8, 8, 0, 0, 0), "pairs": BRIGHTEN, "seed": -1}, "seed is -1"),
        ({"query": flat(8, 8, 0, 0, 0), "pairs": BRIGHTEN, "guidance": np.nan}, "guidance is nan"),
        ({"query": flat(8, 8, 0, 0, 0), "pairs": BRIGHTEN, "size": (64, 64)}, "it has: 32x32"),
        (
            {"query": flat(8, 8, 0, 0, 0), "pairs": BRIGHTEN, "size": "32x32"},
            r"size is '32x32'; it is \(height, width\)",
        ),
        ({"query": flat(8, 8, 0, 0, 0), "pairs": BRIGHTEN, "size": 32}, "size is 32; it is"),
        ({"query": flat(8, 8, 0, 0, 0), "pairs": 7}, r"\[\(input, target\), ...\]; given: int"),
        (
            {"query": flat(8, 8, 0, 0, 0), "pairs": [BRIGHTEN[0] * 2]},
            "number 1 is a tuple of 4",
        ),
        ({"query": flat(8, 8, 0, 0, 0), "pairs": [None]}, "number 1 is a NoneType"),
        ({"query": flat(8, 8, 0, 0, 0), "pairs": ["ab"]}, "given: str"),
        (
            {"query": flat(8, 8, 0, 0, 0), "pairs": BRIGHTEN, "noise": np.zeros(3, np.float32)},
            r"needs \(1, 16, 1, 4, 4\)",
        ),
        (
            {"query": flat(8, 8, 0, 0, 0), "pairs": BRIGHTEN, "noise": np.zeros(3)},
            "noise is a finite float32",
        ),
        (
            {
                "query": flat(8, 8, 0, 0, 0),
                "pairs": [(flat(8, 8, 0, 0, 0), flat(9, 8, 0, 0, 0))],
            },
            "input of pair 1 has 8x8",
        ),
    ],
)
def test_arguments_that_cannot_be_used(
    model: Model, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model.run(**arguments)  # type: ignore[arg-type]


def test_even_steps_of_a_linear_quadratic_bundle_name_the_nearest(decay: Path) -> None:
    with lavin.load(decay) as model, pytest.raises(InputError, match="19 or 21"):
        model.run(pairs=BRIGHTEN, query=blocks(32, 32), steps=20)


def test_load_refuses_what_it_cannot_give(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no NVIDIA driver is installed"):
        lavin.load(toy, backend="tensorrt")
    with pytest.raises(InputError, match="Did you mean 'onnxruntime'"):
        lavin.load(toy, backend="onnx-runtime")
    with pytest.raises(BundleError, match="no int8 variant; it has: fp32 portable"):
        lavin.load(toy, precision="int8")
    with pytest.raises(BundleError, match="no fp32 native variant"):
        lavin.load(toy, dialect="native")
    with pytest.raises(BundleError, match="there is no bundle at"):
        lavin.load(tmp_path / "none.lavin")
    with pytest.raises(InputError, match="threads is 0"):
        lavin.load(toy, threads=0)


def test_what_a_model_says_of_itself(model: Model) -> None:
    assert model.backend == "onnxruntime"
    assert model.precision == "fp32"
    assert model.tasks == ()
    assert model.manifest.name == "toy"
    assert "onnxruntime" in model.describe()
    np.testing.assert_array_equal(np.float32(model.manifest.time.default_grid), uniform(4))
