"""The bundle that ships: small, complete, redistributable, and able to do its job."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import lavin_deploy as lavin
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.evaluation.metrics import iou, mask_from_colours
from lavin_deploy.runtime.backends.choose import make_backend
from lavin_deploy.runtime.media.images import read_image
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.sampler import Sampler

pytestmark = pytest.mark.bundle

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "lavin_deploy" / "bundles" / "edge.lavin"


def test_size_and_card() -> None:
    with open_bundle(BUNDLE) as bundle:
        files = bundle.manifest.files
        assert max(entry.size for entry in files.values()) <= 40 * 2**20
        card = bundle.read("README.md").decode()
        tasks = [task.name for task in bundle.manifest.tasks]
    assert set(tasks) == {
        *("segmentation", "edges", "colorization", "denoising", "inpainting", "depth"),
        *("normals", "matting", "removal", "low_light"),
    }
    for word in ("licence", "held-out", "IoU", "Steps", "GrabCut"):
        assert word in card


def test_weights_are_packed() -> None:
    with open_bundle(BUNDLE) as bundle:
        weights = bundle.manifest.files["graphs/fp32.weights"].size
    assert weights < 20e6 * 2 + 5e6  # float16 for all but the folded ST-VAE


def test_self_test_repeats() -> None:
    with (
        open_bundle(BUNDLE) as bundle,
        make_backend("onnxruntime", bundle) as ort,
    ):
        context, noise, wanted = (
            bundle.array(f"selftest/{name}.npy").astype(np.float32)
            for name in ("context", "noise", "latents")
        )
        defaults = bundle.manifest.defaults
        height, width = defaults.size
        sampler = Sampler(
            ort,
            Modulation(ort, bundle.manifest),
            height=height,
            width=width,
            pairs=(context.shape[2] - 1) // 2,
        )
        assert defaults.steps == 1
        found = sampler.sample(noise, context, grid=np.array([0, 1], np.float32))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_segmentation_of_the_stored_validation_samples() -> None:
    """The held-out samples in examples/validation: the model beats the trivial answers."""
    folder = ROOT / "examples" / "validation" / "segmentation"
    task = ROOT / "examples" / "tasks" / "segmentation" / "task.json"
    rendering = json.loads(task.read_text())["rendering"]
    colours = tuple(rendering["foreground"]), tuple(rendering["background"])
    scores, trivial = [], []
    with lavin.load(BUNDLE) as model:
        for path in sorted(folder.glob("*_input.png")):
            truth = read_image(path.with_name(path.name.replace("_input", "_target")))
            answer = model.run("segmentation", read_image(path)).image
            truth_mask = mask_from_colours(truth, *colours)
            scores.append(iou(mask_from_colours(answer, *colours), truth_mask))
            trivial.append(iou(np.ones_like(truth_mask), truth_mask))
    assert len(scores) >= 8
    assert np.mean(scores) > max(0.5, np.mean(trivial) + 0.3)


def copy_of_the_project(target: Path) -> Path:
    """Copy what belongs to the project, so that a build leaves nothing behind in it."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or an unpacked archive
        left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
        return Path(shutil.copytree(ROOT, target, ignore=left_out))
    for name in filter(None, done.stdout.decode().split("\0")):
        if (ROOT / name).is_file():  # a file may be deleted, but not yet in the index
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def test_an_installed_wheel_runs_in_an_empty_environment(tmp_path: Path) -> None:
    sources = copy_of_the_project(tmp_path / "sources")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, sources],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("bundles/edge.lavin/manifest.json") for name in names)
    assert "lavin_deploy/bundle/bundle.schema.json" in names
    assert "lavin_deploy/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "examples/", "benchmarks/"))]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
    subprocess.run([*install, f"lavin-deploy[cpu] @ file://{wheel}"], check=True)
    picture = ROOT / "examples" / "tasks" / "segmentation"
    (query,) = sorted(picture.glob("*_input.png"))[:1]
    out = tmp_path / "answer.png"
    command = [tmp_path / "env" / "bin" / "lavin-run", "--task", "segmentation", query, "-o", out]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout)["frames"] == 1
    assert read_image(out).shape == read_image(query).shape
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, check=True).stdout
    assert b"torch" not in listed
