"""Locks between processes: one writer of a place at a time, readers that a writer must respect.

A lock is the system's own (``flock``) on a file or a folder, so it ends with its process, however
that ends, and leaves nothing on the disk. Where there is none (Windows, some network folders)
nothing is held, and a warning says so.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 1.0
"""Seconds of waiting after which one notice says what is waited for."""

_log = logging.getLogger(__name__)


@contextmanager
def only_writer(place: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of what several processes read, change and write.

    A folder that takes another's name while this waits is not the one that was locked: then the
    new one is.

    Args:
        place: a folder, or a file, which is made if it is missing; its folder exists.
        wait: whether to wait for another writer.

    Raises:
        BlockingIOError: there is another writer, and ``wait`` is false.
        OSError: ``place`` cannot be opened.
    """
    while True:
        handle = _opened(place)
        try:
            _take(handle, place, wait)
            if _is_still(handle, place):
                yield
                return
        finally:
            os.close(handle)


def share(folder: Path) -> int | None:
    """Lock a folder as one of many readers until the returned handle is closed.

    Waits while :func:`only_writer` or :func:`without_readers` hold it.

    Returns:
        The handle, or None where there is no such folder or there are no locks.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError:
        os.close(handle)
        return None
    return handle


def hold(folder: Path) -> int | None:
    """Keep the system from giving a folder's number to another one, until the handle is closed.

    Returns:
        The handle, or None where the system opens no folders.
    """
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError:
        return None


@contextmanager
def reader(folder: Path) -> Iterator[None]:
    """Be one of many readers of a folder, as :func:`share` does, for the length of the block."""
    handle = share(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def without_readers(folder: Path) -> Iterator[bool]:
    """Tell whether nobody shares a folder; for the length of the block nobody begins to."""
    if sys.platform == "win32":
        yield False
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:  # there are no locks: nobody shares
            yield True
        else:
            yield True
    finally:
        os.close(handle)


def try_lock(handle: int) -> bool:
    """Lock an open file until it is closed; False where it is locked or cannot be."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _opened(place: Path) -> int:
    if place.is_dir():
        return os.open(place, os.O_RDONLY)
    return os.open(place, os.O_RDWR | os.O_CREAT, 0o666)


def _is_still(handle: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(place))
    except OSError:
        return False


def _take(handle: int, place: Path, wait: bool) -> None:
    """Lock an open file until it is closed."""
    if sys.platform == "win32":
        _log.warning("%s cannot be locked: see to it that no other process writes there.", place)
        return
    import fcntl

    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not wait:
                    raise
            if time.monotonic() > deadline:
                _log.warning("another process writes to %s: waiting until it ends.", place)
                fcntl.flock(handle, fcntl.LOCK_EX)
                return
            time.sleep(0.01)
    except BlockingIOError:
        raise
    except OSError:
        _log.warning("%s cannot be locked: see to it that no other process writes there.", place)
