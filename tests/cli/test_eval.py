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
from lavin_deploy.evaluation.task_evals import SUITES
from tests.helpers.published import nyu, published
from tests.helpers.samples import toy_with_samples
from tests.helpers.toy_bundle import write_toy

pytestmark = [pytest.mark.cli, pytest.mark.data]

WITHOUT = """
import sys

class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cv2" and "--data" not in sys.argv:
            raise ModuleNotFoundError(name, name="cv2")
        if name.partition(".")[0] in ("torch", "onnx", "onnxscript"):
            raise AssertionError(f"lavin-eval imports {name}")

sys.meta_path.insert(0, Ban())
from lavin_deploy.cli.eval import evaluate
evaluate()
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "toy.lavin"
    write_toy(path, sizes=((32, 32), (16, 48)), pairs=(1, 2))
    return path


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with two tasks and three validation samples of each."""
    return toy_with_samples(tmp_path_factory.mktemp("stocked") / "toy.lavin")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, [str(argument) for argument in arguments])


def test_a_table_of_every_task_of_the_suite(toy: Path, data: Path, tmp_path: Path) -> None:
    result = call(toy, "--data", data, "--samples", 2, "--report", tmp_path / "report")
    assert result.exit_code == 0, result.stderr
    for part in (
        "segmentation: 2 held-out samples, steps 4, guidance 1\n",
        "iou ↑",
        "control   mismatched pairs",
        "ceiling   ST-VAE of truth",
        "baseline  telea",
        "depth: 2 held-out samples",
        "median ms: setup",
        "2 pair(s); onnxruntime",
        "in random styles, seed 0: segmentation 2, edges 2, colorization 2",
    ):
        assert part in result.stdout, part
    written = {path.name for path in (tmp_path / "report").iterdir()}
    reports = {"report.html", "report.json", "report.txt"}
    assert written == reports | {f"{task}.png" for task in SUITES["core"]}


def test_one_json_object(toy: Path, data: Path) -> None:
    arguments = (toy, "--data", data, "--samples", 2, "--task", "segmentation", "--json")
    result = call(*arguments, "--size", "16x48", "--steps", 2, "--seed", 5, "--strength", 3)
    assert result.exit_code == 0, result.stderr
    report_data = json.loads(result.stdout)
    assert (
        report_data["bundle"]["sha256"]
        == hashlib.sha256((toy / "manifest.json").read_bytes()).hexdigest()
    )
    assert report_data["suite"] == "core"
    assert report_data["measured_on"] == "held-out"
    assert report_data["data"] == str(data)
    assert report_data["samples"] == {"segmentation": 2}
    assert (report_data["seed"], report_data["strength"]) == (5, 3.0)
    assert report_data["size"] == [16, 48]
    assert report_data["pairs"] == 2
    assert set(report_data["versions"]) == {"lavin_deploy", "python", "numpy", "opencv"}
    assert list(report_data["tasks"]) == ["segmentation"]
    assert report_data["tasks"]["segmentation"]["steps"] == 2
    assert report_data["tasks"]["segmentation"]["swap"]["polarity_cases"] == 2
    assert report_data["speed"]["runs"] >= 2 * 4
    assert report_data["speed"]["stages"]["encode"] > 0


def test_by_default_the_bundles_own_samples_are_measured(stocked: Path, tmp_path: Path) -> None:
    result = call(stocked, "--suite", "core", "--report", tmp_path / "report")
    assert result.exit_code == 0, result.stderr
    for part in (
        "measured on the bundle's own validation samples, through the stored pairs: "
        "segmentation 3, denoising 3",
        "segmentation: 3 held-out samples, steps 4, guidance 1\n",
        "control   wrong prompt",
        "baseline  grabcut",
        "exchanged colours in",
    ):
        assert part in result.stdout, part
    assert (tmp_path / "report" / "denoising.png").is_file()


def test_own_samples_as_json(stocked: Path) -> None:
    result = call(stocked, "--task", "denoising", "--samples", 2, "--json")
    assert result.exit_code == 0, result.stderr
    report_data = json.loads(result.stdout)
    assert report_data["measured_on"] == "validation"
    assert report_data["data"] is report_data["seed"] is None
    assert report_data["samples"] == {"denoising": 2}
    assert report_data["tasks"]["denoising"]["samples"] == 2


def test_own_samples_need_neither_opencv_nor_torch(stocked: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", WITHOUT, str(stocked)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pip install opencv-python-headless") == 1
    assert len(done.stderr.splitlines()) == 1
    assert "model     model" in done.stdout
    assert "baseline" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--task", "depth"), "has no validation samples of depth, but of: segmentation, denoi"),
        (("--samples", "4"), "--samples 4 is more than the 3 validation samples of segmentation"),
        (("--seed", "1"), "--seed 1 chooses what is drawn from --data DIR"),
        (("--strength", "3"), "--strength 3.0 chooses what is drawn from --data DIR"),
    ],
)
def test_what_the_bundles_own_samples_cannot_do(
    stocked: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = call(stocked, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_bundle_without_samples(toy: Path) -> None:
    result = call(toy)
    assert result.exit_code == 2
    assert "no validation samples of segmentation, edges" in result.stderr
    assert "give --data DIR" in result.stderr


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
        (
            ("--suite", "all"),
            "unknown suite 'all'. Accepted: core, in-context, labelled, paper",
        ),
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
        if name == "lavin_deploy.training.tasks.heldout":
            monkeypatch.delitem(sys.modules, name)

    class NoOpenCv:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "lavin_deploy.training.tasks.heldout":
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


def test_kid_stands_beside_the_floor_and_names_its_features(toy: Path, data: Path) -> None:
    arguments = (toy, "--data", data, "--samples", 4, "--task", "inpainting", "--kid")
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "kid ↓" in result.stdout
    assert "floor     real/real" in result.stdout
    assert "kid: EfficientNet-Lite0, last block, mean over places, answers to one" in result.stdout
    kid = json.loads(call(*arguments, "--json").stdout)["tasks"]["inpainting"]["kid"]
    assert kid["samples"] == 4
    assert kid["rows"]["copy input"]["mean"] != kid["floor"]["mean"]


def test_kid_without_torch_says_what_to_install(stocked: Path) -> None:
    ban = WITHOUT.replace("raise AssertionError(", "raise ModuleNotFoundError(name='torch', *[")
    ban = ban.replace('imports {name}")', 'imports {name}"])')
    command = [sys.executable, "-c", ban, str(stocked), "--kid"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--kid needs torch and EfficientNet-Lite0" in done.stderr
    assert not done.stdout


def test_published_test_sets_beside_what_was_published(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = published(tmp_path / "data")
    report = tmp_path / "report"
    result = call(
        tiny_bundle, "--suite", "paper", "--data", folder, "--samples", 2, "--report", report
    )
    assert result.exit_code == 0, result.stderr
    for part in (
        "measured on published test sets in",
        "pascal_segmentation_s1: 2 held-out samples",
        f"published {'LaVin-DiT 3.4B':<17}  {'0.679':>15}",
        "pascal_detection_s4",
        "nyu_depth: 2 held-out samples",
        "the paper does not say its range",
        "imagenet_inpainting 2",
    ):
        assert part in result.stdout, part
    report_data = json.loads((report / "report.json").read_text())
    assert report_data["measured_on"] == "published"
    assert report_data["tasks"]["nyu_depth"]["published"] == {"abs_rel": 0.062, "delta1": 0.961}
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "published, LaVin-DiT 3.4B" in page
    assert (report / "nyu_normals.png").is_file()


def test_all_that_a_published_set_has_is_the_most(tiny_bundle: Path, tmp_path: Path) -> None:
    nyu(tmp_path / "nyu-v2")
    arguments = ("--suite", "paper", "--data", tmp_path, "--task", "nyu_depth")
    result = call(tiny_bundle, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["samples"] == {"nyu_depth": 5}
    result = call(tiny_bundle, *arguments, "--task", "pascal_detection_s1")
    assert result.exit_code == 2
    assert "has too few samples of pascal_detection_s1 for 1 pair(s)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--suite", "paper"), "--suite paper measures on published test sets; give --data DIR"),
        (("--suite", "paper", "--data", ".", "--task", "depth"), "--task depth and --suite paper"),
        (("--data", ".", "--task", "nyu_depth"), "--task nyu_depth and --suite core do not go"),
        (("--suite", "paper", "--data", "."), "has no published test set with"),
    ],
)
def test_the_suite_paper_is_for_published_test_sets(
    toy: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = call(toy, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
