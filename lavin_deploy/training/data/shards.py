"""Shards: samples in tar files, all files of a sample side by side under one key.

The layout is that of WebDataset (https://github.com/webdataset/webdataset): a member's key is its
name up to the first dot, the rest is its extension, and members of one key are neighbours. Any tar
reader reads them; the ``webdataset`` library does too.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from lavin_deploy.errors import InputError
from lavin_deploy.files import delete_abandoned, put_file, temporary_sibling

FORMAT = 2
"""Number of the layout and content of what ``prepare`` writes; another one prepares anew."""

SHARD_SAMPLES = 256


class _OpenShard:
    """A shard that is being written: its final path, where it is now, and what it holds so far."""

    def __init__(self, path: Path) -> None:
        self.path, self.samples = path, 0
        with ExitStack() as stack:
            self.part = stack.enter_context(temporary_sibling(path))
            self.tar = tarfile.open(self.part, "w")  # noqa: SIM115 the writer closes it
            self.place = stack.pop_all()


class ShardWriter:
    """Write samples into ``folder/<group>-<number>.tar``; a shard has its name once it is whole.

    Use it as a context: leaving it names the last shards, or removes them after an error.

    Args:
        folder: where; made if missing.
        taken: names of shards that are to be kept.
    """

    def __init__(self, folder: Path, taken: Collection[str]) -> None:
        self._folder = folder
        self._taken = set(taken)
        self._open: dict[str, _OpenShard] = {}
        folder.mkdir(parents=True, exist_ok=True)
        delete_abandoned(folder)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with ExitStack() as stack:  # all of them, also when one fails
            for group in list(self._open):
                stack.callback(self._finish, group, keep=error is None)

    def add(self, group: str, key: str, files: Mapping[str, bytes]) -> str:
        """Append a sample and return its shard's name.

        Args:
            group: e.g. ``"photo-train"``.
            key: of the sample; without a dot.
            files: contents by extension, e.g. ``"jpg"``, ``"target.png"``.
        """
        if group in self._open and self._open[group].samples >= SHARD_SAMPLES:
            self._finish(group, keep=True)
        if group not in self._open:
            number = 0
            while f"{group}-{number:06d}.tar" in self._taken:
                number += 1
            fresh = f"{group}-{number:06d}.tar"
            self._taken.add(fresh)
            self._open[group] = _OpenShard(self._folder / fresh)
        shard = self._open[group]
        for extension, content in files.items():
            info = tarfile.TarInfo(f"{key}.{extension}")
            info.size = len(content)
            shard.tar.addfile(info, io.BytesIO(content))
        shard.samples += 1
        return shard.path.name

    def _finish(self, group: str, keep: bool) -> None:
        shard = self._open.pop(group)
        with shard.place:
            shard.tar.close()
            if keep:
                put_file(shard.part, shard.path)


class Shards:
    """Random access to the members of a folder's shards; each shard is indexed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: dict[str, dict[str, tuple[int, int]]] = {}

    def read(self, path: str) -> bytes:
        """Return a member's bytes.

        Args:
            path: ``<shard>/<member>``.

        Raises:
            InputError: the shard is missing or damaged, or has no such member.
        """
        shard, _, member = path.partition("/")
        try:
            if shard not in self._index:
                with tarfile.open(self._folder / shard, "r:") as tar:
                    self._index[shard] = {m.name: (m.offset_data, m.size) for m in tar}
            start, size = self._index[shard][member]
            with (self._folder / shard).open("rb") as file:
                file.seek(start)
                content = file.read(size)
        except (OSError, tarfile.TarError, KeyError) as error:
            raise InputError(
                f"{self._folder / shard} does not hold {member!r} ({error}); prepare the folder "
                "again with 'lavin-data prepare'."
            ) from error
        return content
