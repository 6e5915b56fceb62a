"""Where a bundle's bytes lie: a folder, or a zip file whose entries are stored as they are.

Both refuse whatever could lead outside of the bundle or is larger than it says.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
import weakref
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from lavin_deploy.bundle.manifest import MANIFEST, FileEntry
from lavin_deploy.bundle.paths import check_inside, check_path, check_paths, is_path
from lavin_deploy.errors import BundleError
from lavin_deploy.files import TEMPORARY
from lavin_deploy.locks import hold, share

_CHUNK = 1 << 20
_OF_MACOS = "__MACOSX/"
"""Where macOS's archiver puts what it keeps about the files of a zip."""


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
                return _limited(stream, path, limit)
        except OSError as error:
            raise _unreadable(path, error) from error

    def verify(self, path: str, entry: FileEntry) -> None:
        """See :class:`Store`."""
        file = self._plain(path)
        _check_size(path, file.stat().st_size, entry)
        try:
            with open(file, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(path, error) from error
        _check_digest(path, digest, entry)

    def file(self, path: str, entry: FileEntry) -> Path:
        """See :class:`Store`."""
        file = self._plain(path)
        _check_size(path, file.stat().st_size, entry)
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
            raise _absent(self.path, path) from error
        except OSError as error:
            raise _unreadable(path, error) from error
        if not stat.S_ISREG(mode):
            raise BundleError(f"{path!r} in the bundle is not a plain file; export it again.")
        return file


class ZipStore:
    """A bundle as one zip file, its manifest at the top or in the only top folder with one.

    What the manifest does not list is never read: it may be compressed and of any name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._extracted: Path | None = None
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise BundleError(
                f"{str(path)!r} is neither a bundle folder nor a readable zip of one: {error}."
            ) from error
        try:
            self._entries = _entries(self._zip, path)
        except BaseException:
            self._zip.close()
            raise

    def read(self, path: str, limit: int) -> bytes:
        """See :class:`Store`."""
        with self._open(path) as stream:
            try:
                return _limited(stream, path, limit)
            except (zipfile.BadZipFile, OSError, EOFError) as error:
                raise _unreadable(path, error) from error

    def verify(self, path: str, entry: FileEntry) -> None:
        """See :class:`Store`."""
        self._copy(path, entry, None)

    def file(self, path: str, entry: FileEntry) -> Path:
        """See :class:`Store`."""
        if self._extracted is None:
            self._extracted = Path(tempfile.mkdtemp(prefix="lavin-"))
            weakref.finalize(self, shutil.rmtree, self._extracted, ignore_errors=True)
        target = self._extracted / check_path(path)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}{TEMPORARY}")
            with open(part, "wb") as stream:
                self._copy(path, entry, stream)
            os.replace(part, target)
        return target

    def has_changed(self) -> bool:
        """See :class:`Store`; an open file stays what it was."""
        return False

    def close(self) -> None:
        """Close the zip file and delete what was extracted."""
        self._zip.close()
        if self._extracted is not None:
            shutil.rmtree(self._extracted, ignore_errors=True)
            self._extracted = None

    def _open(self, path: str) -> IO[bytes]:
        if path not in self._entries:
            raise _absent(self.path, path)
        info = self._entries[path]
        what = f"the entry {info.filename!r} of {self.path.name!r}"
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise BundleError(
                f"{what} is compressed; a bundle's zip only stores: make it with zip -0 or with "
                "lavin_deploy.bundle.pack."
            )
        if info.flag_bits & 0x1:
            raise BundleError(f"{what} is encrypted.")
        try:
            return self._zip.open(info)
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
            raise _unreadable(path, error) from error

    def _copy(self, path: str, entry: FileEntry, target: IO[bytes] | None) -> None:
        digest = hashlib.sha256()
        with self._open(path) as stream:
            _check_size(path, self._entries[path].file_size, entry)
            try:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    if target is not None:
                        target.write(chunk)
            except (zipfile.BadZipFile, EOFError) as error:
                raise _unreadable(path, error) from error
        _check_digest(path, digest.hexdigest(), entry)


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


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by their path in the bundle; what cannot be part of one is left out.

    Raises:
        BundleError: an entry leads outside or is a link, or entries share a name or bytes.
    """
    infos = [info for info in archive.infolist() if not info.is_dir()]
    top = _top([check_inside(info.filename) for info in infos], path)
    entries = []
    for info in infos:
        name = info.filename.removeprefix(top)
        if not info.filename.startswith(top) or not is_path(name):
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise BundleError(f"the entry {info.filename!r} of {path.name!r} is a symbolic link.")
        entries.append((name, info))
    check_paths(name for name, _ in entries)
    if sum(info.compress_size for info in infos) > path.stat().st_size:
        raise BundleError(
            f"the entries of {path.name!r} overlap; the zip file is damaged or hostile."
        )
    return dict(entries)


def _top(names: Sequence[str], path: Path) -> str:
    """Return what the paths of the bundle's own entries begin with: nothing, or its only folder."""
    if MANIFEST in names:
        return ""
    found = [re.fullmatch(rf"([^/]+/){re.escape(MANIFEST)}", name) for name in names]
    tops = sorted(match[1] for match in found if match and match[1] != _OF_MACOS)
    if len(tops) > 1:
        raise BundleError(
            f"{path.name!r} holds several bundles, {tops[0][:-1]!r} and {tops[1][:-1]!r}; make a "
            "zip of each."
        )
    return tops[0] if tops else ""


def _limited(stream: IO[bytes], path: str, limit: int) -> bytes:
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise BundleError(f"{path!r} in the bundle is larger than {limit} bytes.")
    return content


def _check_size(path: str, size: int, entry: FileEntry) -> None:
    if size != entry.size:
        raise BundleError(
            f"{path!r} in the bundle has {size} bytes where the manifest says {entry.size}; the "
            "bundle is damaged: copy or export it again."
        )


def _check_digest(path: str, digest: str, entry: FileEntry) -> None:
    if digest != entry.sha256:
        raise BundleError(
            f"{path!r} in the bundle does not have the sha256 that the manifest says; the bundle "
            "is damaged: copy or export it again."
        )


def _absent(bundle: Path, path: str) -> BundleError:
    what = "is not a bundle: it" if path == MANIFEST else "is incomplete: it"
    return BundleError(f"{str(bundle)!r} {what} has no {path!r}; copy or export it again.")


def _unreadable(path: str, error: Exception) -> BundleError:
    return BundleError(f"{path!r} in the bundle cannot be read: {error}.")
