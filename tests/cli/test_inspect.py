from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lavin_deploy.bundle.edit import pack
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.cli.inspect import inspect
from lavin_deploy.export.report.page import short
from tests.helpers import reports
from tests.helpers.bundles import edit
from tests.helpers.toy_bundle import write_toy

pytestmark = pytest.mark.cli


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    write_toy(tmp_path / "toy.lavin", sizes=((32, 32), (16, 48)))
    row = {"graph": "step", "seed": 1, "max": 3.25e-6}
    edit(tmp_path / "toy.lavin", lambda data: data.update(report={"parity": [row]}))
    return tmp_path / "toy.lavin"


def test_inspect_says_what_is_in_a_bundle(toy: Path) -> None:
    result = CliRunner().invoke(inspect, [str(toy)])
    assert result.exit_code == 0, result.stderr
    for part in (
        "toy, written by tests",
        "13 files",
        "in a folder, every sha256",
        "CC0-1.0",
        "32x32 with 1 or 2 pairs, 16x48 with 1 or 2 pairs",
        "fp32 portable: 11 graphs, joint context, pairs in sequence, ",
        "1 check against torch, largest relative deviation 3.2e-06 in step",
        "none; make one with lavin-task create",
    ):
        assert part in result.stdout, part
    assert not result.stderr


def test_inspect_says_how_the_pairs_are_taken(toy: Path) -> None:
    merged = {"context": "frozen", "pairing": "merged"}
    edit(toy, lambda data: data["variants"][0].update(merged))
    result = CliRunner().invoke(inspect, [str(toy)])
    assert "11 graphs, frozen context, pairs merged, " in result.stdout


def test_inspect_says_what_the_gate_found(toy: Path) -> None:
    variants = short(reports.report())
    edit(toy, lambda data: data["report"].update(variants=variants))
    result = CliRunner().invoke(inspect, [str(toy)])
    assert result.exit_code == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if line.startswith("  gate")] == [
        "  gate      fp32 native: passed, largest rel. L2 3.2e-06 (limit 3.0e-03), 0 modules "
        "kept in fp32",
        "  gate      fp16 native: passed, largest rel. L2 7.9e-04 (limit 3.0e-03), 2 modules "
        "kept in fp32, 1.31x fp32",
        "  gate      int8 portable: failed, written by force, largest rel. L2 4.1e-02 "
        "(limit 3.0e-03), 0 modules kept in fp32, 0.87x fp32",
        "  gate      bf16 native: failed, written by force, values that are not finite, "
        "largest rel. L2 1.0e-06 (limit 3.0e-03), 0 modules kept in fp32, "
        "not run in a runtime: bf16",
    ]
    as_json = CliRunner().invoke(inspect, [str(toy), "--json"])
    assert json.loads(as_json.stdout)["report"]["variants"] == variants


def test_inspect_of_a_bundle_without_a_gate(toy: Path) -> None:
    result = CliRunner().invoke(inspect, [str(toy)])
    assert result.exit_code == 0, result.stderr
    assert "  gate" not in result.stdout


def test_inspect_json(toy: Path, tmp_path: Path) -> None:
    with open_bundle(toy) as bundle:
        files = len(bundle.manifest.files)
        zipped = pack(bundle, tmp_path / "toy.zip")
    result = CliRunner().invoke(inspect, [str(zipped), "--json"])
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["form"] == "zip"
    assert data["verified"] == files
    assert data["defaults"]["size"] == [32, 32]
    assert data["tasks"] == []
    assert data["report"]["parity"][0]["max"] == 3.25e-6


def test_inspect_refuses_a_damaged_bundle(toy: Path) -> None:
    (toy / "tables" / "modulation.npy").write_bytes(b"")
    result = CliRunner().invoke(inspect, [str(toy)])
    assert result.exit_code == 2
    assert not result.stdout
    assert result.stderr.count("\n") == 1
    assert "has 0 bytes where the manifest says" in result.stderr


def test_inspect_refuses_a_missing_bundle(tmp_path: Path) -> None:
    result = CliRunner().invoke(inspect, [str(tmp_path / "none.lavin")])
    assert result.exit_code == 2
    assert "there is no bundle at" in result.stderr


def test_inspect_help() -> None:
    result = CliRunner().invoke(inspect, ["--help"])
    assert result.exit_code == 0
    assert "--json" in result.stdout
