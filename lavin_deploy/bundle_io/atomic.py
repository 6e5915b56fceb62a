"""Files and folders that appear whole or not at all, also when the process is killed."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp"
"""Ending of every temporary name made here; the names also begin with a dot."""


def temporary_sibling(target: Path) -> Path:
    """Return a new hidden name beside ``target``, on the same file system."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY}")


def sync_file(path: Path) -> None:
    """Push a file's content to the disk."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Push a folder's list of names to the disk, where the system lets one."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_tree(path: Path) -> None:
    """Push every file and folder below ``path`` to the disk."""
    for folder, _, files in os.walk(path):
        for name in files:
            sync_file(Path(folder, name))
        sync_folder(Path(folder))


@contextmanager
def replaced_file(target: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it replaces ``target`` when the block ends well.

    Args:
        target: the file to make or to replace; its folder exists.

    Yields:
        A path beside it that does not exist yet. It is removed when the block raises.
    """
    temporary = temporary_sibling(target)
    try:
        yield temporary
        sync_file(temporary)
        os.replace(temporary, target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(new: Path, target: Path) -> None:
    """Give the folder ``new`` the name ``target``; a folder of that name is replaced and deleted.

    Where the system can swap two names at once (Linux) there is no instant without ``target``;
    elsewhere the old folder is renamed aside first, and back again if the second renaming fails.

    Args:
        new: a complete folder beside ``target``.
        target: its final name.
    """
    sync_tree(new)
    if not target.is_dir():
        os.rename(new, target)
    elif _exchange(new, target):
        shutil.rmtree(new, ignore_errors=True)
    else:
        aside = temporary_sibling(target)
        os.rename(target, aside)
        try:
            os.rename(new, target)
        except OSError:
            os.rename(aside, target)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return int(rename(here, os.fsencode(first), here, os.fsencode(second), swap)) == 0
