"""Open, check and read a bundle: a folder ``NAME.lavin/`` or one stored zip file of it.

Everything is verified when a bundle is opened: the manifest's format, every path, and the size and
sha256 of every listed file. Files that the manifest does not list are never read.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.bundle.manifest import MANIFEST, Graph, Manifest, Variant
from lavin_deploy.bundle.store import FolderStore, Store
from lavin_deploy.bundle.store_errors import check_stand_in
from lavin_deploy.bundle.zip_store import ZipStore
from lavin_deploy.errors import BundleError
from lavin_deploy.limits import LIMITS
from lavin_deploy.stand_ins import HEAD

MANIFEST_LIMIT = LIMITS.manifest_bytes
"""Largest manifest that is read, in bytes."""


class Bundle:
    """A verified bundle, open for reading; made by :func:`open_bundle`.

    A context manager: the zip form keeps extracted files in a temporary folder until ``close``.

    Attributes:
        path: the folder or the zip file.
        manifest: the parsed manifest.
    """

    def __init__(self, store: Store, manifest: Manifest, text: bytes) -> None:
        self.path = store.path
        self.manifest = manifest
        self._store = store
        self._text = text

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def with_manifest(self, manifest: Manifest) -> Bundle:
        """Return the same files under another manifest, for a bundle that is being written."""
        return Bundle(self._store, manifest, manifest.to_text().encode())

    def close(self) -> None:
        """Delete what was extracted; paths that ``file`` gave become invalid for the zip form."""
        self._store.close()

    def manifest_text(self) -> bytes:
        """Return the manifest as it was read when the bundle was opened, unknown keys included."""
        return self._text

    def verify(self) -> None:
        """Hash every listed file.

        Raises:
            BundleError: a file is missing, no plain file, or differs in size or sha256.
        """
        for path, entry in self.manifest.files.items():
            self._store.verify(path, entry)

    def read(self, path: str) -> bytes:
        """Return the content of a listed file.

        Raises:
            BundleError: the manifest does not list it, or it can no longer be read or is another.
        """
        entry = self.manifest.files[self._listed(path)]
        content = self._store.read(path, entry.size)
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise BundleError(
                f"{path!r} in the bundle {self.path.name!r} was changed since it was opened; open "
                "it again."
            )
        return content

    def file(self, path: str) -> Path:
        """Return a real file with the content of a listed file, for libraries that need one.

        The zip form extracts and verifies it, in the bundle's own layout of folders.

        Raises:
            BundleError: the manifest does not list it, or it can no longer be read.
        """
        return self._store.file(self._listed(path), self.manifest.files[path])

    def array(self, path: str) -> NDArray[np.generic]:
        """Return the array in a listed .npy file; pickles are refused.

        Raises:
            BundleError: as ``read``, or the file is no plain .npy.
        """
        content = self.read(path)
        try:
            array: NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise ValueError("it holds several arrays")
        except (ValueError, EOFError, OSError) as error:
            raise BundleError(f"{path!r} is not a .npy array of numbers: {error}.") from error
        return array

    def variant(self, precision: str | None = None, dialect: str | None = None) -> Variant:
        """Return the first variant of that precision and dialect.

        Args:
            precision: ``"fp32"``, ...; None takes the manifest's default precision.
            dialect: ``"native"``, ``"portable"``; None takes the first there is.

        Raises:
            BundleError: there is none; the message lists what there is.
        """
        name = precision or self.manifest.defaults.precision
        for variant in self.manifest.variants:
            if variant.precision == name and dialect in (None, variant.dialect):
                return variant
        what = f"{name} {dialect}" if dialect else name
        listed = _listing(f"{v.precision} {v.dialect}" for v in self.manifest.variants)
        raise BundleError(
            f"the bundle {self.path.name!r} has no {what} variant; it has: {listed}. Choose one of "
            "them or export it with lavin-export."
        )

    def graph_file(self, variant: Variant, graph: Graph) -> Path:
        """Return the ONNX file of a graph, its external weight files in place beside it."""
        for path in variant.weights:
            self.file(path)
        return self.file(graph.file)

    def _listed(self, path: str) -> str:
        if path not in self.manifest.files:
            raise BundleError(f"the bundle {self.path.name!r} lists no file {path!r}.")
        return path


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Open a bundle and verify all of it.

    Args:
        path: a folder with a ``manifest.json``, or a zip file of such a folder whose entries are
            stored without compression.

    Returns:
        The bundle; close it or use it as a context manager.

    Raises:
        BundleError: it is missing, unfinished, damaged, unsafe, or of an unknown format.
    """
    place = Path(path)
    if not place.exists():
        near = place.with_name(place.name + ".lavin")
        hint = f" Did you mean {str(near)!r}?" if near.exists() else ""
        raise BundleError(
            f"there is no bundle at {str(path)!r}; give a folder NAME.lavin or a zip of one.{hint}"
        )
    while True:
        store = FolderStore(place) if place.is_dir() else ZipStore(place)
        try:
            text = store.read(MANIFEST, MANIFEST_LIMIT)
            check_stand_in(MANIFEST, text[:HEAD])
            bundle = Bundle(store, Manifest.from_text(text), text)
            bundle.verify()
            return bundle
        except BaseException as error:
            changed = isinstance(error, BundleError) and store.has_changed()
            store.close()
            if not changed:  # meanwhile by another process: then it is whole the next time
                raise


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
