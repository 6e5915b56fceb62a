"""The one atomic writer: files and folders appear whole or not at all, also when killed.

Work goes into a hidden folder ``.lavin-XXXXXXXX.tmp`` beside the target. What is complete is pushed
to the disk and renamed to its final name. An error, Ctrl-C included, removes the hidden folder and
leaves what was there before. A killed process leaves its hidden folder behind; the next writer in
the same place deletes it. A living writer holds a lock on the file ``lock`` in its folder, which
the system gives back when the process ends, however it ends, so only folders of dead writers go.
One that is killed before it has its lock, or where there are no locks, leaves its folder for good.

``replaced_file`` and ``replaced_folder`` raise what the system raises; ``output_file`` and
``output_folder`` are the same for paths that a user named, with sentences.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.locks import try_lock

TEMPORARY = ".tmp"
"""Ending of every hidden folder that is made here."""
_HIDDEN = re.compile(rf"\.lavin-[0-9a-f]{{8}}{re.escape(TEMPORARY)}")
_LOCK, _NEW, _OLD = "lock", "new", "old"


@contextmanager
def temporary_sibling(target: Path) -> Iterator[Path]:
    """Give a place on the target's file system for what shall get its name.

    Args:
        target: a file or folder; its folder exists.

    Yields:
        A path with the target's own name in a locked hidden folder beside it. Nothing is there yet;
        whatever is there when the block ends is deleted.

    Raises:
        OSError: nothing can be written beside the target.
    """
    hidden = target.parent / f".lavin-{secrets.token_hex(4)}{TEMPORARY}"
    hidden.mkdir()
    try:
        with _locked(hidden):
            (hidden / _NEW).mkdir()
            yield hidden / _NEW / target.name
    finally:
        _discard(hidden)


@contextmanager
def replaced_file(target: Path) -> Iterator[Path]:
    """Give a path to write to; that file replaces ``target`` when the block ends well.

    Args:
        target: the file to make or to replace; its folder exists.

    Yields:
        A path of the same name, with no file there yet, on the same file system.

    Raises:
        OSError: the disk refused; ``target`` is as it was.
    """
    _sweep_once(target.parent)
    with temporary_sibling(target) as part:
        yield part
        put_file(part, target)


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Give a new empty folder that replaces the folder ``target`` when the block ends well.

    Args:
        target: the folder to make or to replace; its own folder exists.

    Raises:
        OSError: the disk refused; ``target`` is as it was.
    """
    delete_abandoned(target.parent)
    with temporary_sibling(target) as part:
        part.mkdir()
        yield part
        put_folder(part, target)


def put_file(new: Path, target: Path) -> None:
    """Push a complete file to the disk and give it the name ``target``."""
    _sync_file(new)
    os.replace(new, target)
    _sync_folder(target.parent)


def put_folder(new: Path, target: Path) -> None:
    """Push a complete folder to the disk and give it the name ``target``.

    A folder of that name goes where ``new`` was, to be deleted by whoever owns that place. Where
    the system can swap two names at once (Linux) there is no instant without ``target``; elsewhere
    the old folder is renamed first, and back again if the second renaming fails.

    Args:
        new: from :func:`temporary_sibling`.
        target: its final name.
    """
    _sync_tree(new)
    _take_name(new, target)


def delete_abandoned(folder: Path) -> None:
    """Delete the hidden folders that killed writers left in ``folder``.

    Those of living writers stay, and so does whatever cannot be deleted. An old folder whose writer
    was killed between its two renamings gets its name back.
    """
    with suppress(OSError):
        for hidden in [path for path in folder.iterdir() if _HIDDEN.fullmatch(path.name)]:
            with suppress(OSError):  # another writer is making or deleting it, or it has no lock
                handle = os.open(hidden / _LOCK, os.O_RDWR)
                try:
                    if try_lock(handle):
                        _discard(hidden)
                finally:
                    os.close(handle)


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Like :func:`replaced_file`, for a file that a user named.

    Args:
        path: where the result shall be. A symbolic link is followed, not replaced.

    Raises:
        InputError: ``path`` is no place for a file: its folder is missing or not writable, or it
            is a folder or a device.
        WorkError: the finished file could not take its name.
    """
    target = _file_target(path)
    _sweep_once(target.parent)
    with _beside(target, path) as part:
        yield part
        try:
            put_file(part, target)
        except OSError as error:
            raise WorkError(f"{path} could not be replaced: {error.strerror}.") from error


@contextmanager
def output_folder(path: Path, *, ours: re.Pattern[str] | None = None) -> Iterator[Path]:
    """Like :func:`replaced_folder`, for a folder that a user named; what is others' stays.

    Args:
        path: where the folder shall be; it must not exist, or be empty but for files of ours.
        ours: names of files that an earlier run may have left there; they are replaced.

    Raises:
        InputError: something is there already, or nothing can be written there.
        WorkError: the finished folder could not take its name.
    """
    require_folder(path, empty=True, ours=ours)
    target = Path(os.path.realpath(path))
    delete_abandoned(target.parent)
    with _beside(target, path) as part:
        try:
            part.mkdir()
        except OSError as error:
            raise _not_writable(path, error) from error
        yield part
        try:
            _sync_tree(part)
            require_folder(path, empty=True, ours=ours)  # nothing of others has come meanwhile
            _take_name(part, target)
            for entry in part.iterdir() if part.is_dir() else ():  # of the old folder
                if not _is_ours(entry, ours):
                    os.rename(entry, target / entry.name)
        except OSError as error:
            raise WorkError(f"{path} could not be created: {error.strerror}.") from error


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
        InputError: as ``output_file`` does.
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


def _take_name(new: Path, target: Path) -> None:
    if not target.is_dir():
        with suppress(FileExistsError):  # unless another writer has just made it
            _rename_new(new, target)
            _sync_folder(target.parent)
            return
    if not _exchange(new, target):
        old = new.parents[1] / _OLD / target.name
        old.parent.mkdir()
        try:
            os.rename(target, old)
            os.rename(new, target)
        except BaseException:
            if not target.exists():
                os.rename(old, target)
            raise
        os.rename(old, new)
    _sync_folder(target.parent)


def _rename_new(new: Path, target: Path) -> None:
    """Rename a folder.

    Raises:
        FileExistsError: a folder of that name holds something.
    """
    try:
        os.rename(new, target)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        raise


def _discard(hidden: Path) -> None:
    """Delete a hidden folder; first, an old folder in it whose name is free gets it back."""
    try:
        for old in (hidden / _OLD).glob("*"):
            if not (hidden.parent / old.name).exists():
                os.rename(old, hidden.parent / old.name)
    except OSError:
        return  # rather left behind than deleted
    shutil.rmtree(hidden, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for place, _, files in os.walk(folder):
        for name in files:
            _sync_file(Path(place, name))
        _sync_folder(Path(place))


def _sync_file(path: Path) -> None:
    """Push a file's content to the disk, where the file system can."""
    with open(path, "rb" if os.name == "posix" else "r+b") as stream:
        try:
            os.fsync(stream.fileno())
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise


def _sync_folder(path: Path) -> None:
    """Push a folder's list of names to the disk, where the system lets one."""
    if os.name == "posix":
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


@cache
def _sweep_once(folder: Path) -> None:
    """Delete what killed processes left, before this one writes its first file there."""
    delete_abandoned(folder)


@contextmanager
def _locked(hidden: Path) -> Iterator[None]:
    """Hold the lock of a hidden folder; without one, where there are none, nobody deletes it."""
    unlocked = hidden / f".{_LOCK}"  # so that no lock is ever seen that is not held yet
    handle = os.open(unlocked, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        if try_lock(handle):
            os.rename(unlocked, hidden / _LOCK)
        yield
    finally:
        os.close(handle)


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


@contextmanager
def _beside(target: Path, path: Path) -> Iterator[Path]:
    """A temporary sibling; that none can be made is said of ``path``."""
    with ExitStack() as stack:
        try:
            part = stack.enter_context(temporary_sibling(target))
        except OSError as error:
            raise _not_writable(path, error) from error
        yield part


def _is_ours(entry: Path, ours: re.Pattern[str] | None) -> bool:
    return ours is not None and ours.fullmatch(entry.name) is not None and entry.is_file()


def _try_in(target: Path, path: Path) -> None:
    with _beside(target, path):
        pass


def _file_target(path: Path) -> Path:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise InputError(f"{path} is a folder, but the output is one file; name the file.")
    if target.exists() and not target.is_file():
        raise InputError(f"{path} is a device or a pipe; the output must be an ordinary file.")
    return target


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
