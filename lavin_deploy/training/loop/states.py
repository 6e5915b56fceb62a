"""States of a run on disk: torch's distributed checkpoints, two kept, each complete or absent.

A state is a folder ``step-00001200`` of shards that any number of processes can load, whatever
number wrote it. ``files.json`` in it has the SHA-256 of every shard, so that a damaged one is known
as such and the one before it is taken.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load as load_shards
from torch.distributed.checkpoint.state_dict_saver import save as save_shards
from tqdm import tqdm

from lavin_deploy.errors import CheckpointError, InputError
from lavin_deploy.files import delete_abandoned, put_folder, temporary_sibling
from lavin_deploy.locks import only_writer
from lavin_deploy.training.loop.processes import Processes

log = logging.getLogger(__name__)

FILES, LOCK = "files.json", "lock"
KEPT = 2


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which the system gives back however the process ends.

    Raises:
        InputError: another process trains there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(only_writer(out / LOCK, wait=False))
        except BlockingIOError as error:
            raise InputError(
                f"another process trains in {out}; wait until it ends, or give another --out."
            ) from error
        yield


def present(folder: Path) -> list[Path]:
    """States in a folder, the newest first."""
    return sorted(folder.glob("step-" + 8 * "[0-9]"), reverse=True)


def step_of(state: Path) -> int:
    """Optimiser steps done of a state, by the name of its folder."""
    return int(state.name.removeprefix("step-"))


def save(
    folder: Path,
    step: int,
    state: dict[str, Any],
    processes: Processes,
    texts: Mapping[str, str] = {},
) -> None:
    """Write a state; all processes call it. A kill at any moment leaves the ones before.

    Args:
        folder: of the run's states.
        step: optimiser steps done.
        state: tensors and numbers by name, nested; tensors may be sharded.
        processes: the processes.
        texts: files to keep with it, by name.
    """
    final = folder / f"step-{step:08d}"
    with ExitStack() as stack:
        part = final
        if processes.main:
            folder.mkdir(parents=True, exist_ok=True)
            delete_abandoned(folder)
            part = stack.enter_context(temporary_sibling(final))
        part = processes.from_main(part)
        with _alone(processes) as alone:
            save_shards(state, checkpoint_id=part, no_dist=alone)
        processes.barrier()
        if processes.main:
            for name, text in texts.items():
                (part / name).write_text(text, encoding="utf-8")
            digests = {path.name: _sha256(path) for path in sorted(part.iterdir())}
            (part / FILES).write_text(json.dumps(digests, indent=1))
            put_folder(part, final)
            # Later ones are damaged: the run has gone on from before them.
            later = [path for path in present(folder) if path.name > final.name]
            for old in (*later, *present(folder)[len(later) + KEPT :]):
                shutil.rmtree(old)
    processes.barrier()


def load(
    folder: Path, form: Callable[[Path, int], dict[str, Any]], processes: Processes
) -> dict[str, Any]:
    """Read the newest state that is whole; all processes call it.

    Args:
        folder: of the run's states.
        form: gives what a state, by its folder and step, consists of, to be filled in place.
        processes: the processes.

    Returns:
        The filled form.

    Raises:
        CheckpointError: there is none, or it belongs to another model.
    """
    for path in present(folder):
        (damaged,) = processes.largest([float(_damaged(path)) if processes.main else 0.0])
        if damaged:
            if processes.main:
                tqdm.write(f"warning: {path} is damaged; trying the one before.")
            continue
        state = form(path, step_of(path))
        try:
            with _alone(processes) as alone:
                load_shards(state, checkpoint_id=path, no_dist=alone)
        except (CheckpointException, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} does not fit this run: {error}") from error
        return state
    raise CheckpointError(f"--resume: {folder} holds no readable state.")


@contextmanager
def _alone(processes: Processes) -> Iterator[bool]:
    """Whether there is no process group; torch warns of that though told so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield not processes.distributed


def _damaged(path: Path) -> bool:
    try:
        digests = json.loads((path / FILES).read_text())
        return any(_sha256(path / name) != digest for name, digest in digests.items())
    except (OSError, ValueError):
        return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
