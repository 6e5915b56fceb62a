"""lavin-eval on the toy bundle; the scores themselves are tested in tests/tasks."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lavin_deploy.cli.eval import evaluate
from tests.helpers.answers import generated_data
from tests.helpers.toy_bundle import write_toy

pytestmark = [pytest.mark.cli, pytest.mark.data]

WITHOUT = """
import sys

class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "onnxscript"):
            raise AssertionError(f"lavin-eval imports {name}")

sys.meta_path.insert(0, Ban())
from lavin_deploy.cli.eval import evaluate
evaluate()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "toy.lavin"
    write_toy(path, sizes=((32, 32), (16, 48)), pairs=(1, 2))
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, [str(argument) for argument in arguments])


def test_a_table_of_every_task_of_the_suite(toy: Path, data: Path, tmp_path: Path) -> None:
    result = call(toy, "--data", data, "--samples", 2, "--report", tmp_path / "report")
    assert result.exit_code == 0, result.stderr
    for part in (
        "segmentation: 2 held-out samples, steps 4, guidance 1\n",
        "iou ↑",
        "control   mismatched pairs",
        "baseline  telea",
        "depth: 2 held-out samples",
        "median ms: setup",
        "2 pair(s), seed 0; onnxruntime",
    ):
        assert part in result.stdout, part
    written = {path.name for path in (tmp_path / "report").iterdir()}
    tasks = ("segmentation", "edges", "colorization", "denoising", "inpainting", "depth")
    assert written == {"report.json", "report.txt", *(f"{task}.png" for task in tasks)}


def test_one_json_object(toy: Path, data: Path) -> None:
    arguments = (toy, "--data", data, "--samples", 2, "--task", "segmentation", "--json")
    result = call(*arguments, "--size", "16x48", "--steps", 2, "--seed", 5)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (
        found["bundle"]["sha256"]
        == hashlib.sha256((toy / "manifest.json").read_bytes()).hexdigest()
    )
    assert found["suite"] == "core"
    assert found["samples"] == 2
    assert found["seed"] == 5
    assert found["size"] == [16, 48]
    assert found["pairs"] == 2
    assert set(found["versions"]) == {"lavin_deploy", "python", "numpy", "opencv"}
    assert list(found["tasks"]) == ["segmentation"]
    assert found["tasks"]["segmentation"]["steps"] == 2
    assert found["tasks"]["segmentation"]["swap"]["polarity_cases"] == 2
    assert found["speed"]["runs"] >= 2 * 4
    assert found["speed"]["stages"]["encode"] > 0


def test_the_same_seed_gives_the_same_numbers(toy: Path, data: Path) -> None:
    runs = [
        json.loads(
            call(toy, "--data", data, "--samples", 2, "--task", "inpainting", "--json").stdout
        )
        for _ in range(2)
    ]
    assert runs[0]["tasks"] == runs[1]["tasks"]


def test_neither_torch_nor_onnx_is_imported(toy: Path, data: Path) -> None:
    arguments = [toy, "--data", data, "--samples", "1", "--task", "denoising"]
    command = [sys.executable, "-W", "error", "-c", WITHOUT, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "denoising: 1 held-out samples" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--task", "segmentatoin"), "unknown task 'segmentatoin'. Did you mean 'segmentation'?"),
        (("--suite", "all"), "unknown suite 'all'. Accepted: core."),
        (("--size", "64"), "--size '64' is not HxW"),
        (("--size", "8x8"), "the bundle has no size 8x8; it has: 32x32, 16x48."),
        (("--report", "/dev/null"), "/dev/null is a file, but the output is a folder"),
        (("--samples", "0"), "0 is not in the range"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(
    toy: Path, data: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = call(toy, "--data", data, *arguments)
    assert result.exit_code == 2
    assert not result.stdout
    assert sentence in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")


def test_missing_things_are_told(toy: Path, data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    result = call(toy, "--data", tmp_path / "none", "--report", report)
    assert result.exit_code == 2
    assert "lavin-data prepare" in result.stderr
    assert not report.exists()
    result = call(tmp_path / "none.lavin", "--data", data)
    assert result.exit_code == 2
    assert "there is no bundle at" in result.stderr


def test_without_opencv_a_sentence_says_what_to_install(
    toy: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name == "lavin_deploy.training.heldout":
            monkeypatch.delitem(sys.modules, name)

    class NoOpenCv:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "lavin_deploy.training.heldout":
                raise ModuleNotFoundError("No module named 'cv2'", name="cv2")

    monkeypatch.setattr(sys, "meta_path", [NoOpenCv(), *sys.meta_path])
    result = call(toy, "--data", data)
    assert result.exit_code == 2
    assert "pip install opencv-python-headless" in result.stderr


def test_help_is_quick_and_complete() -> None:
    result = call("--help")
    assert result.exit_code == 0
    for option in ("--suite", "--data", "--samples", "--task", "--json", "--report"):
        assert option in result.stdout
