"""Make a task out of example pairs: encode them once, for every size of a bundle."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.bundle.edit import add_task
from lavin_deploy.bundle.paths import check_task_name
from lavin_deploy.errors import InputError
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.runtime.codec import check_pair, encode_pairs
from lavin_deploy.runtime.media.images import read_image
from lavin_deploy.runtime.pipeline import load
from lavin_deploy.runtime.request import Size, choose_sampling, make_settings
from lavin_deploy.tasks.pairs import PairFiles, find_pairs
from lavin_deploy.tasks.stored import StoredPair, StoredTask, context_name

LARGEST_SIDE = 1024
"""Pixels; larger example pictures are scaled down before they are stored and encoded."""

Encode = Callable[[U8], Latents]

_log = logging.getLogger(__name__)


def create_task(
    bundle: str | os.PathLike[str],
    task: StoredTask,
    folder: str | os.PathLike[str],
    *,
    replace_old: bool = False,
    backend: str = "auto",
) -> StoredTask:
    """Add a task to a bundle folder from a folder of example pairs.

    Args:
        bundle: a bundle in its folder form; it is changed in one step.
        task: name and hints of the task; its ``pairs`` are filled in here.
        folder: holds ``<id>_input.*`` and ``<id>_target.*``.
        replace_old: whether a task of that name may be there already.
        backend: runs the encoder.

    Returns:
        The task as stored.

    Raises:
        InputError: a name, picture or folder cannot be used; too few pairs for the bundle.
        BundleError: the bundle is missing, damaged or packed.
        WorkError: encoding or writing failed.
    """
    check_task_name(task.name)
    pair_files = find_pairs(folder)
    with load(bundle, backend=backend) as model:
        if model.bundle.path.is_file():
            raise InputError(
                f"{str(bundle)!r} is a packed bundle; unzip it, add the task, then pack it again."
            )
        if task.name in model.tasks and not replace_old:
            raise InputError(
                f"the bundle already has a task {task.name!r}; choose another name or replace it."
            )
        manifest = model.manifest
        fewest = min(bucket.pairs for bucket in manifest.buckets)
        if len(pair_files) < fewest:
            raise InputError(
                f"{str(folder)!r} has {len(pair_files)} example pairs and the bundle needs at "
                f"least {fewest}; add some."
            )
        make_settings(manifest, choose_sampling(manifest, task), seed=0, noise=None)
        encoders = {size: model.codec(size).encode for size in manifest.sizes()}
        stored, files = task_files(task, read_pairs(pair_files), encoders)
        choice = model.choice
    add_task(bundle, task.name, files, replace=replace_old, made_for=manifest)
    if choice:
        _log.info(choice)
    return stored


def read_pairs(pair_files: Sequence[PairFiles]) -> list[tuple[str, U8, U8]]:
    """Read the pictures of pairs, scaled down to ``LARGEST_SIDE``.

    Returns:
        (id, input, target), both (H, W, 3) uint8 of one size.

    Raises:
        InputError: a file is no picture, or the two of a pair differ in size.
    """
    pairs = []
    for files in pair_files:
        source, target = read_image(files.input), read_image(files.target)
        check_pair(repr(files.id), source, target)
        pairs.append((files.id, _limited(source), _limited(target)))
    return pairs


def task_files(
    task: StoredTask,
    pairs: Sequence[tuple[str, U8, U8]],
    encoders: Mapping[Size, Encode],
) -> tuple[StoredTask, dict[str, bytes]]:
    """Return what a task's folder in a bundle holds.

    Args:
        task: name and hints; its ``pairs`` are filled in here.
        pairs: (id, input, target), pictures (H, W, 3) uint8 of one size for each pair.
        encoders: for each (height, width) in pixels, what encodes a picture of that size to
            (1, 16, 1, height/8, width/8) float32 scaled.

    Returns:
        The complete task, and file contents by name: ``task.json``, PNG pictures under
        ``pairs/``, and ``context-<height>x<width>.npy`` for every size.

    Raises:
        InputError: two pictures of a pair differ in size.
    """
    files: dict[str, bytes] = {}
    names = []
    for number, (pair_id, source, target) in enumerate(pairs, 1):
        names.append(
            StoredPair(
                id=pair_id,
                input=f"pairs/{number:03}_input.png",
                target=f"pairs/{number:03}_target.png",
            )
        )
        files[names[-1].input] = png(source)
        files[names[-1].target] = png(target)
    stored = replace(task, pairs=tuple(names))
    pictures = [(source, target) for _, source, target in pairs]
    for size, encode in encoders.items():
        files[context_name(*size)] = npy(encode_pairs(pictures, size, encode))
    files["task.json"] = stored.to_text().encode()
    return stored, files


def _limited(image: U8) -> U8:
    height, width = image.shape[:2]
    side = max(height, width)
    if side <= LARGEST_SIDE:
        return image
    from PIL import Image

    columns, rows = max(1, width * LARGEST_SIDE // side), max(1, height * LARGEST_SIDE // side)
    return np.array(Image.fromarray(image).resize((columns, rows), Image.Resampling.BICUBIC))


def png(image: U8) -> bytes:
    """Return a picture (H, W, 3) uint8 as the content of a PNG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def npy(array: Latents) -> bytes:
    """Return the array as the content of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
