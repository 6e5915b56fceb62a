from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from lavin_deploy.cli.export import export

pytestmark = pytest.mark.cli


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--ckpt", "nowhere"], "no checkpoint at"),
        (["--ckpt", "CKPT", "--size", "64"], "is not HxW"),
        (["--ckpt", "CKPT", "--size", "40x64"], "multiples of 16"),
        (["--ckpt", "CKPT", "--pairs", "0"], "at least 1"),
        (["--ckpt", "CKPT", "--pairs", "1000000001"], "at most 1024 can be exported"),
        (["--ckpt", "CKPT", "--clip", "1000000001"], "at most 1025 can be exported"),
        (["--ckpt", "CKPT", "--stream", "1000000001"], "at most 256 can be exported"),
        (["--ckpt", "CKPT", "--refresh", "9999999"], "at most 10000 can be exported"),
        (["--ckpt", "CKPT", "--size", "99984x99984"], "at most 16384 can be exported"),
        (["--ckpt", "CKPT", "--guidance", "nan"], "it is a finite number"),
        (["--ckpt", "CKPT", "--steps", "4"], "the nearest is 3 or 5"),
        (["--ckpt", "CKPT", "--precision", "fp61"], "Did you mean 'fp16'"),
        (["--ckpt", "CKPT", "--precision", "int8"], "give --tasks or --calibration"),
        (["--ckpt", "CKPT", "--calibration", "nowhere"], "--calibration nowhere is not a folder"),
        (["--ckpt", "CKPT", "--precision", "fp16", "--gate", "nowhere"], "cannot be read"),
        (["--ckpt", "CKPT", "--dialect", "naive"], "Did you mean 'native'"),
        (["--ckpt", "CKPT", "--precision", "fp16", "--precision", "fp16"], "given twice"),
        (["--ckpt", "CKPT", "--tasks", "nowhere"], "a folder per task"),
        (["--ckpt", "CKPT", "--model-card", "nowhere"], "does not exist"),
        ([], "--ckpt"),
    ],
)
def test_wrong_input(golden: Path, tmp_path: Path, words: list[str], sentence: str) -> None:
    arguments = [str(golden) if word == "CKPT" else word for word in words]
    out = tmp_path / "out.lavin"
    result = CliRunner().invoke(export, [*arguments, "--out", str(out)])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not out.exists()
    assert not list(tmp_path.iterdir())


def test_help() -> None:
    result = CliRunner().invoke(export, ["--help"])
    assert result.exit_code == 0
    assert "--ckpt" in result.output
