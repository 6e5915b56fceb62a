"""Write a bundle: a folder that appears complete under its name, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from lavin_deploy.bundle.manifest import MANIFEST, FileEntry, Manifest
from lavin_deploy.bundle.paths import check_path
from lavin_deploy.errors import BundleError, WorkError
from lavin_deploy.files import delete_abandoned, put_folder, temporary_sibling
from lavin_deploy.locks import only_writer


class BundleWriter:
    """Collects files in a hidden folder beside the target, which takes its name at the end.

    The manifest is written last. When the block raises, or is left without ``finish``, the folder
    is deleted and an older bundle at ``path`` stays as it was; a killed process leaves only a
    hidden folder, which ``open_bundle`` refuses and the next writer beside it deletes.

    Example::

        with BundleWriter("edge.lavin") as writer:
            writer.add_file("tables/modulation.npy", data)
            with writing("the step"):            # WorkError if the disk is full
                export_to(writer.folder / "graphs" / "step.onnx")  # by another library
            writer.claim("graphs/step.onnx")
            writer.finish(manifest)                            # ``files`` is filled in here
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))
        self.folder: Path
        self._files: dict[str, FileEntry] = {}
        self._place = ExitStack()
        self._finished = False

    def __enter__(self) -> BundleWriter:
        """Delete what killed writers left, and make the temporary folder.

        Raises:
            BundleError: ``path`` is something that is not a bundle folder, or cannot be written.
        """
        _check_target(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            delete_abandoned(self.path.parent)
            self.folder = self._place.enter_context(temporary_sibling(self.path))
            self.folder.mkdir()
        except OSError as error:
            self._place.close()
            raise BundleError(
                f"cannot write a bundle to {str(self.path)!r}: {error.strerror}; "
                "choose a folder you may write to."
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._place.close()
        assert self._finished or kind is not None, "a BundleWriter's block ended without finish()"

    @property
    def files(self) -> Mapping[str, FileEntry]:
        """The files recorded so far, by their path in the bundle."""
        return self._files

    def add_file(self, path: str, content: bytes | Path) -> FileEntry:
        """Write one file.

        Args:
            path: relative path in the bundle.
            content: its bytes, or a file to copy.

        Returns:
            Its size and sha256.

        Raises:
            BundleError: the path is not allowed or already taken.
            WorkError: the disk refused.
        """
        target = self.folder / check_path(path)
        if target.exists():
            raise BundleError(f"{path!r} is already in the bundle being written.")
        with writing(f"{path!r} of the bundle"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
        return self.claim(path)

    def claim(self, path: str) -> FileEntry:
        """Record a file that something else wrote below ``folder``.

        Args:
            path: relative path in the bundle.

        Returns:
            Its size and sha256 as of now; it must not change any more.

        Raises:
            BundleError: the path is not allowed or there is no such file.
            WorkError: the disk refused.
        """
        file = self.folder / check_path(path)
        if not file.is_file() or file.is_symlink():
            raise BundleError(f"the bundle being written has no file {path!r}.")
        with writing(f"{path!r} of the bundle"):
            self._files[path] = hash_file(file)
        return self._files[path]

    def discard(self, path: str) -> None:
        """Delete a recorded file again."""
        del self._files[path]
        (self.folder / path).unlink()

    def finish(self, manifest: Manifest) -> Manifest:
        """Write the manifest and give the bundle its name.

        Args:
            manifest: its ``files`` is replaced by what was recorded.

        Returns:
            The manifest as read back from what was written.

        Raises:
            BundleError: the manifest contradicts itself or the files, or a file in ``folder`` was
                never recorded.
            WorkError: the disk refused.
        """
        existing = {
            Path(folder, name).relative_to(self.folder).as_posix()
            for folder, _, names in os.walk(self.folder)
            for name in names
        }
        stray = sorted(existing - {*self._files, MANIFEST})
        if stray:
            raise BundleError(f"{stray[0]!r} was written into the bundle but never claimed.")
        text = replace(manifest, files=dict(sorted(self._files.items()))).to_text()
        written = Manifest.from_text(text)
        _check_target(self.path)
        with writing(f"the bundle {str(self.path)!r}"), ExitStack() as stack:
            (self.folder / MANIFEST).write_text(text, encoding="utf-8")
            if self.path.is_dir():
                stack.enter_context(only_writer(self.path))
            put_folder(self.folder, self.path)
        self._finished = True
        return written


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn the disk's refusals in a block into sentences.

    Args:
        what: what the block writes.

    Raises:
        WorkError: the block raised an OSError, e.g. because the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise WorkError(f"writing {what} failed: {error}.") from error


def hash_file(path: Path) -> FileEntry:
    """Return size and sha256 of a file, reading it once in chunks."""
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return FileEntry(size=stream.tell(), sha256=digest.hexdigest())


def _check_target(path: Path) -> None:
    """Raise BundleError when writing would delete something that is not a bundle."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise BundleError(f"{str(path)!r} is there and no folder; choose another name.")
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).is_file():
        raise BundleError(
            f"the folder {str(path)!r} holds other files and no bundle; choose another name."
        )
