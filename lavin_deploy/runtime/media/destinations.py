"""Where the results of a run go, decided and checked before any work is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lavin_deploy.errors import InputError
from lavin_deploy.files import require_folder, require_writable
from lavin_deploy.runtime.media.animations import ANIMATION_OUTPUTS
from lavin_deploy.runtime.media.images import IMAGE_OUTPUTS
from lavin_deploy.runtime.media.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Inputs, MediaFile
from lavin_deploy.runtime.media.tensors import FRAME_FILE
from lavin_deploy.runtime.video.writer import VIDEO_OUTPUTS


@dataclass(frozen=True)
class Item:
    """One input file, and where its answer and its tensors go.

    Attributes:
        source: the input.
        output: picture or video file to write.
        data: where the tensors go, an .npz file or, for a video, also a folder; or None.
    """

    source: MediaFile
    output: Path
    data: Path | None


@dataclass(frozen=True)
class OutputPlan:
    """All that a run writes.

    Attributes:
        items: one for each input that is to be answered.
        output: the file, or the folder of files, that the run makes.
        folders: folders to make first, in this order.
    """

    items: tuple[Item, ...]
    output: Path
    folders: tuple[Path, ...] = ()

    def without_existing(self) -> OutputPlan:
        """The same without the inputs whose results are all there; those are always whole."""
        items = [
            item
            for item in self.items
            if not (item.output.exists() and (item.data is None or item.data.exists()))
        ]
        return replace(self, items=tuple(items))


def plan_outputs(
    inputs: Inputs, task: str, output: Path | None = None, data: Path | None = None
) -> OutputPlan:
    """Decide where results go.

    Args:
        inputs: what to work on.
        task: name of the task, part of default names: ``clip.mp4`` gives ``clip.TASK.mp4``, the
            folder ``clips`` gives ``clips.TASK``. A type that cannot be written gets ``.png`` or
            ``.mp4`` appended.
        output: file for one input, folder for many or for one; None for the default name.
        data: where tensors go: a folder, or for one input also a ``.npz`` file; or None.

    Raises:
        InputError: a name does not fit, is an input, or cannot be written.
    """
    if Path(task).name != task:
        raise InputError(f"the task {task!r} cannot exist; a task's name has no slashes.")
    if inputs.folder is None:
        plan = _plan_one(inputs.files[0], task, output, data)
    else:
        plan = _plan_many(inputs, inputs.folder, task, output, data)
    sources = {_identity(source.path) for source in inputs.files} - {None}
    for item in plan.items:
        if _identity(item.output) in sources:
            raise InputError(
                f"the output {item.output} is an input; choose another name or folder."
            )
    return plan


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what is the same for all names of one file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _plan_one(source: MediaFile, task: str, output: Path | None, data: Path | None) -> OutputPlan:
    name = _writable_name(source)
    default = f"{name.stem}.{task}{name.suffix}"
    if output is None:
        output = source.path.with_name(default)
    elif output.is_dir():
        output = output / default
    accepted = _outputs(source)
    if output.suffix.lower() not in accepted:
        raise InputError(
            f"the output {output} of {source.kind} input must end with one of "
            f"{', '.join(accepted)}."
        )
    require_writable(output)
    if data is None:
        return OutputPlan((Item(source, output, None),), output)
    if data.suffix.lower() != ".npz":
        data = data / f"{source.path.stem}.npz" if source.kind == "image" else data
        folder = data.parent if source.kind == "image" else data
        require_folder(folder, empty=source.kind != "image", ours=FRAME_FILE)
        folders = (folder,) if source.kind == "image" else ()
        return OutputPlan((Item(source, output, data),), output, folders)
    require_writable(data)
    return OutputPlan((Item(source, output, data),), output)


def _plan_many(
    inputs: Inputs, folder: Path, task: str, output: Path | None, data: Path | None
) -> OutputPlan:
    if output is None:
        here = folder.absolute().resolve()
        output = here.with_name(f"{here.name}.{task}")
    for place, what in ((output, "output"), (data, "--data")):
        if place is None:
            continue
        if not place.is_dir() and place.suffix.lower() in (
            *(*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".npz"),
        ):
            raise InputError(
                f"the {what} {place} is one file, but the input has many; name a folder."
            )
        require_folder(place, empty=False)
    items: list[Item] = []
    folders = dict.fromkeys([output] if data is None else [output, data])
    for source in inputs.files:
        below = source.name.parent
        tensors = None if data is None else data / below / _data_name(source)
        if tensors is not None and source.kind != "image" and tensors.exists():
            require_folder(tensors, empty=True, ours=FRAME_FILE)
        for parent in reversed(source.name.parents):
            folders.update(dict.fromkeys(root / parent for root in (output, data) if root))
        items.append(Item(source, output / below / _writable_name(source), tensors))
    written: dict[Path, Item] = {}
    for item in items:
        other = written.setdefault(item.output, item)
        if other is not item:
            raise InputError(
                f"{other.source.path} and {item.source.path} would both be written to "
                f"{item.output}; rename one."
            )
    return OutputPlan(tuple(items), output, tuple(folders))


def _outputs(source: MediaFile) -> tuple[str, ...]:
    return {
        "image": IMAGE_OUTPUTS,
        "animation": (*ANIMATION_OUTPUTS, *VIDEO_OUTPUTS),
        "video": VIDEO_OUTPUTS,
    }[source.kind]


def _writable_name(source: MediaFile) -> Path:
    name = Path(source.path.name)
    if name.suffix.lower() in _outputs(source):
        return name
    return Path(name.name + (".mp4" if source.kind == "video" else ".png"))


def _data_name(source: MediaFile) -> str:
    return source.path.name + ".npz" if source.kind == "image" else source.path.name
