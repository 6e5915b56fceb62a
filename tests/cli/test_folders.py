"""``lavin-run`` on a folder with files that cannot be answered, and again on the same folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lavin_deploy.cli.run import run
from lavin_deploy.runtime.media.images import write_image
from tests.conftest import GOLDEN
from tests.helpers.videos import write_video

pytestmark = pytest.mark.cli


def lavin_run(*words: object) -> Result:
    fixed = ["--bundle", str(GOLDEN / "toy.lavin"), "--task", "brighten"]
    return CliRunner().invoke(run, [*map(str, words), *fixed])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures and a video, and before and between them: text, half a PNG, half a video."""
    place = tmp_path / "in"
    place.mkdir()
    grey = np.full((40, 56, 3), 99, np.uint8)
    for name in ("b.png", "d.png"):
        write_image(place / name, grey)
    (place / "a.jpg").write_text("no picture")
    (place / "c.png").write_bytes((place / "b.png").read_bytes()[:60])
    write_video(place / "e.mp4", 3)
    whole = write_video(tmp_path / "whole.mp4", 9).read_bytes()
    (place / "f.mp4").write_bytes(whole[: len(whole) // 2])
    return place


BAD = ("a.jpg", "c.png", "f.mp4")


def test_a_bad_file_does_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = lavin_run(folder, "-o", out, "--data", tmp_path / "data")
    assert result.exit_code == 3
    assert names(out) == ["b.png", "d.png", "e.mp4"]
    assert names(tmp_path / "data") == ["b.png.npz", "d.png.npz", "e.mp4"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 4
    for name, line in zip(BAD, errors, strict=False):
        assert str(folder / name) in line
        assert "fault" not in line
    assert errors[3] == "error: 3 of 6 files got no answer."
    assert result.stdout.startswith(f"{out}: 5 frame(s) 56x40 ")


def test_json_names_what_failed(folder: Path, tmp_path: Path) -> None:
    result = lavin_run(folder, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert [Path(each["input"]).name for each in report["failed"]] == list(BAD)
    assert all(each["error"].endswith(".") for each in report["failed"])
    assert report["frames"] == 5


def test_where_none_is_answered_the_work_failed(folder: Path, tmp_path: Path) -> None:
    for name in ("b.png", "d.png", "e.mp4"):
        (folder / name).unlink()
    result = lavin_run(folder, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "error: 3 of 3 files got no answer." in result.stderr
    assert not (tmp_path / "out").exists()
    assert not result.stdout


def test_a_wrong_option_is_said_once_and_not_of_every_file(folder: Path, tmp_path: Path) -> None:
    for words in (["--guidance", "nan"], ["--pairs", "99"], ["--steps", "1000000001"]):
        result = lavin_run(folder, "-o", tmp_path / "out", *words)
        assert result.exit_code == 2, result.stderr
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_running_again_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert lavin_run(folder, "-o", out).exit_code == 3
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    write_image(folder / "c.png", np.full((40, 56, 3), 99, np.uint8))
    again = lavin_run(folder, "-o", out, "--skip-existing")
    assert again.exit_code == 3
    assert "3 file(s) left out: their results are there already." in again.stderr
    assert "2 of 3 files got no answer" in again.stderr
    assert names(out) == ["b.png", "c.png", "d.png", "e.mp4"]
    assert all((out / name).stat().st_mtime_ns == time for name, time in before.items())
    for name in ("a.jpg", "f.mp4"):
        (folder / name).unlink()
    assert lavin_run(folder, "-o", out, "--skip-existing").exit_code == 0
    with_data = lavin_run(folder, "-o", out, "--skip-existing", "--data", tmp_path / "data")
    assert with_data.exit_code == 0
    assert names(tmp_path / "data") == ["b.png.npz", "c.png.npz", "d.png.npz", "e.mp4"]


def test_one_file_that_is_there_is_left_out(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    for count in (0, 1):
        result = lavin_run(folder / "b.png", "-o", out, "--skip-existing", "--json")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["frames"] == 1 - count
