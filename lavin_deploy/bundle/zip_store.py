"""A bundle as one zip file whose entries are stored as they are."""

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
from typing import IO

from lavin_deploy.bundle.manifest import MANIFEST, FileEntry
from lavin_deploy.bundle.paths import check_inside, check_path, check_paths, is_path
from lavin_deploy.bundle.store_errors import absent, check_digest, check_size, limited, unreadable
from lavin_deploy.errors import BundleError, WorkError
from lavin_deploy.files import TEMPORARY
from lavin_deploy.stand_ins import HEAD, stand_in

_CHUNK = 1 << 20
_OF_MACOS = "__MACOSX/"
"""Where macOS's archiver puts what it keeps about the files of a zip."""


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
            if what := stand_in(_head(path)):
                raise BundleError(f"{str(path)!r} {what}") from error
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
                return limited(stream, path, limit)
            except (zipfile.BadZipFile, OSError, EOFError) as error:
                raise unreadable(path, error) from error

    def verify(self, path: str, entry: FileEntry) -> None:
        """See :class:`Store`."""
        self._copy(path, entry, None)

    def file(self, path: str, entry: FileEntry) -> Path:
        """See :class:`Store`."""
        if self._extracted is None:
            self._extracted = _temporary_folder()
            weakref.finalize(self, shutil.rmtree, self._extracted, ignore_errors=True)
        target = self._extracted / check_path(path)
        if not target.exists():
            part = target.with_name(f".{target.name}{TEMPORARY}")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(part, "wb") as stream:
                    self._copy(path, entry, stream)
                os.replace(part, target)
            except OSError as error:
                raise WorkError(
                    f"cannot write the temporary file {str(part)!r}: {error.strerror or error}; "
                    "make room there or set TMPDIR to another folder."
                ) from error
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
            raise absent(self.path, path)
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
            raise unreadable(path, error) from error

    def _copy(self, path: str, entry: FileEntry, target: IO[bytes] | None) -> None:
        digest = hashlib.sha256()
        with self._open(path) as stream:
            check_size(path, self._entries[path].file_size, entry, stream)
            try:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    if target is not None:
                        target.write(chunk)
            except (zipfile.BadZipFile, EOFError) as error:
                raise unreadable(path, error) from error
        check_digest(path, digest.hexdigest(), entry)


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(HEAD)
    except OSError:
        return b""


def _temporary_folder() -> Path:
    try:
        # Named, so that a place that the user chose is not replaced by another one silently.
        return Path(tempfile.mkdtemp(prefix="lavin-", dir=os.environ.get("TMPDIR") or None))
    except OSError as error:
        raise WorkError(
            f"cannot make a temporary folder: {error.strerror or error}; set TMPDIR to a folder "
            "that can be written to."
        ) from error


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
