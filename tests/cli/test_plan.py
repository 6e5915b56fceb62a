from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import lavin_deploy
from lavin_deploy.cli.plan import plan

pytestmark = pytest.mark.cli

EDGE = str(Path(lavin_deploy.__file__).parent / "bundles" / "edge.lavin")
LARGE = ("--preset", "3.4b", "--size", "512x512", "--pairs", "4")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(plan, list(map(str, arguments)))


def test_help_names_every_option() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for option in (
        *("[BUNDLE]", "--device", "--power", "--latency", "--calibration", "--preset", "--size"),
        *("--pairs", "--json", "--debug"),
    ):
        assert option in result.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lavin_deploy.cli.main import lavin\n"
        "try: lavin(['plan', '--help'])\n"
        "finally: print([m for m in ('numpy', 'PIL', 'onnx', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage:")
    assert done.stdout.endswith("[]\n")


def test_the_bundle_that_ships() -> None:
    result = run(EDGE, "--device", "orin-agx-64", "--latency", "100ms")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == (
        "edge, guidance 1 on Jetson AGX Orin 64 GB (MAXN, 16 SMs at 1300 MHz), JetPack 6.2, "
        "TensorRT 10.3"
    )
    assert lines[1].startswith("On paper: nothing of this was measured on a GPU")
    budgets, points = lines.index("") + 1, lines.index("", 4) + 1
    assert lines[budgets].split()[:4] == ["size", "pairs", "precision", "context"]
    assert lines[budgets + 1].split()[:4] == ["128x128", "1", "fp32", "frozen"]
    assert lines[points].endswith("within 100 ms")
    rows = [line.split() for line in lines[points + 1 : lines.index("", points)]]
    assert [row[2] for row in rows] == ["1", "2", "4", "8", "19"]
    assert [row[-1] for row in rows] == ["yes"] * 4 + ["most"]
    for part in (
        "Assumed: 50% of a peak, 70% of the bandwidth, 5 us a kernel",
        "export with --dialect portable",
        "measure it with lavin-eval",
    ):
        assert part in result.stdout


def test_a_preset_in_a_power_mode() -> None:
    result = run(*LARGE, "--device", "orin-agx-64", "--power", 30, "--latency", "0.1s")
    assert result.exit_code == 0, result.stderr
    assert "preset 3.4b, guidance 1.5 on Jetson AGX Orin 64 GB (30 W, 8 SMs" in result.stdout
    assert "Nothing answers within 100 ms." in result.stdout
    assert "export int8 instead" in result.stdout
    own = run("--preset", "edge", "--device", "thor")
    assert own.exit_code == 0, own.stderr
    assert "128x128      1        fp8   frozen" in own.stdout


def test_what_does_not_fit_is_said() -> None:
    result = run(*LARGE, "--device", "orin-nano-8")
    assert result.exit_code == 0, result.stderr
    assert "Nothing fits: one process has 5.58 GB here; choose a smaller model" in result.stdout
    assert "latency  " not in result.stdout


def test_json() -> None:
    result = run(*LARGE, "--device", "thor", "--latency", "2s", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["measured"] is False
    assert data["device"]["dialect"] == "native"
    assert data["latency_ms"] == 2000
    assert {one["precision"] for one in data["budgets"]} == {"fp16", "int8", "fp8"}
    joint = data["budgets"][0]
    assert joint["context"] == "joint"
    step = next(stage for stage in joint["stages"] if stage["stage"] == "step")
    assert step["flops"] == pytest.approx(44.53e12, rel=1e-3)
    assert all(point["within"] == (point["ms"] <= 2000) for point in data["pareto"])
    assert any("lavin-eval" in sentence for sentence in data["assumptions"])


def test_a_calibration(tmp_path: Path) -> None:
    stage = {"stage": "step", "height": 128, "width": 128, "pairs": 1, "ms": 50.0}
    file = tmp_path / "times.json"
    file.write_text(json.dumps({"device": "thor", "precision": "fp32", "stages": [stage]}))
    result = run(EDGE, "--device", "thor", "--calibration", file)
    assert result.exit_code == 0, result.stderr
    assert "Calibrated in fp32, measured over predicted: step " in result.stdout
    assert "50 ms" in result.stdout


@pytest.mark.parametrize("device", ["orin-nano-8", "orin-nx-16", "orin-agx-64", "thor"])
@pytest.mark.parametrize("preset", ["edge", "0.1b", "3.4b"])
def test_the_page_shows_what_is_printed(device: str, preset: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "jetson.md").read_text()
    result = run("--preset", preset, "--size", "512x512", "--pairs", 4, "--device", device)
    title, _, _, *rest = result.stdout.splitlines()
    assert "\n".join([title, *rest[: rest.index("")]]) in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([EDGE, "--device", "orin"], "unknown device 'orin'."),
        ([EDGE, "--device", "thor", "--power", "70"], "no power mode of 70 W here"),
        ([EDGE, "--device", "thor", "--latency", "100"], "--latency '100' is not a time"),
        ([EDGE, "--device", "thor", "--latency", "0ms"], "--latency '0ms' is not a time"),
        (["--device", "thor"], "neither a BUNDLE nor --preset was given"),
        ([EDGE, "--device", "thor", "--preset", "1b"], "both a BUNDLE and --preset"),
        ([EDGE, "--device", "thor", "--size", "64x64"], "--size and --pairs belong to --preset"),
        ([EDGE, "--device", "thor", "--pairs", "2"], "--size and --pairs belong to --preset"),
        (["--preset", "34b", "--device", "thor"], "unknown preset '34b'. Did you mean '3.4b'?"),
        ([*LARGE[:2], "--size", "500x512", "--device", "thor"], "500x512 cannot be cut"),
        ([*LARGE[:2], "--size", "big", "--device", "thor"], "--size 'big' is not HxW"),
        ([*LARGE, "--device", "thor", "--calibration", "x"], "--preset has none"),
        ([EDGE, "--device", "thor", "--calibration", "none.json"], "none.json cannot be read"),
        (["none.lavin", "--device", "thor"], "none.lavin"),
        ([EDGE], "Missing option '--device'"),
    ],
)
def test_errors_are_one_sentence(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert not result.stdout
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
