"""Places for results: checked before the work, filled whole or not at all.

Work goes to a hidden file beside the target, which takes the target's name once it is complete.
An error, Ctrl-C included, removes it, and an older file of that name stays as it was.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lavin_deploy.errors import InputError, WorkError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty file beside ``path`` that replaces it when the block ends without an error.

    Args:
        path: where the result shall be. A symbolic link is followed, not replaced.

    Yields:
        The temporary file, on the same file system and with the same suffix.

    Raises:
        InputError: ``path`` is no place for a file: its folder is missing or not writable, or it
            is a folder or a device.
        WorkError: the finished file could not take its name.
    """
    target = _file_target(path)
    part = _part_name(target)
    try:
        try:
            part.touch(exist_ok=False)
        except OSError as error:
            raise _not_writable(path, error) from error
        yield part
        try:
            os.replace(part, target)
        except OSError as error:
            raise WorkError(f"{path} could not be replaced: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, *, ours: re.Pattern[str] | None = None) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that takes its name when the block ends without error.

    Args:
        path: where the folder shall be; it must not exist, or be empty but for files of ours.
        ours: names of files that an earlier run may have left there; they are replaced.

    Raises:
        InputError: something is there already, or nothing can be written there.
        WorkError: the finished folder could not take its name.
    """
    require_folder(path, empty=True, ours=ours)
    target = Path(os.path.realpath(path))
    part, old = _part_name(target), _part_name(target)
    try:
        try:
            part.mkdir()
        except OSError as error:
            raise _not_writable(path, error) from error
        yield part
        try:
            if not target.is_dir():
                os.rename(part, target)
                return
            require_folder(path, empty=True, ours=ours)  # nothing of others has come meanwhile
            try:
                os.rename(target, old)
                os.rename(part, target)
            except BaseException:
                if not target.exists():
                    os.rename(old, target)
                raise
            with suppress(OSError):
                _remove(old, ours)
        except OSError as error:
            raise WorkError(f"{path} could not be created: {error.strerror}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def kept_folder(path: Path) -> Iterator[Path]:
    """Make sure that a folder is there for files that are each whole or not at all.

    A folder that was made for nothing, because the block raised before it wrote, is removed.

    Raises:
        InputError: the folder cannot be made.
    """
    made = not path.exists()
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        yield path
    finally:
        if made and not any(path.iterdir()):
            path.rmdir()


def require_writable(path: Path) -> None:
    """Find out now, not after the work, whether a file can be written at ``path``.

    Raises:
        InputError: as ``replacing`` does.
    """
    _try_in(_file_target(path), path)


def require_folder(path: Path, *, empty: bool, ours: re.Pattern[str] | None = None) -> None:
    """Find out now whether a folder at ``path`` can be made, or is there and can be written to.

    Args:
        path: the folder.
        empty: whether it must be new or empty.
        ours: names of files that may be in it all the same.

    Raises:
        InputError: it cannot.
    """
    target = Path(os.path.realpath(path))
    if not target.exists():
        _try_in(target, path)
    elif not target.is_dir():
        raise InputError(f"{path} is a file, but the output is a folder; name a folder.")
    elif empty and not all(_is_ours(entry, ours) for entry in target.iterdir()):
        raise InputError(f"{path} is not empty; name a new folder.")
    else:
        _try_in(target / "file", path)


def _is_ours(entry: Path, ours: re.Pattern[str] | None) -> bool:
    return ours is not None and ours.fullmatch(entry.name) is not None and entry.is_file()


def _remove(folder: Path, ours: re.Pattern[str] | None) -> None:
    """Delete a folder and the files of ours in it, never anything else."""
    for entry in folder.iterdir():
        if _is_ours(entry, ours):
            entry.unlink()
    folder.rmdir()


def _try_in(target: Path, path: Path) -> None:
    part = _part_name(target)
    try:
        part.touch(exist_ok=False)
        part.unlink()
    except OSError as error:
        raise _not_writable(path, error) from error


def _file_target(path: Path) -> Path:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise InputError(f"{path} is a folder, but the output is one file; name the file.")
    if target.exists() and not target.is_file():
        raise InputError(f"{path} is a device or a pipe; the output must be an ordinary file.")
    return target


def _part_name(target: Path) -> Path:
    return target.with_name(f".lavin-{secrets.token_hex(6)}.part{target.suffix}")


def _not_writable(path: Path, error: OSError) -> InputError:
    parent = Path(path).parent
    if not parent.exists():
        return InputError(
            f"{path} cannot be written: the folder {parent} does not exist; "
            "create it or choose another output."
        )
    return InputError(
        f"{path} cannot be written: {error.strerror or error}; choose another output."
    )
