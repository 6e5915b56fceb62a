"""Fixtures that several folders of tests share; what takes long is made once for all processes."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.config import Inference, preset
from tests.helpers.shared import made_once

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # a process a core: torch, not imported yet, takes one thread
    os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO runs without it

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
BUNDLE = "model.lavin"


def pytest_collection_finish() -> None:
    """Garbage is looked for less often, and never among what was imported: a fifth of a trace."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the golden checkpoint."""
    return GOLDEN


@pytest.fixture(scope="session")
def golden_io() -> dict[str, np.ndarray]:
    """Golden inputs and outputs by name."""
    return load_file(GOLDEN / "io.safetensors")


@pytest.fixture(scope="session")
def golden_tasks(
    tmp_path_factory: pytest.TempPathFactory, golden_io: dict[str, np.ndarray]
) -> Path:
    """A folder of tasks with one, ``segmentation``: the golden pairs as pictures."""
    folder = tmp_path_factory.mktemp("tasks")
    images = golden_io["pipe.images_u8"].transpose(0, 2, 3, 1)
    (folder / "segmentation").mkdir()
    for index, name in enumerate(("0_input", "0_target", "1_input", "1_target")):
        Image.fromarray(images[index]).save(folder / "segmentation" / f"{name}.png")
    (folder / "ATTRIBUTION.md").write_text("authors of the pairs")
    return folder


@pytest.fixture(scope="session")
def golden_samples(
    tmp_path_factory: pytest.TempPathFactory, golden_io: dict[str, np.ndarray]
) -> Path:
    """A folder of validation samples: one of ``segmentation``, and what is not for the bundle."""
    folder = tmp_path_factory.mktemp("samples")
    images = golden_io["pipe.images_u8"].transpose(0, 2, 3, 1)
    for place in ("segmentation", ".cache"):
        (folder / place).mkdir()
    for index, name in ((4, "a_input.png"), (3, "a_target.webp")):
        Image.fromarray(images[index]).save(folder / "segmentation" / name, lossless=True)
    (folder / "segmentation" / "notes.txt").write_text("not for the bundle")
    (folder / "ATTRIBUTION.md").write_text("authors of the samples")
    return folder


@pytest.fixture(scope="session")
def golden_bundle(
    tmp_path_factory: pytest.TempPathFactory, golden_tasks: Path, golden_samples: Path
) -> Path:
    """The golden checkpoint as a bundle with the release's grid: 64x64, 2 pairs, 19 steps."""
    folder = made_once(
        tmp_path_factory,
        "golden",
        lambda to: _export(to, golden_tasks, grid=None, pairs=(2,), validation=golden_samples),
    )
    return folder / BUNDLE


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, golden_tasks: Path) -> Path:
    """The golden weights with a uniform grid, one step, 64x64, 1 pair: quick to run."""
    folder = made_once(
        tmp_path_factory,
        "tiny",
        lambda to: _export(to, golden_tasks, grid="uniform", pairs=(1,)),
    )
    return folder / BUNDLE


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of generated pictures; nobody writes into it."""
    from tests.helpers.answers import generated_data

    return made_once(tmp_path_factory, "data", generated_data)


def _export(
    folder: Path,
    tasks: Path,
    *,
    grid: str | None,
    pairs: tuple[int, ...],
    validation: Path | None = None,
) -> None:
    from lavin_deploy.bundle.manifest import WeightSource
    from lavin_deploy.export.exporter import export_bundle
    from lavin_deploy.export.given_folders import find_tasks
    from lavin_deploy.export.request import ExportRequest
    from lavin_deploy.models.checkpoint import find_files, load_released, read_config

    files = find_files(GOLDEN)
    config = read_config(files)
    inference = Inference() if grid is None else Inference(steps=1, grid="uniform", guidance=1.0)
    config = replace(config, inference=inference)
    request = ExportRequest(
        name=folder.name,
        out=folder / BUNDLE,
        config=config,
        source=WeightSource(kind="released", sha256=files.sha256()),
        licence="test weights",
        sizes=[(64, 64)],
        pairs=pairs,
        steps=inference.steps,
        guidance=inference.guidance,
        tasks=find_tasks(tasks),
        validation=validation,
    )
    dit, vae = load_released(files.dit, files.vae, config)
    export_bundle(dit, vae, request)


@pytest.fixture(
    scope="session", params=["joint", "merged", pytest.param("frozen", marks=pytest.mark.soak)]
)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, golden_tasks: Path
) -> Iterator[Bundle]:
    """Every variant that a runtime here takes, of a joint ``tiny``, of one with merged pairs and a
    frozen context, and in ``make soak`` of ``edge``, which ships and is frozen; int8 is forced,
    being slow. Each process may add engines to its own copy."""
    kind = request.param
    shared = made_once(tmp_path_factory, kind, lambda to: _export_all(to, kind, golden_tasks))
    own = shutil.copytree(shared / BUNDLE, tmp_path_factory.mktemp(kind) / BUNDLE)
    with open_bundle(own) as opened:
        yield opened


def _export_all(folder: Path, kind: str, tasks: Path) -> None:
    from lavin_deploy.cli.export import export
    from tests.helpers.checkpoints import write_released

    checkpoint, size = ROOT / "checkpoints" / "edge-all", "64x96"
    if kind != "frozen":
        checkpoint, size = folder / "ckpt", "32x32"
        config = preset("tiny")
        if kind == "merged":
            config = replace(config, dit=replace(config.dit, context="frozen", pairing="merged"))
        write_released(checkpoint, config)
    words = ["--ckpt", str(checkpoint), "--out", str(folder / BUNDLE), "--size", size]
    words += ["--pairs=1", "--steps=3", "--tasks", str(tasks), "--force"]
    words += [f"--precision={precision}" for precision in ("fp32", "fp16", "int8")]
    words += ["--dialect=native", "--dialect=portable"]
    words += ["--euler"] if kind == "joint" else []
    export(words, standalone_mode=False)
