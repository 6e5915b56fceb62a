"""Volumes of heads, and the macaque whose every structure has a label."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.errors import WorkError
from lavin_deploy.training.data.readers import Picture

SLICE_GAP = 8  # slices left out on either side of a slab
STRUCTURES = 254  # of an atlas, the largest; others count as the rest
BYTES = np.dtype("u1")
NIFTI_KINDS = {BYTES: 2, np.dtype("<i2"): 4, np.dtype("<f4"): 16}
"""The format's codes of the types that are read."""


def read_nifti(packed: bytes, kind: np.dtype[Any] = BYTES) -> NDArray[Any]:
    """Read a volume (X, Y, Z) from a gzipped little-endian NIfTI-1 file.

    The fields are at the places that the header ``nifti1.h`` of the format gives.

    Raises:
        WorkError: it is not such a file, or of another type than ``kind``.
    """
    data = gzip.decompress(packed)
    shape = struct.unpack_from("<3h", data, 42)
    (code,) = struct.unpack_from("<h", data, 70)
    (start,) = struct.unpack_from("<f", data, 108)
    if data[344:347] != b"n+1" or code != NIFTI_KINDS[kind]:
        raise WorkError(f"a head volume is not NIfTI-1 of type {kind}; its package changed.")
    return np.frombuffer(data, kind, int(np.prod(shape)), int(start)).reshape(shape, order="F")


def macaque(head: NDArray[np.float32], names: NDArray[np.int16]) -> Iterator[Picture]:
    """Sagittal and coronal slices of the INIA19 macaque with its structures, for ``atlas``.

    The rear of the brain is test: coronal slices there; sagittal ones show the rest alone.
    Structures keep their number over the whole volume; the two sides of one share it.
    """
    folded = names % 1000
    found, counts = np.unique(folded[folded > 0], return_counts=True)
    table = np.zeros(1000, np.uint8)
    kept = found[np.argsort(-counts, kind="stable")][:STRUCTURES]
    table[kept] = np.arange(1, len(kept) + 1)
    labels = table[folded]
    image = np.clip(head / np.percentile(head, 99.8) * 255, 0, 255).astype(np.uint8)
    inside = np.argwhere(image > 20)
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    border = low[1] + (high[1] - low[1]) // 4
    front = border + SLICE_GAP
    for axis, view in ((0, "sagittal"), (1, "coronal")):
        for index in range(int(low[axis]) + 8, int(high[axis]) - 8, 2):
            test = axis == 1 and index < border
            if axis == 1 and border <= index < front:
                continue
            box = [slice(a, b) for a, b in zip(low, high, strict=True)]
            box[1] = slice(front, high[1]) if axis == 0 else box[1]
            box[axis] = slice(index, index + 1)
            planes = (np.rot90(each[tuple(box)].squeeze(axis)) for each in (image, labels))
            picture, target = (np.ascontiguousarray(plane) for plane in planes)
            yield Picture(
                image=picture,
                target=target,
                task=f"atlas_macaque_{view}",
                file=f"inia19-t1-brain.nii.gz@{view}{index}",
                license="BSD-3-Clause",
                attribution="INIA19, Torsten Rohlfing et al.; Chris Rorden",
                test=test,
            )
