"""Tell a bundle that is being written from one whose writer was killed.

A writer holds a lock on the manifest in its temporary folder for as long as it lives; the system
gives the lock back when the process ends, however it ends.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from lavin_deploy.bundle_io.atomic import TEMPORARY
from lavin_deploy.manifest import MANIFEST


def hold(folder: Path) -> int | None:
    """Put an empty manifest into a temporary folder and lock it.

    Returns:
        The open file: closing it gives the lock back. None where the system or the file system has
        no locks; then there is no manifest either, and nobody takes the folder for abandoned.

    Raises:
        OSError: the disk refused.
    """
    hidden = folder / f".{MANIFEST}"  # so that no manifest is ever seen that is not locked yet
    handle = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    if not _lock(handle):
        os.close(handle)
        hidden.unlink()
        return None
    os.rename(hidden, folder / MANIFEST)
    return handle


def delete_abandoned(target: Path) -> None:
    """Delete the temporary folders that killed writers of ``target`` left beside it.

    Folders of living writers stay, and so does whatever cannot be deleted. Without a bundle at
    ``target`` a whole one in a temporary folder stays too: where names cannot be swapped, a writer
    killed between its two renamings leaves the old bundle so.
    """
    if not target.parent.is_dir():
        return
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}{re.escape(TEMPORARY)}")
    for folder in [path for path in target.parent.iterdir() if name.fullmatch(path.name)]:
        try:
            handle = os.open(folder / MANIFEST, os.O_RDWR)
        except OSError:
            continue
        try:
            empty = os.fstat(handle).st_size == 0
            abandoned = _lock(handle) and (empty or target.is_dir())
        finally:
            os.close(handle)
        if abandoned:
            shutil.rmtree(folder, ignore_errors=True)


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed; False where it is locked or cannot be."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
