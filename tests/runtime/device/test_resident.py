"""Whole answers on a device: the same as graph after graph on the host, and in the right order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lavin_deploy.bundle.manifest import Tensor
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.cli.export import export
from lavin_deploy.config import preset
from lavin_deploy.engines.store import StoredEngine
from lavin_deploy.errors import BundleError
from lavin_deploy.flow.grids import uniform
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from lavin_deploy.runtime.device.planner import Planner
from lavin_deploy.runtime.device.program import ALIGNMENT, CONTEXT, Run, Update
from lavin_deploy.runtime.pipeline import Model
from tests.helpers.checkpoints import write_released
from tests.helpers.numpy_device import numpy_backend

pytestmark = pytest.mark.bundle


@pytest.fixture(scope="module", params=[pytest.param("sequence", marks=pytest.mark.soak), "merged"])
def refreshing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, golden_tasks: Path
) -> Path:
    """A joint ``tiny`` whose context's keys and values are kept for two evaluations."""
    folder = tmp_path_factory.mktemp("refresh")
    tiny = preset("tiny")
    write_released(folder / "ckpt", replace(tiny, dit=replace(tiny.dit, pairing=request.param)))
    words = ["--ckpt", str(folder / "ckpt"), "--out", str(folder / "m.lavin"), "--size=32x32"]
    words += ["--pairs=1", "--steps=3", "--tasks", str(golden_tasks), "--context=frozen"]
    export([*words, "--refresh=2"], standalone_mode=False)
    return folder / "m.lavin"


def frames(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (40, 30, 3), np.uint8) for _ in range(count)]


def compare(bundle: Bundle, precision: str, guidance: float) -> Counter[str]:
    """Four frames on the host and on the device agree; return what the device was told."""
    variant = bundle.variant(precision)
    on_device, device = numpy_backend(bundle, variant)
    onnxruntime = OnnxRuntimeBackend(bundle, variant, threads=1)
    with Model(bundle, onnxruntime) as host, Model(bundle, on_device) as model:
        expected = list(host.stream("segmentation", frames(4), guidance=guidance, steps=5))
        for result, reference in zip(
            model.stream("segmentation", frames(4), guidance=guidance, steps=5),
            expected,
            strict=True,
        ):
            np.testing.assert_allclose(result.latents, reference.latents, atol=2e-5)
            assert np.abs(result.image.astype(int) - reference.image).max() <= 1
            assert result.timings["sample"] == 0.001
    assert device.closed
    return Counter(device.calls)


@pytest.mark.parametrize("guidance", [1.0, 1.5])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_answers_are_those_of_the_host(
    exported: Bundle, precision: str, guidance: float
) -> None:
    calls = compare(exported, precision, guidance)
    assert calls["capture"] == 1
    assert calls["launch"] == 3  # of four frames; the first sets the engines up


def test_keys_that_are_refreshed_now_and_then(refreshing: Path) -> None:
    with open_bundle(refreshing) as bundle:
        compare(bundle, "fp32", 1.5)


def test_only_the_picture_goes_up_with_a_frame(exported: Bundle) -> None:
    on_device, device = numpy_backend(exported, exported.variant("fp32"))
    with Model(exported, on_device) as model:
        stream = iter(model.stream("segmentation", frames(3)))
        first = next(stream)
        before = Counter(device.calls)
        second = next(stream)
        change = Counter(device.calls) - before
    assert change["upload"] == 1
    assert change["download"] == 2
    assert first.latents is not second.latents
    assert not np.array_equal(first.latents, second.latents)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_program_runs_what_it_must_and_no_more(
    exported: Bundle, steps: int, guidance: float
) -> None:
    variant = exported.variant("fp32")
    height, width = exported.manifest.defaults.size
    planner = Planner(variant, exported.manifest.latent, height=height, width=width, pairs=1)
    program = planner.program(uniform(steps), guidance)
    ran = Counter(each.graph.name for each in program.sample if isinstance(each, Run))
    branches = 1 if guidance == 1.0 else 2
    assert ran["step"] == steps
    assert ran["step_null"] == steps * (branches - 1)
    assert sum(isinstance(each, Update) for each in program.sample) == steps
    if variant.context == "frozen":
        assert ran["query"] == (variant.pairing == "sequence")
        once = ["context"]
        if variant.pairing == "merged" and guidance != 1.0:
            once.append("context_null")
        assert [each.graph.name for each in program.once if isinstance(each, Run)] == once
        assert program.buffers[CONTEXT] == 4 * 16 * 2 * height * width // 64  # the pairs alone
    else:
        assert not program.once
        assert program.buffers[CONTEXT] == 4 * 16 * 3 * height * width // 64
    spans = [each.span for each in program.sample if isinstance(each, Update)]
    assert sum(spans) == pytest.approx(1.0)


def test_buffers_are_apart_and_aligned(exported: Bundle) -> None:
    variant, (height, width) = exported.variant("fp16"), exported.manifest.defaults.size
    planner = Planner(variant, exported.manifest.latent, height=height, width=width, pairs=1)
    program = planner.program(uniform(4), 1.5)
    offsets, size = program.offsets()
    ends = sorted((offset, offset + program.buffers[name]) for name, offset in offsets.items())
    assert all(offset % ALIGNMENT == 0 for offset, _ in ends)
    assert all(end <= following for (_, end), (following, _) in pairwise(ends))
    assert ends[-1][1] <= size
    assert program.row_stride % ALIGNMENT == 0


def test_an_engine_of_another_shape_is_refused(exported: Bundle) -> None:
    backend, device = numpy_backend(exported, exported.variant("fp32"))
    load = device.load

    def other(stored: StoredEngine) -> object:
        engine = load(stored)
        if engine.graph.name == "encoder":
            pixels = Tensor(name="pixels", dtype="float32", shape=(1, 3, 1, 64, 64))
            engine.graph = replace(engine.graph, inputs=(pixels,))
        return engine

    device.load = other  # type: ignore[method-assign, assignment]
    with (
        Model(exported, backend) as model,
        pytest.raises(BundleError, match=r"takes or gives .*64, 64.*build it again"),
    ):
        model.run("segmentation", frames(1)[0])


def test_a_model_that_is_closed_gives_the_device_back(exported: Bundle) -> None:
    backend, device = numpy_backend(exported, exported.variant("fp32"))
    model = Model(exported, backend)
    assert model.describe() == "numpy"
    model.close()
    assert device.closed
