"""Tasks given to an export: one folder of example pairs each, with an optional ``task.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lavin_deploy.bundle import BundleWriter
from lavin_deploy.bundle_io.jsondata import from_json, parse
from lavin_deploy.bundle_io.paths import check_task_name
from lavin_deploy.bundle_io.tools import TASK_FILE
from lavin_deploy.errors import InputError
from lavin_deploy.export.validation import CREDITS
from lavin_deploy.manifest import TaskEntry
from lavin_deploy.runtime.create_task import Encode, read_pairs, task_files
from lavin_deploy.tasks.pairs import find_pairs
from lavin_deploy.tasks.stored import StoredTask


def find_tasks(folder: Path) -> tuple[tuple[StoredTask, Path], ...]:
    """List the tasks of a folder: every sub-folder, but hidden ones, holds example pairs.

    A ``task.json`` beside the pairs may give ``description``, ``deterministic``, ``steps``,
    ``guidance``, ``rendering`` and ``view``; the name is the sub-folder's.

    Returns:
        Task (without its pairs) and folder, sorted by name.

    Raises:
        InputError: no such folder, no tasks in it, or a name or folder that cannot be used.
        BundleError: a ``task.json`` is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}; give one with a folder per task.")
    tasks = []
    for place in sorted(folder.iterdir()):
        if place.name.startswith(".") or not place.is_dir():
            continue
        check_task_name(place.name)
        find_pairs(place)
        notes = place / TASK_FILE
        given = parse(notes.read_bytes(), str(notes)) if notes.is_file() else {}
        if not isinstance(given, dict):
            raise InputError(f"{str(notes)!r} holds no JSON object; write {{...}} or delete it.")
        task = from_json(StoredTask, {**given, "name": place.name, "pairs": []}, str(notes))
        if task.steps is not None and task.steps < 1:
            raise InputError(f"{str(notes)!r} has steps {task.steps}; at least 1.")
        tasks.append((task, place))
    if not tasks:
        raise InputError(f"{str(folder)!r} holds no task; put the pairs of each into a folder.")
    return tuple(tasks)


def add_tasks(
    writer: BundleWriter,
    tasks: Sequence[tuple[StoredTask, Path]],
    encoders: Mapping[tuple[int, int], Encode],
    fewest: int,
) -> tuple[TaskEntry, ...]:
    """Encode the pairs of tasks and write them into a bundle being made.

    ``ATTRIBUTION.md`` beside the tasks' folders becomes ``tasks/ATTRIBUTION.md``.

    Args:
        writer: the bundle.
        tasks: from :func:`find_tasks`.
        encoders: for each (H, W) what turns a picture into a scaled latent.
        fewest: pairs that a task needs at least.

    Raises:
        InputError: a task has too few pairs, or a picture cannot be read.
    """
    entries = []
    for task, folder in tasks:
        pairs = read_pairs(find_pairs(folder))
        if len(pairs) < fewest:
            raise InputError(
                f"{str(folder)!r} has {len(pairs)} example pairs and the bundle needs at least "
                f"{fewest}; add some or export fewer --pairs."
            )
        stored, files = task_files(replace(task, pairs=()), pairs, encoders)
        for name, content in files.items():
            writer.add_file(f"tasks/{stored.name}/{name}", content)
        entries.append(TaskEntry(name=stored.name, file=f"tasks/{stored.name}/{TASK_FILE}"))
    if tasks and (notes := tasks[0][1].parent / CREDITS).is_file():
        writer.add_file(f"tasks/{CREDITS}", notes)
    return tuple(entries)
