"""Sentences that both forms of a bundle share."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from lavin_deploy.bundle.manifest import MANIFEST, FileEntry
from lavin_deploy.errors import BundleError
from lavin_deploy.stand_ins import HEAD, stand_in


def limited(stream: IO[bytes], path: str, limit: int) -> bytes:
    """Return all that a stream holds; BundleError where that is more than ``limit`` bytes."""
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise BundleError(f"{path!r} in the bundle is larger than {limit} bytes.")
    return content


def check_size(path: str, size: int, entry: FileEntry, stream: IO[bytes] | None = None) -> None:
    """Compare a size; where it differs, what lies in the file's place is told by its stream."""
    if size != entry.size:
        if stream is not None:
            check_stand_in(path, stream.read(HEAD))
        raise BundleError(
            f"{path!r} in the bundle has {size} bytes where the manifest says {entry.size}; the "
            "bundle is damaged: copy or export it again."
        )


def check_stand_in(path: str, head: bytes) -> None:
    """Raise BundleError where a file's first bytes are those of something in its place."""
    if what := stand_in(head):
        raise BundleError(f"{path!r} in the bundle {what}")


def check_digest(path: str, digest: str, entry: FileEntry) -> None:
    """Raise BundleError where a sha256 (hex) is not that of the manifest."""
    if digest != entry.sha256:
        raise BundleError(
            f"{path!r} in the bundle does not have the sha256 that the manifest says; the bundle "
            "is damaged: copy or export it again."
        )


def absent(bundle: Path, path: str) -> BundleError:
    """The error of a file that a bundle has not."""
    what = "is not a bundle: it" if path == MANIFEST else "is incomplete: it"
    return BundleError(f"{str(bundle)!r} {what} has no {path!r}; copy or export it again.")


def unreadable(path: str, error: Exception) -> BundleError:
    """The error of a file that cannot be read."""
    return BundleError(f"{path!r} in the bundle cannot be read: {error}.")
