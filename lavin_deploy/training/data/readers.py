"""Take the pictures worth training on out of each data package."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lavin_deploy.arrays import U8
from lavin_deploy.training.data import curate
from lavin_deploy.training.data.packages import read_rcc, unpack_deb

PHOTO_SIDE = 320
CUTOUT_SIDE = 256
FILM_START, FILM_END = 30.0, 490.0  # seconds; titles before, credits after
FILM_GAP = 5.0  # seconds left out between the splits
FILM_CREDIT = "(c) 2008 Blender Foundation, www.bigbuckbunny.org"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture on its way into the prepared folder.

    Attributes:
        image: (H, W, 3) RGB or, for a cut-out, (H, W, 4) RGBA with straight alpha; uint8.
        file: source file inside its package.
        part: which crop of the file, or empty.
        task: the labelled task that it is for, or empty.
        target: of a labelled picture: (H, W) classes or (H, W, 3) RGB, uint8. The image may then
            also be (H, W) grey.
    """

    image: U8
    file: str
    license: str
    attribution: str
    test: bool
    scene: bool = True
    part: str = ""
    task: str = ""
    target: U8 | None = None


def gcompris(path: Path) -> Iterator[Picture]:
    """Photos and paintings of the teaching programme, licensed file by file.

    A subject shown by several files is test only if the hash of each of them says so.
    """
    pictures: list[Picture] = []
    with tempfile.TemporaryDirectory() as folder:
        unpack_deb(path, Path(folder))
        text = next(Path(folder).glob("usr/share/doc/*/copyright")).read_text()
        rights = curate.CopyrightFile(text)
        for resource in sorted(Path(folder).glob("usr/share/gcompris-qt/rcc/*.rcc")):
            for name, data in read_rcc(resource):
                scene = curate.gcompris_folder(name)
                if scene is None or data[8:12] != b"WEBP":
                    continue
                file = name.removeprefix("gcompris/")
                licence, owner = rights.look_up(file)
                image = _decode(data)
                if image is None or not curate.licence_allowed(licence):
                    continue
                if not curate.looks_like_photo(image):
                    continue
                picture = Picture(
                    image=_shrink(image, PHOTO_SIDE),
                    file=file,
                    license=licence,
                    attribution=owner,
                    test=curate.in_test_split(Path(file).stem),
                    scene=scene,
                )
                pictures.append(picture)
    seen = {curate.subject_of(picture.file) for picture in pictures if not picture.test}
    for picture in pictures:
        yield replace(picture, test=curate.subject_of(picture.file) not in seen)


def wallpapers(path: Path) -> Iterator[Picture]:
    """Phone wallpapers: up to four disjoint crops of each, all in one split."""
    with tempfile.TemporaryDirectory() as folder:
        unpack_deb(path, Path(folder))
        text = next(Path(folder).glob("usr/share/doc/*/copyright")).read_text()
        rights = curate.CopyrightFile(text)
        release = "16.04" if "16.04" in path.name else "20.04"
        for file in sorted(Path(folder).glob("usr/share/backgrounds/*.jpg")):
            licence, owner = rights.look_up(f"{release}/{file.name}")
            if not curate.licence_allowed(licence):
                continue
            with Image.open(file) as opened:
                opened.draft("RGB", (1600, 1200))
                image = _shrink(np.asarray(opened.convert("RGB")), 2 * PHOTO_SIDE)
            for part, crop in enumerate(_quarters(image)):
                if curate.looks_like_photo(crop):
                    yield Picture(
                        image=crop,
                        file=file.name,
                        license=licence,
                        attribution=owner,
                        test=curate.in_test_split(file.name),
                        part=f"q{part}",
                    )


def skimage(path: Path) -> Iterator[Picture]:
    """The test pictures that scikit-image ships and that are free of rights."""
    with zipfile.ZipFile(path) as wheel:
        for name, (licence, owner, scene) in curate.SKIMAGE_FILES.items():
            image = _decode(wheel.read(f"skimage/data/{name}"))
            if image is None:
                continue
            yield Picture(
                image=_shrink(image, PHOTO_SIDE),
                file=f"skimage/data/{name}",
                license=licence,
                attribution=owner,
                test=curate.in_test_split(name),
                scene=scene,
            )


SHOT_FRAMES, SHOT_STEP = 7, 4
"""A shot: so many frames, so many apart (24 a second)."""
SHOT_SIDE, SHOT = 160, "film_shot"
SHOT_EVERY = 48
"""Frames between the first frames of two shots."""


def film(path: Path) -> Iterator[Picture]:
    """Key frames of Big Buck Bunny, at most 5.3 s apart, and shots; test is its last fifth.

    A shot, of the task :data:`SHOT`, is its frames one below the other, with no cut among them.
    """
    import av  # only the film needs it

    with tarfile.open(path) as archive:
        member = next(m for m in archive if m.name.endswith("/moviepy_10_minutes.zip"))
        packed = archive.extractfile(member)
        assert packed is not None
        with zipfile.ZipFile(io.BytesIO(packed.read())) as inner:
            film = inner.read("moviepy_10_minutes/resources/bbb.mp4")
    border = FILM_START + 0.8 * (FILM_END - FILM_START)
    with av.open(io.BytesIO(film)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        shot: list[U8] = []
        for number, frame in enumerate(container.decode(stream)):
            seconds = float(frame.time)
            if not FILM_START <= seconds <= FILM_END or border - FILM_GAP < seconds < border:
                shot = []
                continue
            within = number % SHOT_EVERY
            if within == 0:
                shot = []
            if within % SHOT_STEP == 0 and len(shot) < SHOT_FRAMES:
                shot.append(_shrink(frame.to_ndarray(format="rgb24"), SHOT_SIDE))
                whole = len(shot) == SHOT_FRAMES and within == SHOT_STEP * (SHOT_FRAMES - 1)
                if whole and _one_shot(shot):
                    yield Picture(
                        image=np.concatenate(shot),
                        file=f"bbb.mp4@{seconds:.1f}",
                        part="shot",
                        task=SHOT,
                        license="CC-BY-3.0",
                        attribution=FILM_CREDIT,
                        test=seconds >= border,
                    )
            if not frame.key_frame:  # every cut is a key frame
                continue
            image = frame.to_ndarray(format="rgb24")
            if not curate.looks_like_photo(image):
                continue
            yield Picture(
                image=_shrink(image, PHOTO_SIDE),
                file=f"bbb.mp4@{seconds:.1f}",
                license="CC-BY-3.0",
                attribution=FILM_CREDIT,
                test=seconds >= border,
                scene=False,
            )


def _one_shot(frames: list[U8]) -> bool:
    """Whether frames are of one shot in which something is to be seen: their colours agree."""
    tables = []
    for frame in frames:
        table = cv2.calcHist([frame], [0, 1, 2], None, [6] * 3, [0, 256] * 3).ravel()
        tables.append(table / table.sum())
    same = all(float(np.minimum(a, b).sum()) > 0.7 for a, b in pairwise(tables))
    return same and bool(np.std(frames[0]) > 25)


def stamps(path: Path) -> Iterator[Picture]:
    """Photographic cut-outs; one fifth of each top folder is test, look-alikes together."""
    with tempfile.TemporaryDirectory() as folder:
        unpack_deb(path, Path(folder))
        root = Path(folder, "usr/share/tuxpaint/stamps")
        kept: dict[str, U8] = {}
        for file in sorted(root.rglob("*.png")):
            name = file.relative_to(root).as_posix()
            if curate.matches(name, curate.STAMPS_DENIED):
                continue
            rgba = _cutout(file)
            if rgba is not None and curate.looks_like_cutout(rgba):
                kept[name] = rgba
        # Small ones are too coarse to judge by: only with a larger look-alike are they test.
        held_out = hold_out_groups(name for name, rgba in kept.items() if max(rgba.shape) >= 64)
        for name, rgba in kept.items():
            yield Picture(
                image=rgba,
                file=name,
                license="GPL-2",
                attribution="Tux Paint stamps, Bill Kendrick and contributors",
                test=curate.group_of(name.removesuffix(".png")) in held_out,
            )


def _decode(data: bytes) -> U8 | None:
    """Decode an opaque picture of at least 128 px to (H, W, 3) uint8, or return None."""
    with Image.open(io.BytesIO(data)) as opened:
        if min(opened.size) < 128:
            return None
        if opened.has_transparency_data:
            rgba = np.asarray(opened.convert("RGBA"))
            if int(rgba[..., 3].min()) < 250:
                return None
        return np.asarray(opened.convert("RGB"))


def _cutout(file: Path) -> U8 | None:
    """Read a stamp as (H, W, 4) uint8, cropped to its alpha, shrunk with premultiplied colour."""
    with Image.open(file) as opened:
        if not (opened.has_transparency_data or opened.mode == "P") or min(opened.size) < 24:
            return None
        rgba = np.asarray(opened.convert("RGBA"))
    rows = np.flatnonzero((rgba[..., 3] > 16).any(axis=1))
    columns = np.flatnonzero((rgba[..., 3] > 16).any(axis=0))
    if len(rows) == 0:
        return None
    rgba = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = CUTOUT_SIDE / max(rgba.shape[:2])
    if scale >= 1:
        return rgba
    colour = rgba.astype(np.float32)
    colour[..., :3] *= colour[..., 3:] / 255
    size = (max(1, round(rgba.shape[1] * scale)), max(1, round(rgba.shape[0] * scale)))
    small = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
    small[..., :3] *= 255 / np.maximum(small[..., 3:], 1)
    return np.asarray(np.clip(small + 0.5, 0, 255), np.uint8)


def hold_out_groups(names: Iterable[str]) -> set[str]:
    """Choose the groups of look-alike stamps that are test: one fifth of each top folder."""
    by_folder: dict[str, dict[str, int]] = {}
    for name in names:
        group = curate.group_of(name.removesuffix(".png"))
        groups = by_folder.setdefault(name.partition("/")[0], {})
        groups[group] = groups.get(group, 0) + 1
    chosen: set[str] = set()
    for groups in by_folder.values():
        remaining = round(0.2 * sum(groups.values()))
        for group in sorted(groups, key=curate.stable_number):
            if groups[group] <= remaining:
                chosen.add(group)
                remaining -= groups[group]
    return chosen


def _shrink(image: U8, short_side: int) -> U8:
    scale = short_side / min(image.shape[:2])
    if scale >= 1:
        return image
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _quarters(image: U8) -> list[U8]:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    if min(height, width) < 128:
        return [image]
    return [image[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
