"""Where a bundle's bytes lie: what a store gives, and the store that is a folder.

All refuse whatever could lead outside of the bundle or is larger than it says.
"""

from __future__ import annotations

import hashlib
import os
import stat
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lavin_deploy.bundle.manifest import MANIFEST, FileEntry
from lavin_deploy.bundle.paths import check_path
from lavin_deploy.bundle.store_errors import absent, check_digest, check_size, limited, unreadable
from lavin_deploy.errors import BundleError
from lavin_deploy.files import TEMPORARY
from lavin_deploy.locks import hold, share


class Store(Protocol):
    """Read access to the files of one bundle by their checked relative paths."""

    path: Path

    def read(self, path: str, limit: int) -> bytes:
        """Return a file's content; BundleError if it is absent or over ``limit`` bytes."""

    def verify(self, path: str, entry: FileEntry) -> None:
        """Raise BundleError unless a file has the size and sha256 of ``entry``."""

    def file(self, path: str, entry: FileEntry) -> Path:
        """Return a real file with the content; verified if it had to be extracted."""

    def has_changed(self) -> bool:
        """Whether another bundle, or another manifest, lies at ``path`` by now."""

    def close(self) -> None:
        """Give back what was opened or extracted."""


class FolderStore:
    """A bundle as a folder. Symbolic links inside it are refused.

    Files of tasks that are replaced meanwhile stay until ``close``; of a bundle that was replaced
    as a whole nothing more is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.name.startswith(".") and path.name.endswith(TEMPORARY):
            raise BundleError(
                f"{path.name!r} is what an unfinished export left; delete it and export again."
            )
        self._root, self._manifest = os.stat(path), _version(path / MANIFEST)
        handles = [handle for handle in (hold(path), share(path / "tasks")) if handle is not None]
        self._release = weakref.finalize(self, _close, handles)

    def read(self, path: str, limit: int) -> bytes:
        """See :class:`Store`."""
        file = self._plain(path)
        try:
            with open(file, "rb") as stream:
                return limited(stream, path, limit)
        except OSError as error:
            raise unreadable(path, error) from error

    def verify(self, path: str, entry: FileEntry) -> None:
        """See :class:`Store`."""
        file = self._plain(path)
        try:
            with open(file, "rb") as stream:
                check_size(path, file.stat().st_size, entry, stream)
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(path, error) from error
        check_digest(path, digest, entry)

    def file(self, path: str, entry: FileEntry) -> Path:
        """See :class:`Store`."""
        file = self._plain(path)
        check_size(path, file.stat().st_size, entry)
        return file

    def has_changed(self) -> bool:
        """See :class:`Store`."""
        return not self._is_mine() or _version(self.path / MANIFEST) != self._manifest

    def close(self) -> None:
        """Let go of the bundle that was there at first, and of what its tasks had."""
        self._release()

    def _is_mine(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), self._root)
        except OSError:
            return True  # that it cannot be read is said of its files

    def _plain(self, path: str) -> Path:
        """Return where a file lies, having looked at every part of the way for links."""
        file = self.path
        mode = 0
        try:
            if not self._is_mine():
                raise BundleError(
                    f"the bundle {str(self.path)!r} was replaced since it was opened; open it "
                    "again."
                )
            for part in check_path(path).split("/"):
                file = file / part
                mode = os.lstat(file).st_mode
                if stat.S_ISLNK(mode):
                    raise BundleError(
                        f"{path!r} in the bundle is or lies behind a symbolic link; a bundle holds "
                        "plain files only: copy it with its links resolved (cp -rL)."
                    )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise absent(self.path, path) from error
        except OSError as error:
            raise unreadable(path, error) from error
        if not stat.S_ISREG(mode):
            raise BundleError(f"{path!r} in the bundle is not a plain file; export it again.")
        return file


def _close(handles: Sequence[int]) -> None:
    for handle in handles:
        os.close(handle)


def _version(file: Path) -> tuple[int, int, int] | None:
    """What tells a file from the one that replaces it, or None where there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
