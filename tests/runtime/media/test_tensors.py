from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lavin_deploy.errors import WorkError
from lavin_deploy.runtime.answerer import Result
from lavin_deploy.runtime.media.tensors import picture_tensors, video_tensors

pytestmark = pytest.mark.unit


def result(index: int, side: int = 16) -> Result:
    target = np.full((side, side, 3), index % 256, np.uint8)
    latents = np.full((1, 16, 1, side // 8, side // 8), index, np.float32)
    return Result(image=target, target=target, latents=latents, pairs=1, timings={})


def test_one_file_for_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with video_tensors(path) as write:
        for index in range(3):
            write(result(index), index / 4)
        assert not path.exists()
    with np.load(path, allow_pickle=False) as arrays:
        assert len(arrays.files) == 9
        for index in range(3):
            np.testing.assert_array_equal(arrays[f"target_{index:06}"], result(index).target)
            np.testing.assert_array_equal(arrays[f"latents_{index:06}"], result(index).latents)
            assert arrays[f"time_{index:06}"] == index / 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("name", ["a.npz", "folder"])
def test_an_error_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    def run(error: BaseException | None = None) -> None:
        with video_tensors(tmp_path / name) as write:
            write(result(1), 0.0)
            if error is not None:
                raise error

    with pytest.raises(KeyboardInterrupt):
        run(KeyboardInterrupt())
    assert not list(tmp_path.iterdir())
    run()
    with pytest.raises(KeyboardInterrupt):
        run(KeyboardInterrupt())
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_one_file_takes_constant_memory(tmp_path: Path) -> None:
    levels = []
    with video_tensors(tmp_path / "a.npz") as write:
        tracemalloc.start()
        for index in range(1, 401):
            write(result(index, 64), index)
            if index % 200 == 0:
                levels.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    size = result(0, 64).target.nbytes + result(0, 64).latents.nbytes
    assert levels[1] - levels[0] < 200 * size / 5, "arrays are kept, not only the list of names"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir

    def full(hidden: Path) -> None:
        mkdir(hidden)
        (hidden / "a.npz").symlink_to("/dev/full")

    monkeypatch.setattr(Path, "mkdir", full)
    for kind in (picture_tensors, video_tensors):
        message = r"a\.npz could not be written: No space left"
        with pytest.raises(WorkError, match=message), kind(tmp_path / "a.npz") as write:
            write(result(0), 0.0)
        assert not list(tmp_path.iterdir())
