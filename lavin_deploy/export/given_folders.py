"""Held-out samples given to an export: one folder of pairs for each task that is exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lavin_deploy.arrays import U8
from lavin_deploy.bundle.edit import TASK_FILE
from lavin_deploy.bundle.manifest import MOST_SAMPLES, TaskEntry, Validation
from lavin_deploy.bundle.paths import check_path, check_task_name
from lavin_deploy.bundle.strict_json import from_json, parse
from lavin_deploy.bundle.writer import BundleWriter
from lavin_deploy.errors import BundleError, InputError
from lavin_deploy.runtime.create_task import Encode, png, read_pairs, task_files
from lavin_deploy.tasks.pairs import find_pairs
from lavin_deploy.tasks.stored import StoredTask

CREDITS = "ATTRIBUTION.md"
IGNORED = (".", "__MACOSX")
"""Beginnings of names of folders that are nobody's: hidden ones, and what macOS packs beside."""
"""Copied with the pictures, so that their authors are named wherever the bundle goes."""


@dataclass(frozen=True, kw_only=True)
class HeldOutSamples:
    """What a bundle will store.

    Attributes:
        pictures: for each task (id, input, target), both (H, W, 3) uint8 of one size.
        credits: text of ``ATTRIBUTION.md``, or None.
    """

    pictures: Mapping[str, Sequence[tuple[str, U8, U8]]]
    credits: bytes | None = None


def read_validation(folder: Path | None, tasks: Sequence[str]) -> HeldOutSamples:
    """Read and check the samples of a folder; hidden folders and other files do not count.

    Args:
        folder: holds a folder of pairs ``<id>_input.*``, ``<id>_target.*`` for each of some tasks,
            and perhaps ``ATTRIBUTION.md``; None for no samples.
        tasks: names of the tasks that are exported.

    Raises:
        InputError: no such folder, none or too many samples, a folder that is no task's, or a
            picture that cannot be used.
    """
    if folder is None:
        return HeldOutSamples(pictures={})
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}; give one with a folder per task.")
    places = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(IGNORED)]
    strange = [place.name for place in places if place.name not in tasks]
    if strange:
        raise InputError(
            f"{str(folder)!r} has samples of {', '.join(strange)}, which is not exported; tasks "
            f"of this export: {', '.join(tasks) or 'none'}. Add the task with --tasks or leave "
            "its samples out."
        )
    if not places:
        raise InputError(f"{str(folder)!r} holds no samples; put those of each task in a folder.")
    notes = folder / CREDITS
    return HeldOutSamples(
        pictures={place.name: _read(place) for place in places},
        credits=notes.read_bytes() if notes.is_file() else None,
    )


def add_validation(writer: BundleWriter, samples: HeldOutSamples) -> dict[str, Validation]:
    """Write samples into a bundle being made, as PNG; return what its manifest says of them."""
    if samples.credits is not None:
        writer.add_file(f"validation/{CREDITS}", samples.credits)
    entries = {}
    for task, pairs in samples.pictures.items():
        folder = f"validation/{task}"
        for name, source, target in pairs:
            writer.add_file(f"{folder}/{name}_input.png", png(source))
            writer.add_file(f"{folder}/{name}_target.png", png(target))
        entries[task] = Validation(folder=folder, samples=len(pairs))
    return entries


def _read(place: Path) -> list[tuple[str, U8, U8]]:
    pairs = find_pairs(place)
    if len(pairs) > MOST_SAMPLES:
        raise InputError(
            f"{str(place)!r} has {len(pairs)} samples; a bundle stores at most {MOST_SAMPLES} of "
            "each task, so take some out."
        )
    for pair in pairs:
        try:
            check_path(f"validation/{place.name}/{pair.id}_target.png")
        except BundleError as error:
            raise InputError(f"{str(pair.input)!r} cannot keep its name: {error}") from error
    return read_pairs(pairs)


def find_tasks(folder: Path) -> tuple[tuple[StoredTask, Path], ...]:
    """List the tasks of a folder: every sub-folder, but hidden ones and macOS's, holds pairs.

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
        if place.name.startswith(IGNORED) or not place.is_dir():
            continue
        check_task_name(place.name)
        find_pairs(place)
        notes = place / TASK_FILE
        settings = parse(notes.read_bytes(), str(notes)) if notes.is_file() else {}
        if not isinstance(settings, dict):
            raise InputError(f"{str(notes)!r} holds no JSON object; write {{...}} or delete it.")
        task = from_json(StoredTask, {**settings, "name": place.name, "pairs": []}, str(notes))
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
