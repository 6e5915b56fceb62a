"""What INPUT of a command names: a picture, a video, or many of them by folder or pattern."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.media.animations import is_animation
from lavin_deploy.runtime.media.images import READABLE, is_hevc, open_image

Kind = Literal["image", "animation", "video"]

IMAGE_SUFFIXES = tuple(suffix for suffixes in READABLE.values() for suffix in suffixes)
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg"),
    *(".flv", ".wmv", ".3gp", ".ogv", ".mxf", ".y4m"),
)
_MAY_MOVE = (".png", ".apng", ".webp", ".gif", ".avif")
_ACCEPTED = "name an image, a video, a folder of them, or a pattern such as 'clips/*.mp4'"


@dataclass(frozen=True)
class MediaFile:
    """One file to work on.

    Attributes:
        path: where it is.
        kind: what it is taken for; reading it proves it. A picture that moves is an animation.
        name: its path relative to the folder given, which its result repeats.
    """

    path: Path
    kind: Kind
    name: Path


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything INPUT names.

    Attributes:
        files: at least one, sorted by path.
        folder: the folder that holds them all if INPUT was a folder or pattern, else None.
        skipped: number of files there that are neither pictures nor videos by their suffix.
    """

    files: tuple[MediaFile, ...]
    folder: Path | None = None
    skipped: int = 0


def find_inputs(argument: str) -> Inputs:
    """Find the files that an argument names.

    Args:
        argument: path of an image or a video, of a folder that holds some (not searched deeper), or
            a pattern with ``*``, ``?``, ``[...]`` or ``**``.

    Raises:
        InputError: there is no such file, nothing in the folder to work on, or the source is of a
            kind that this version does not read (camera, URL, standard input).
    """
    if not argument:  # as an unset variable leaves it, which would be the whole folder
        raise InputError(f"the input has no name; {_ACCEPTED}.")
    path = Path(argument)
    if path.is_dir():
        return _many([entry for entry in path.iterdir() if entry.is_file()], path, argument)
    if path.is_file():
        return Inputs(files=(MediaFile(path, kind_of(path), Path(path.name)),))
    if argument == "-" or argument.isdecimal() or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", argument):
        what = {"-": "standard input"}.get(
            argument, "a camera" if argument.isdecimal() else "a URL"
        )
        raise InputError(
            f"the input {argument!r} is {what}, which this version does not read; {_ACCEPTED}."
        )
    if glob.has_magic(argument):
        matches = [Path(name) for name in glob.glob(argument, recursive=True)]
        files = [entry for entry in matches if entry.is_file()]
        if not files:
            raise InputError(f"no file matches {argument!r}; {_ACCEPTED}.")
        folder = Path(os.path.commonpath([entry.parent.absolute() for entry in files]))
        return _many(files, folder, argument)
    if path.exists():
        raise InputError(f"{argument} is a device or a pipe; {_ACCEPTED}.")
    raise InputError(f"{argument} does not exist; {_ACCEPTED}.")


def kind_of(path: Path) -> Kind:
    """Tell whether a file is a picture or a video, by its suffix or else by its content.

    Raises:
        InputError: it is neither.
    """
    kind = _kind_by_suffix(path)
    if kind is not None:
        return kind
    if is_hevc(path) or _is_picture(path):
        return "animation" if is_animation(path) else "image"
    from lavin_deploy.runtime.video.container import open_input

    try:
        open_input(path).close()
    except InputError as error:
        raise InputError(f"{path} is neither an image nor a video; {_ACCEPTED}.") from error
    return "video"


def _many(paths: list[Path], folder: Path, argument: str) -> Inputs:
    files, skipped = [], 0
    for path in sorted(path for path in paths if not path.name.startswith(".")):
        kind = _kind_by_suffix(path)
        if kind is None:
            skipped += 1
        else:
            name = path.absolute().relative_to(folder.absolute())
            files.append(MediaFile(path, kind, name))
    if not files:
        raise InputError(f"{argument} holds no image and no video; {_ACCEPTED}.")
    return Inputs(files=tuple(files), folder=folder, skipped=skipped)


def _kind_by_suffix(path: Path) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    if suffix in _MAY_MOVE and is_animation(path):
        return "animation"
    return "image" if suffix in IMAGE_SUFFIXES else None


def _is_picture(path: Path) -> bool:
    try:
        with open_image(path):
            return True
    except InputError:
        return False
