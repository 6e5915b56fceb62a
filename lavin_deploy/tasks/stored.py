"""A task as a bundle stores it: ``tasks/<name>/task.json``, its pairs and their latents.

The scaled latents of the pairs lie beside it for every size of the bundle, as
``context-<height>x<width>.npy``: float32 (1, 16, 2P, height/8, width/8), frames in1, tgt1, in2,
tgt2, ... The query's latent is appended when the task runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.bundle.strict_json import from_json, parse
from lavin_deploy.errors import BundleError, InputError, unknown_name
from lavin_deploy.names import View


@dataclass(frozen=True, kw_only=True)
class StoredPair:
    """Names of the pictures of one pair, relative to the task's folder."""

    id: str
    input: str
    target: str


@dataclass(frozen=True, kw_only=True)
class StoredTask:
    """What ``task.json`` says.

    Attributes:
        name: lower-case name.
        description: one sentence for people.
        pairs: in the order of the context.
        deterministic: whether the answer does not depend on the noise, so that few steps do.
        steps: recommended model evaluations; None leaves it to the bundle's default.
        guidance: recommended weight; None likewise.
        num_pairs: example pairs to use, the first ones; None likewise.
        rendering: how targets are drawn, e.g. ``{"kind": "mask", "polarity": "bright"}``.
        view: how ``lavin-run`` shows the answer; None leaves it to the command.
    """

    name: str
    description: str = ""
    pairs: tuple[StoredPair, ...]
    deterministic: bool = False
    steps: int | None = None
    guidance: float | None = None
    num_pairs: int | None = None
    rendering: Mapping[str, Any] = field(default_factory=dict)
    view: View | None = None

    def to_text(self) -> str:
        """Return the JSON text of ``task.json``."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def context_name(height: int, width: int) -> str:
    """Return the file name of a task's latents at one size in pixels."""
    return f"context-{height}x{width}.npy"


def task_file(bundle: Bundle, name: str) -> str:
    """Return the path of a task's ``task.json`` in the bundle.

    Raises:
        InputError: the bundle has no such task, or ``name`` is no text; the message has the nearest
            name.
    """
    if not isinstance(name, str):
        raise InputError(
            f"a task is called by its name, a text, and comes before the frame; given: "
            f"{type(name).__name__}."
        )
    for entry in bundle.manifest.tasks:
        if entry.name == name:
            return entry.file
    raise unknown_name("task", name, [entry.name for entry in bundle.manifest.tasks])


def read_task(bundle: Bundle, name: str) -> StoredTask:
    """Read a task of a bundle.

    Raises:
        InputError: the bundle has no such task.
        BundleError: its ``task.json`` is damaged.
    """
    where = task_file(bundle, name)
    task: StoredTask = from_json(StoredTask, parse(bundle.read(where), where), where)
    numbers = [number for number in (task.steps, task.num_pairs) if number is not None]
    if task.name != name or not task.pairs or any(number < 1 for number in numbers):
        raise BundleError(
            f"{where} must have the name {name!r}, at least one pair, and steps and num_pairs of "
            "at least 1; create the task again with lavin-task create."
        )
    return task


def read_context(bundle: Bundle, task: StoredTask, height: int, width: int) -> NDArray[np.float32]:
    """Read the scaled latents of a task's pairs at one size.

    Args:
        bundle: the bundle that has the task.
        task: from :func:`read_task`.
        height: pixels.
        width: pixels.

    Returns:
        (1, 16, 2P, height/8, width/8) float32 with P = ``len(task.pairs)``.

    Raises:
        BundleError: the task has no latents of that size, or they are damaged.
    """
    path = task_file(bundle, task.name).removesuffix("task.json") + context_name(height, width)
    if path not in bundle.manifest.files:
        raise BundleError(
            f"the task {task.name!r} has no context for {height}x{width}; create it again with "
            "lavin-task create."
        )
    context = bundle.array(path)
    latent = bundle.manifest.latent
    shape = (
        *(1, latent.channels, 2 * len(task.pairs)),
        *(height // latent.downsample, width // latent.downsample),
    )
    if context.shape != shape or context.dtype != np.float32 or not np.isfinite(context).all():
        raise BundleError(
            f"{path!r} is {context.dtype} {context.shape} where finite float32 {shape} belongs; "
            "create the task again with lavin-task create."
        )
    return context.astype(np.float32, copy=False)
