"""Change a bundle that exists: pack it into one file, add a task to it.

Writers of one bundle wait for each other. What a task of before had stays as long as a reader has
the bundle open, and goes with a later change.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lavin_deploy.bundle.manifest import MANIFEST, Manifest, TaskEntry
from lavin_deploy.bundle.paths import check_path, check_task_name
from lavin_deploy.bundle.strict_json import parse
from lavin_deploy.errors import BundleError, InputError, WorkError
from lavin_deploy.files import replaced_file, replaced_folder
from lavin_deploy.locks import only_writer, without_readers

if TYPE_CHECKING:
    from lavin_deploy.bundle.reader import Bundle

TASK_FILE = "task.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(bundle: Bundle, target: str | os.PathLike[str]) -> Path:
    """Write a bundle as one stored zip file; equal bundles give equal files.

    Args:
        bundle: an open bundle of either form.
        target: the zip file; replaced only when the new one is complete.

    Returns:
        The path of the zip file.

    Raises:
        InputError: ``target`` is a folder or its folder does not exist.
        WorkError: the disk refused.
    """
    path = Path(target)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(
            f"cannot write a zip file to {str(path)!r}; give a file in a folder that exists."
        )
    try:
        with replaced_file(path) as part, zipfile.ZipFile(part, "x", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(MANIFEST, _EPOCH), bundle.manifest_text())
            for name, entry in sorted(bundle.manifest.files.items()):
                info = zipfile.ZipInfo(name, _EPOCH)
                info.file_size = entry.size
                with open(bundle.file(name), "rb") as source, archive.open(info, "w") as stream:
                    shutil.copyfileobj(source, stream, 1 << 20)
    except OSError as error:
        raise WorkError(f"writing {str(path)!r} failed: {error}.") from error
    return path


def add_task(
    folder: str | os.PathLike[str],
    name: str,
    files: Mapping[str, bytes],
    *,
    replace: bool = False,
    made_for: Manifest | None = None,
) -> TaskEntry:
    """Add a task to a bundle folder: its files first, then the manifest, replaced in one step.

    A process that is killed on the way leaves the bundle as it was; several at once wait for each
    other. Keys of the manifest that this version does not know are kept.

    Args:
        folder: a bundle in its folder form.
        name: the task's name.
        files: content by name inside the task's folder, with ``task.json`` among them.
        replace: whether a task of that name may be there already; its files are deleted, later if
            a reader has the bundle open.
        made_for: manifest of the bundle whose encoder made the files; None adds them to any.

    Returns:
        The task's entry in the manifest.

    Raises:
        InputError: the name cannot be used, or is taken.
        BundleError: there is no bundle folder, or its manifest is damaged.
        WorkError: the disk refused, or the bundle has other graphs by now.
    """
    check_task_name(name)
    assert TASK_FILE in files, "a task needs its task.json"
    root = Path(folder)
    if root.is_file():
        raise BundleError(
            f"{str(root)!r} is a packed bundle; unzip it to add a task, then pack it."
        )
    with _changing(root):
        data = _read(root)
        if made_for is not None and _graphs(made_for) != _graphs(Manifest.from_dict(data)):
            raise WorkError(
                f"{str(root)!r} was replaced while the task {name!r} was made for it; create the "
                "task again."
            )
        old = [task for task in data["tasks"] if task["name"] == name]
        if old and not replace:
            raise InputError(
                f"the bundle already has a task {name!r}; choose another name or replace it."
            )
        place = _place_files(root, name, files)
        for task in old:
            _forget(data, str(task["file"]).rsplit("/", 1)[0] + "/")
        entry = TaskEntry(name=name, file=f"{place}/{TASK_FILE}")
        data["tasks"] = [task for task in data["tasks"] if task["name"] != name]
        data["tasks"].append({"name": entry.name, "file": entry.file})
        for path, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            data["files"][f"{place}/{path}"] = {"size": len(content), "sha256": digest}
        Manifest.from_dict(data)
        with replaced_file(root / MANIFEST) as part:
            part.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        _clean(root / "tasks", data)
    return entry


@contextmanager
def _changing(root: Path) -> Iterator[None]:
    """Be the only writer of a bundle folder; the disk's refusals become sentences."""
    try:
        if not (root / MANIFEST).is_file():
            raise BundleError(f"{str(root)!r} is not a bundle folder: it has no {MANIFEST!r}.")
        with only_writer(root):
            yield
    except OSError as error:
        raise WorkError(
            f"adding the task to {str(root)!r} failed: {error.strerror or error}; the bundle is as "
            "it was."
        ) from error


def _read(root: Path) -> dict[str, Any]:
    data: dict[str, Any] = parse((root / MANIFEST).read_bytes(), MANIFEST)
    Manifest.from_dict(data)
    data.setdefault("tasks", [])
    return data


def _graphs(manifest: Manifest) -> set[tuple[str, str]]:
    """Paths and hashes of a bundle's graphs."""
    return {
        (graph.file, manifest.files[graph.file].sha256)
        for variant in manifest.variants
        for graph in variant.graphs
    } | {
        (path, manifest.files[path].sha256)
        for variant in manifest.variants
        for path in variant.weights
    }


def _place_files(root: Path, name: str, files: Mapping[str, bytes]) -> str:
    """Write the files into a new folder of the bundle, complete at once; return its path there."""
    (root / "tasks").mkdir(exist_ok=True)
    names = chain([name], (f"{name}@{number}" for number in count(2)))
    place = next(f"tasks/{each}" for each in names if not (root / "tasks" / each).exists())
    with replaced_folder(root / place) as part:
        for path, content in files.items():
            check_path(f"{place}/{path}")
            (part / path).parent.mkdir(parents=True, exist_ok=True)
            (part / path).write_bytes(content)
    return place


def _clean(tasks: Path, data: Mapping[str, Any]) -> None:
    """Delete folders of tasks that the manifest no longer uses, unless a reader may still do."""
    used = {path.split("/")[1] for path in data["files"] if path.startswith("tasks/")}
    names = {task["name"] for task in data["tasks"]}
    with suppress(OSError), without_readers(tasks) as alone:
        for folder in tasks.iterdir() if alone else ():
            if folder.name not in used and folder.name.split("@")[0] in names:
                shutil.rmtree(folder, ignore_errors=True)


def _forget(data: dict[str, Any], prefix: str) -> None:
    for path in [path for path in data["files"] if path.startswith(prefix)]:
        del data["files"][path]
