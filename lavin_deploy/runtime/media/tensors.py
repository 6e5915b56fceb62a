"""What the model made of a video's frames or a picture, as numpy's uncompressed .npz files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from lavin_deploy.errors import WorkError
from lavin_deploy.files import output_file, output_folder

if TYPE_CHECKING:
    from lavin_deploy.runtime.answerer import Result

FRAME_FILE = re.compile(r"\d{6,}\.npz")
"""Names of the files of a video's frames in a folder."""

Write = Callable[["Result", float], None]
"""Takes an answer and the time of its frame in seconds."""


@contextmanager
def picture_tensors(path: Path) -> Iterator[Write]:
    """Yield what writes one answer to the .npz file ``path``.

    The arrays are ``target`` (h, w, 3) uint8, ``latents`` (1, 16, T, h/8, w/8) float32 scaled and
    ``time`` () float64 in seconds.

    Raises:
        InputError: nothing can be written there.
        WorkError: the file cannot be written.
    """
    with output_file(path) as part:
        yield lambda result, seconds: _write_one(part, path, result, seconds)


@contextmanager
def video_tensors(path: Path) -> Iterator[Write]:
    """Yield what writes a video's answers, frame after frame, in constant memory.

    Where ``path`` ends with .npz it becomes one file with the arrays ``target_000000``,
    ``latents_000000``, ``time_000000``, ``target_000001`` and so on; otherwise a folder with a
    file ``000000.npz`` for each frame. Either appears whole or not at all. A folder that holds
    only such files is replaced.

    Raises:
        InputError: nothing can be written there.
        WorkError: a file cannot be written.
    """
    into = _one_file if path.suffix.lower() == ".npz" else _folder
    with into(path) as write:
        yield write


@contextmanager
def _folder(path: Path) -> Iterator[Write]:
    with output_folder(path, ours=FRAME_FILE) as part:
        count = 0

        def write(result: Result, seconds: float) -> None:
            nonlocal count
            name = f"{count:06}.npz"
            _write_one(part / name, path / name, result, seconds)
            count += 1

        yield write


@contextmanager
def _one_file(path: Path) -> Iterator[Write]:
    with output_file(path) as part:
        with _told(path):
            archive = ZipFile(part, "w", ZIP_STORED)
        count = 0

        def write(result: Result, seconds: float) -> None:
            nonlocal count
            with _told(path):
                _add(archive, result, seconds, suffix=f"_{count:06}")
            count += 1

        try:
            yield write
        except BaseException:
            with suppress(OSError):
                archive.close()
            raise
        with _told(path):
            archive.close()


def _write_one(part: Path, path: Path, result: Result, seconds: float) -> None:
    with _told(path), ZipFile(part, "w", ZIP_STORED) as archive:
        _add(archive, result, seconds)


def _add(archive: ZipFile, result: Result, seconds: float, suffix: str = "") -> None:
    time = np.array(seconds, np.float64)
    for name, array in (("target", result.target), ("latents", result.latents), ("time", time)):
        with archive.open(f"{name}{suffix}.npy", "w") as file:
            np.lib.format.write_array(file, array, allow_pickle=False)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkError(f"{path} could not be written: {error.strerror or error}.") from error
