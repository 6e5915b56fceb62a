"""The gate: limits, verdicts, the fewest modules kept in fp32, and exports that fix themselves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import lavin_deploy as lavin
from lavin_deploy.bundle.manifest import Variant
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.cli.export import export
from lavin_deploy.config import DiTConfig, ModelConfig, VAEConfig
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.export.checks.gate import (
    Check,
    Limits,
    SpeedCheck,
    TensorDistance,
    Verdict,
    read_limits,
)
from lavin_deploy.export.precision.sensitivity import smallest_fp32_set
from tests.helpers.checkpoints import write_released

pytestmark = pytest.mark.parity

SMALL = ModelConfig(
    dit=DiTConfig(hidden_size=96, depth=2, num_heads=4, kv_group=2),
    vae=VAEConfig(block_out_channels=(16, 16, 32, 32), layers_per_block=1, norm_groups=16),
)
LIMITS = read_limits("fp16")
GOOD = TensorDistance(rel_l2=1e-3, cosine=1.0, p99=1e-3, finite=True)


def check(distance: TensorDistance = GOOD, **more: object) -> Check:
    fields = {"graph": "graphs/step.onnx", "output": "velocity", "runtime": "torch", **more}
    return Check(distance=distance, **fields).against(LIMITS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("checked", "why"),
    [
        (check(), ""),
        (check(replace(GOOD, finite=False, rel_l2=math.inf)), "not finite"),
        (check(replace(GOOD, rel_l2=4e-3)), r"relative L2 4\.0e-03 > 3e-03"),
        (check(replace(GOOD, cosine=0.99)), r"cosine 0\.99000 < 0\.9999"),
        (check(replace(GOOD, p99=0.1)), r"p99 1\.0e-01 > 5e-03"),
        (check(largest=40000.0, widest="x"), "x reaches 4e\\+04 > 32000"),
        (check(largest=math.nan, widest="x"), "x reaches nan"),
        (check(torch_rel_l2=4e-4), r"2 times torch's 4\.0e-04"),
        (check(torch_rel_l2=6e-4), ""),
        (check(replace(GOOD, rel_l2=9e-3), graph="end-to-end"), ""),
    ],
)
def test_every_rule_refuses(checked: Check, why: str) -> None:
    import re

    assert bool(checked.why) == bool(why)
    assert re.search(why, checked.why)
    assert checked.to_dict()["passed"] == (not why)
    json.dumps(checked.to_dict(), allow_nan=False)


def test_distances_are_what_they_say() -> None:
    expected = np.array([3.0, 0.0, 4.0], np.float32)
    distance = TensorDistance.between([expected + np.array([0, 0.5, 0], np.float32)], [expected])
    assert distance.rel_l2 == pytest.approx(0.1)
    assert distance.cosine == pytest.approx(25 / (5 * 25.25**0.5))
    assert not TensorDistance.between([np.array([np.nan])], [np.array([1.0], np.float32)]).finite


def test_a_slow_variant_fails_and_overflow_cannot_be_forced() -> None:
    slow = SpeedCheck(milliseconds=2, base_milliseconds=2, ratio=1.0, backend="x", passed=False)
    verdict = Verdict(limits=LIMITS, checks=(check(),), speed=slow)
    assert not verdict.passed
    assert verdict.sound
    assert "speed 1.00 times float32" in verdict.failures[0]
    broken = check(replace(GOOD, finite=False, rel_l2=math.inf))
    assert not Verdict(limits=LIMITS, checks=(broken,)).sound


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "no JSON object"),
        ('{"fp17": {}}', "fp17"),
        ('{"fp16": {"rel_l3": 1}}', "rel_l3"),
        ('{"fp16": {"rel_l2": "small"}}', "no limit"),
        ('{"fp16": {"rel_l2": -1}}', "no limit"),
        ('{"fp16": 3}', "must be an object"),
        ("{", "cannot be read"),
    ],
)
def test_a_gate_file_is_checked(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "gate.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_limits("fp16", tmp_path / "gate.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_limits("fp16", tmp_path / "none.json")


def test_a_gate_file_replaces_single_limits(tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text('{"fp16": {"rel_l2": 0.5}}')
    limits = read_limits("fp16", tmp_path / "gate.json")
    assert limits == Limits(**{**LIMITS.__dict__, "rel_l2": 0.5})


def test_the_fewest_modules_in_fp32_are_found() -> None:
    ranking = [f"m{i}" for i in range(20)]
    for needed in ({"m0"}, {"m0", "m3"}, {"m2", "m11", "m19"}, set(ranking)):
        tried: list[frozenset[str]] = []

        def passes(
            fp32_modules: frozenset[str],
            needed: set[str] = needed,
            tried: list[frozenset[str]] = tried,
        ) -> bool:
            tried.append(fp32_modules)
            return needed <= fp32_modules

        assert smallest_fp32_set(ranking, passes) == needed
        assert len(tried) < 40
    assert smallest_fp32_set(ranking, lambda fp32_modules: True) == frozenset()
    assert smallest_fp32_set(ranking, lambda fp32_modules: False) is None


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An export of a small model, without ``--out``."""
    folder = tmp_path_factory.mktemp("small")
    write_released(folder / "ckpt", SMALL)
    return ["--ckpt", str(folder / "ckpt"), "--size", "32x32", "--pairs", "1", "--precision=fp16"]


def gate(folder: Path, **limits: float) -> list[str]:
    (folder / "gate.json").write_text(json.dumps({"fp16": limits}))
    return ["--gate", str(folder / "gate.json")]


def variant(folder: Path) -> tuple[Variant, dict[str, object]]:
    with open_bundle(folder) as bundle:
        (stored,) = bundle.manifest.variants
        (report,) = bundle.manifest.report["variants"]
        (entry,) = json.loads(bundle.read("report.json"))["variants"]
        return stored, {**entry, **report}


def run(folder: Path) -> np.ndarray:
    rng = np.random.default_rng(7)
    a, b, query = (rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3))
    with lavin.load(folder) as model:
        return model.run(pairs=[(a, b)], query=query, steps=3, guidance=1.5).latents


@pytest.fixture(scope="module")
def plain(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in fp32, fp16 and bf16, by the package's own limits."""
    out = tmp_path_factory.mktemp("plain") / "m.lavin"
    export(
        [*words, "--precision=fp32", "--precision=bf16", "--out", str(out)], standalone_mode=False
    )
    return out


def test_a_bundle_holds_several_precisions(plain: Path) -> None:
    with open_bundle(plain) as bundle:
        manifest = bundle.manifest
        assert manifest.defaults.precision == "fp16"
        assert [v.precision for v in manifest.variants] == ["fp16", "fp32", "bf16"]
        for each in manifest.variants:
            assert each.weights == (f"graphs/{each.precision}.weights",)
        assert all(entry["passed"] for entry in manifest.report["variants"])
        sizes = [manifest.files[v.weights[0]].size for v in manifest.variants]
    assert sizes[0] == sizes[2] < 0.75 * sizes[1]  # modulation weights stay in float32
    results = []
    rng = np.random.default_rng(7)
    a, b, query = (rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3))
    for precision in ("fp16", "fp32"):
        with lavin.load(plain, precision=precision) as model:
            results.append(model.run(pairs=[(a, b)], query=query, steps=3, guidance=1.5).latents)
    off = np.linalg.norm(results[0] - results[1]) / np.linalg.norm(results[1])
    assert 1e-5 < off < 3e-3


def test_a_refusal_names_check_and_modules_and_leaves_nothing(
    words: list[str], tmp_path: Path
) -> None:
    sentence = (
        r"fp16 native variant is refused: .* add most: .*; let --auto search which modules to"
    )
    with pytest.raises(WorkError, match=sentence):
        export(
            [*words, "--out", str(tmp_path / "m.lavin"), *gate(tmp_path, rel_l2=1e-9)],
            standalone_mode=False,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["gate.json"]


def test_force_ships_what_is_refused_and_says_so(words: list[str], tmp_path: Path) -> None:
    out = tmp_path / "m.lavin"
    limits = gate(tmp_path, rel_l2=1e-9)
    export([*words, "--out", str(out), "--force", *limits], standalone_mode=False)
    _, report = variant(out)
    assert not report["passed"]
    assert report["forced"]


def test_auto_finds_modules_to_keep_in_fp32(words: list[str], plain: Path, tmp_path: Path) -> None:
    with open_bundle(plain) as bundle:
        worst = bundle.manifest.report["variants"][0]["rel_l2"]
    out = tmp_path / "m.lavin"
    limits = gate(tmp_path, rel_l2=0.8 * worst, factor=10)
    export([*words, "--out", str(out), "--auto", *limits], standalone_mode=False)
    stored, report = variant(out)
    assert stored.islands
    assert report["passed"]
    assert 0 < report["rel_l2"] <= 0.8 * worst


@pytest.mark.soak
def test_auto_refuses_what_no_module_mends(words: list[str], tmp_path: Path) -> None:
    """Rounding of the outputs' own inputs is left, whatever is kept in fp32."""
    limits = gate(tmp_path, rel_l2=1e-9)
    with pytest.raises(WorkError, match="refused"):
        export(
            [*words, "--out", str(tmp_path / "m.lavin"), "--auto", *limits], standalone_mode=False
        )


def test_an_overflow_is_fixed_by_its_range(words: list[str], tmp_path: Path) -> None:
    """One block's weights are scaled so that its activations leave float16."""
    source = Path(words[1])
    for name in ("stvae.pt", "config.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    state = load_file(source / "lavin_dit.safetensors")
    state["blocks.1.x_mlp.up_proj.weight"] *= 1e5
    save_file(state, tmp_path / "lavin_dit.safetensors")
    out = tmp_path / "m.lavin"
    args = [*words[2:], "--ckpt", str(tmp_path), "--out", str(out), "--precision=fp32"]
    export(args, standalone_mode=False)
    with open_bundle(out) as bundle:
        report = json.loads(bundle.read("report.json"))["variants"][0]
        assert report["gate"]["passed"]
        assert report["wide"]["range"] > 0
    with lavin.load(out, precision="fp32") as model:
        assert model.precision == "fp32"
    latents = run(out)
    assert np.isfinite(latents).all()
    assert torch.isfinite(torch.from_numpy(latents)).all()


def test_int8_is_taken_or_refused_by_its_speed(
    words: list[str], golden_tasks: Path, tmp_path: Path
) -> None:
    """How fast it is depends on the machine, so the limit is set to either side."""
    out = tmp_path / "m.lavin"
    args = [*words[:-1], "--precision=int8", "--tasks", str(golden_tasks), "--out", str(out)]
    limits = tmp_path / "gate.json"
    wide = {"rel_l2": 0.2, "cosine": 0.9, "p99": 0.3, "answer": 0.5}  # the weights are random
    limits.write_text(json.dumps({"int8": {**wide, "speedup": 1000}}))
    with pytest.raises(WorkError, match=r"int8 native variant is refused: speed .* 1000 is asked"):
        export([*args, "--gate", str(limits)], standalone_mode=False)
    assert not out.exists()
    limits.write_text(json.dumps({"int8": {**wide, "speedup": 0.001}}))
    export([*args, "--gate", str(limits)], standalone_mode=False)
    _, report = variant(out)
    assert report["passed"]
    assert 0 < report["ratio"] < 1000
    assert 1e-4 < report["rel_l2"] < 0.2  # it was quantised
    calibration = report["calibration"]
    assert isinstance(calibration, dict)
    assert len(calibration["sha256"]) == 64
    assert np.isfinite(run(out)).all()
