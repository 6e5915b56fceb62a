"""What the system refuses a command: closed and full streams, places, memory; each a sentence."""

from __future__ import annotations

import copy
import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import lavin_deploy
from lavin_deploy.bundle.edit import pack
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.cli.common import command
from lavin_deploy.cli.main import lavin
from lavin_deploy.errors import InputError
from lavin_deploy.runtime.media.images import write_image
from tests.conftest import GOLDEN, ROOT
from tests.helpers.small_disk import small_disk

pytestmark = pytest.mark.cli

TOY = GOLDEN / "toy.lavin"
PROGRAM = [sys.executable, "-c", "from lavin_deploy.cli.main import lavin; lavin()"]
OF_ROOT = "--bounding-set=-dac_override,-dac_read_search"
"""What lets root open what nobody may open."""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", np.full((20, 30, 3), 99, np.uint8))
    return tmp_path / "a.png"


def shell(words: str, place: Path, before: Callable[[], None] | None = None) -> tuple[int, str]:
    """Run words in a shell; ``$L`` is the program, ``$T`` a bundle and its task."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1")
    program = f"{sys.executable} -c '{PROGRAM[2]}'"
    text = words.replace("$L", program).replace("$T", f"--bundle {TOY} --task brighten")
    done = subprocess.run(
        ["bash", "-c", text], cwd=place, env=environment, capture_output=True, preexec_fn=before
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_streams_and_a_full_stderr_change_no_answer(
    closed: str, picture: Path, tmp_path: Path
) -> None:
    code, told = shell(f"$L run $T a.png -o out.png {closed}", tmp_path)
    assert (code, "Traceback" in told, "fault" in told) == (0, False, False), told
    with lavin_deploy.load(TOY) as model:
        task = model.run("brighten", np.full((20, 30, 3), 99, np.uint8))
    from lavin_deploy.runtime.media.images import read_image

    assert read_image(tmp_path / "out.png").shape == task.image.shape
    code, _ = shell(f"$L run $T nothing.png {closed}", tmp_path)
    assert code == 2


def test_a_full_standard_output_is_an_error(picture: Path, tmp_path: Path) -> None:
    for words in ("run $T a.png -o out.png", f"inspect {TOY}", f"task list --bundle {TOY}"):
        code, told = shell(f"$L {words} > /dev/full", tmp_path)
        assert code == 1
        assert "No space left on device" in told
        assert "Traceback" not in told
        assert "Exception ignored" not in told
    code, told = shell(f"set -o pipefail; $L inspect {TOY} | head -c 0", tmp_path)
    assert code in (0, 1)
    assert not told


def test_a_folder_that_cannot_be_searched(picture: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    shutil.copy(picture, locked / "a.png")
    locked.chmod(0)
    drop = "" if os.geteuid() else f"setpriv {OF_ROOT} "
    if drop and shutil.which("setpriv") is None:
        pytest.skip("root may open everything, and setpriv is not installed")
    try:
        for words in (
            "run $T locked",
            "run $T locked/a.png",
            "run $T 'locked/*.png'",
            "run $T a.png -o locked/b.png",
            "run $T a.png -o locked",
            "run --bundle locked --task x a.png",
            "inspect locked",
            "task create x --bundle locked --pairs locked",
            "export --ckpt locked",
            "train jdit --out locked/x",
            "train jdit --out x --pairs a=locked",
            "data prepare --sources none --out locked/x",
        ):
            code, told = shell(f"{drop}$L {words}", tmp_path)
            assert code in (1, 2), (words, told)
            assert told.startswith("error: "), (words, told)
            assert "fault" not in told, (words, told)
    finally:
        locked.chmod(0o700)


def test_a_full_or_missing_place_for_temporary_files(picture: Path, tmp_path: Path) -> None:
    with open_bundle(TOY) as bundle:
        pack(bundle, tmp_path / "toy.zip")
    words = "$L run --bundle toy.zip --task brighten a.png -o out.png"

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    code, told = shell(words, tmp_path, small)
    assert code == 1
    assert "File too large; make room there or set TMPDIR to another folder" in told
    assert not (tmp_path / "out.png").exists()
    (tmp_path / "file").touch()
    for place in ("none", "file"):
        code, told = shell(f"TMPDIR={place} {words}", tmp_path)
        assert code == 1
        assert told.startswith("error: cannot make a temporary folder: ")
        assert "set TMPDIR to a folder that can be written to" in told
    with small_disk(tmp_path / "full", 16 << 10) as full:
        (full / "rest").write_bytes(bytes(12 << 10))
        code, told = shell(f"TMPDIR=full {words}", tmp_path)
        assert code == 1
        assert told.startswith("error: cannot write the temporary file 'full/lavin-")
        assert "No space left on device; make room there or set TMPDIR to another folder" in told
        assert not (tmp_path / "out.png").exists()
        assert [path.name for path in full.iterdir()] == ["rest"]


NAME = "n" * 300


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["run", "--bundle", str(TOY), "--task", "x", NAME], 2, "File name too long"),
        (["inspect", NAME], 2, "File name too long"),
        (["train", "jdit", "--out", NAME], 2, "File name too long"),
        (["train", "jdit", "--out", "a.png"], 2, "File exists"),
        (["train", "jdit", "--out", "o", "--set", "learning_rate=nan"], 2, "learning_rate is nan"),
        (["run", "--bundle", str(TOY), "--task", "brighten", "a.png", "--steps", "1000000001"],
         2, "steps is 1000000001; at most 10000"),
        (["task", "create", "x", "--bundle", str(TOY), "--pairs", "pairs",
          "--num-pairs", "1000000001"], 2, "1000000001 is not in the range 1<=x<=1000"),
        (["export", "--ckpt", str(GOLDEN), "--model-card", "latin1.txt", "--out", "o"],
         2, "latin1.txt is not UTF-8"),
    ],
)  # fmt: skip
def test_what_a_name_or_a_number_cannot_be(
    words: list[str],
    code: int,
    sentence: str,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs").mkdir()
    for role in ("input", "TARGET"):
        shutil.copy(picture, tmp_path / "pairs" / f"1_{role}.png")
    (tmp_path / "latin1.txt").write_bytes("gr\u00fcn".encode("latin-1"))
    result = CliRunner().invoke(lavin, words)
    assert result.exit_code == code, result.stderr
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert "fault" not in result.stderr


def test_a_lack_of_memory_is_no_fault_of_the_program() -> None:
    import torch

    @command()
    def greedy() -> None:
        torch.empty(1 << 60, dtype=torch.uint8)

    @command()
    def hungry() -> None:
        np.empty(1 << 60, np.uint8)

    for each in (greedy, hungry):
        result = CliRunner().invoke(each)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: the memory of this machine does not suffice")


def test_names_that_are_no_text_are_printed(picture: Path, tmp_path: Path) -> None:
    picture.rename(tmp_path / os.fsdecode(b"\xff.png"))
    code, told = shell("$L run $T $'\\xff.png' > said", tmp_path)
    assert code == 0, told
    assert (tmp_path / "said").read_bytes().startswith(rb"\udcff.brighten.png: 1 frame(s)")
    code, told = shell("PYTHONIOENCODING=ascii $L run $T $'gr\u00fcn.png'", tmp_path)
    assert code == 2
    assert "Traceback" not in told


def test_a_model_says_why_it_cannot_be_pickled(tmp_path: Path) -> None:
    with lavin_deploy.load(TOY) as model:
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(InputError, match="load it in each worker"):
                act(model)


def test_what_stands_in_the_place_of_a_task_is_named() -> None:
    frame = np.full((20, 30, 3), 99, np.uint8)
    with lavin_deploy.load(TOY) as model:
        for task, kind in ((3, "int"), (frame, "ndarray"), (b"brighten", "bytes")):
            with pytest.raises(InputError, match=f"comes before the frame; given: {kind}"):
                model.run(task, frame)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"cannot use 1\.0 pairs"):
            model.run("brighten", frame, num_pairs=1.0)  # type: ignore[arg-type]
    for wrong in (3, 1.5, []):
        with pytest.raises(InputError, match="a bundle is given by its path"):
            lavin_deploy.load(wrong)  # type: ignore[arg-type]
    for threads in ("a", 1.5, True, 0):
        with pytest.raises(InputError, match="threads is"):
            lavin_deploy.load(TOY, backend="onnxruntime", threads=threads)  # type: ignore[arg-type]
