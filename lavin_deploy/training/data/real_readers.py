"""Real pictures with labels that are for evaluation alone: all of them are test."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lavin_deploy.training.data.label_readers import rgb, stretched
from lavin_deploy.training.data.packages import unpack_deb
from lavin_deploy.training.data.readers import Picture


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
        stain, light = (stretched(plane) for plane in planes[:2])
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
            image = rgb(file.read_bytes())
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
        image = rgb(wheel.read("skimage/data/motorcycle_left.png"))
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
