"""Prepare the training pictures: photographs and cut-outs of the green list, split by source file.

``prepare`` fetches pinned packages (see ``packages``), keeps what ``curate`` lets through and
writes::

    OUT/photos/{train,test}/<id>.jpg      RGB, short side 128-320 px
    OUT/cutouts/{train,test}/<id>.png     RGBA, straight alpha, long side <= 256 px, tightly cropped
    OUT/inventory.json                    licence and credit of every item

One fifth of the source files is ``test``. Crops of one file, and files that show the same thing,
are never in both splits. Where no real photograph or no real cut-out can be had, generated ones
stand in, so that everything downstream runs without a network.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from lavin_deploy.errors import InputError, WorkError, unknown_name
from lavin_deploy.training import curate, generated
from lavin_deploy.training.packages import Package, fetch, read_rcc, unpack_deb

UInt8 = NDArray[np.uint8]

PHOTO_SIDE = 320
CUTOUT_SIDE = 256
FILM_START, FILM_END = 30.0, 490.0  # seconds; titles before, credits after
FILM_GAP = 5.0  # seconds left out between the splits
FILM_CREDIT = "(c) 2008 Blender Foundation, www.bigbuckbunny.org"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One prepared picture.

    Attributes:
        id: unique name, also the file's stem.
        kind: ``"photo"`` or ``"cutout"``.
        path: file relative to the folder of the inventory.
        package: package it came from, or ``"generated"``.
        version: that package's version.
        file: source file inside the package (for film frames with the time in seconds).
        license: licence of the source file.
        split: ``"train"`` or ``"test"``.
        attribution: whom to credit.
        scene: a photo without one main object, so a good background for a collage.
    """

    id: str
    kind: str
    path: str
    package: str
    version: str
    file: str
    license: str
    split: str
    attribution: str
    scene: bool = True


@dataclass(frozen=True)
class Inventory:
    """What a prepared folder holds.

    Attributes:
        items: all pictures.
        missing: names of sources that could not be fetched.
    """

    items: tuple[Item, ...]
    missing: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return how many pictures there are of each ``kind/split``."""
        found = Counter(f"{item.kind}/{item.split}" for item in self.items)
        return dict(sorted(found.items()))

    def save(self, folder: Path) -> None:
        """Write ``inventory.json`` into ``folder``, replacing it in one step."""
        data = {"items": [asdict(item) for item in self.items], "missing": list(self.missing)}
        partial = folder / "inventory.json.partial"
        partial.write_text(json.dumps(data, indent=1) + "\n")
        partial.replace(folder / "inventory.json")

    @classmethod
    def load(cls, folder: Path) -> Inventory:
        """Read the inventory of a prepared folder.

        Raises:
            InputError: the folder has not been prepared, or its inventory is damaged.
        """
        try:
            data: dict[str, Any] = json.loads((folder / "inventory.json").read_text())
            return cls(tuple(Item(**item) for item in data["items"]), tuple(data["missing"]))
        except FileNotFoundError as error:
            raise InputError(
                f"{folder} holds no inventory.json; make it with 'lavin-data prepare --out DIR'."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder / 'inventory.json'} is damaged ({error}); prepare the folder again."
            ) from error


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture on its way into the prepared folder.

    Attributes:
        image: (H, W, 3) RGB or, for a cut-out, (H, W, 4) RGBA with straight alpha; uint8.
        file: source file inside its package.
        part: which crop of the file, or empty.
    """

    image: UInt8
    file: str
    license: str
    attribution: str
    test: bool
    scene: bool = True
    part: str = ""


def _gcompris(path: Path) -> Iterator[Picture]:
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
                if not curate.licence_allowed(licence):
                    continue
                image = _decode(data)
                if image is None or not curate.looks_like_photo(image):
                    continue
                group = re.sub(r"[\d_]+$", "", Path(file).stem.lower())
                yield Picture(
                    image=_shrink(image, PHOTO_SIDE),
                    file=file,
                    license=licence,
                    attribution=owner,
                    test=curate.in_test_split(group if "painting" in file else Path(file).stem),
                    scene=scene,
                )


def _wallpapers(path: Path) -> Iterator[Picture]:
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


def _skimage(path: Path) -> Iterator[Picture]:
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


def _film(path: Path) -> Iterator[Picture]:
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
        stream.codec_context.skip_frame = "NONKEY"  # key frames: every cut, at most 5.3 s apart
        for frame in container.decode(stream):
            seconds = float(frame.time)
            if not FILM_START <= seconds <= FILM_END or border - FILM_GAP < seconds < border:
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


def _stamps(path: Path) -> Iterator[Picture]:
    with tempfile.TemporaryDirectory() as folder:
        unpack_deb(path, Path(folder))
        root = Path(folder, "usr/share/tuxpaint/stamps")
        kept: dict[str, UInt8] = {}
        for file in sorted(root.rglob("*.png")):
            name = file.relative_to(root).as_posix()
            if curate.matches(name, curate.STAMPS_DENIED):
                continue
            rgba = _cutout(file)
            if rgba is not None and curate.looks_like_cutout(rgba):
                kept[name] = rgba
        held_out = _hold_out_groups(kept)
        for name, rgba in kept.items():
            yield Picture(
                image=rgba,
                file=name,
                license="GPL-2",
                attribution="Tux Paint stamps, Bill Kendrick and contributors",
                test=curate.group_of(name.removesuffix(".png")) in held_out,
            )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A package and how to take pictures out of it."""

    package: Package
    kind: str
    read: Callable[[Path], Iterator[Picture]]


def _deb(name: str, version: str, size: int, sha256: str) -> Package:
    return Package(name=name, version=version, client="deb", sha256=sha256, size=size)


SOURCES: dict[str, Source] = {
    "gcompris": Source(
        package=_deb(
            "gcompris-qt-data",
            "3.1-2",
            44196292,
            "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
        ),
        kind="photo",
        read=_gcompris,
    ),
    "lomiri-16.04": Source(
        package=_deb(
            "lomiri-wallpapers-16.04",
            "20.04.0-2",
            15783184,
            "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
        ),
        kind="photo",
        read=_wallpapers,
    ),
    "lomiri-20.04": Source(
        package=_deb(
            "lomiri-wallpapers-20.04",
            "20.04.0-2",
            11377208,
            "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709",
        ),
        kind="photo",
        read=_wallpapers,
    ),
    "skimage": Source(
        package=Package(
            name="scikit-image",
            version="0.26.0",
            client="wheel",
            size=13711217,
            sha256="74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        ),
        kind="photo",
        read=_skimage,
    ),
    "film": Source(
        package=Package(
            name="moviepy",
            version="2.2.1",
            client="sdist",
            size=58431438,
            sha256="c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1",
        ),
        kind="photo",
        read=_film,
    ),
    "stamps": Source(
        package=_deb(
            "tuxpaint-stamps-default",
            "2022.06.04-1",
            160880444,
            "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        ),
        kind="cutout",
        read=_stamps,
    ),
}


def default_cache() -> Path:
    """Return the folder that keeps downloads when none is given."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lavin" / "packages"


def prepare(out: Path, cache: Path | None = None, sources: list[str] | None = None) -> Inventory:
    """Fetch, curate and write the training pictures.

    Args:
        out: folder to fill; what an earlier preparation wrote there is replaced.
        cache: folder that keeps downloads; ``default_cache()`` if None.
        sources: names from ``SOURCES``, or ``"generated"``. None takes all; then one that cannot
            be fetched is left out with a warning. One asked for by name is an error instead.

    Returns:
        What was written; also in ``out/inventory.json``.

    Raises:
        InputError: a source has no such name.
        WorkError: a named source cannot be fetched, or a package's hash is wrong.
    """
    names = list(SOURCES) if sources is None else sources
    for name in names:
        if name not in SOURCES and name != "generated":
            raise unknown_name("source", name, [*SOURCES, "generated"])
    items: list[Item] = []
    missing: list[str] = []
    bar = tqdm(names, desc="prepare", unit="source", disable=None)
    for name in bar:
        bar.set_postfix_str(name)
        if name == "generated":
            continue
        source = SOURCES[name]
        try:
            path = fetch(source.package, cache or default_cache())
        except (OSError, subprocess.SubprocessError) as error:
            why = _why(error)
            if sources is not None:
                raise WorkError(
                    f"source {name!r} ({source.package.name} {source.package.version}) cannot be "
                    f"fetched: {why}; check the network and 'apt-get update', or leave it out."
                ) from error
            log.warning("source %s is left out, it cannot be fetched: %s", name, why)
            missing.append(name)
            continue
        items += _write(source.read(path), source.kind, source.package, out)
    for kind in ("photo", "cutout"):
        if not any(item.kind == kind for item in items):
            if "generated" not in names:
                log.warning("no real %ss are to be had, generated ones stand in", kind)
            items += _write(_generated(kind), kind, None, out)
    _remove_stale(out, items)
    inventory = Inventory(tuple(items), tuple(missing))
    inventory.save(out)
    return inventory


def _generated(kind: str) -> Iterator[Picture]:
    make = generated.photo if kind == "photo" else generated.cutout
    for number in range(40):
        yield Picture(
            image=make(np.random.default_rng((number, kind == "photo"))),
            file=f"{kind}-{number:03d}",
            license="Apache-2.0",
            attribution="made by lavin_deploy",
            test=number % 5 == 0,
        )


def _write(
    pictures: Iterator[Picture], kind: str, package: Package | None, out: Path
) -> Iterator[Item]:
    name = package.name if package else "generated"
    seen: set[str] = set()
    for picture in pictures:
        stem = re.sub(r"[^a-z0-9.]+", "-", f"{picture.file}-{picture.part}".lower()).strip("-")
        unique = f"{name}.{stem.replace('.', '-')[-80:]}"
        if unique in seen:
            unique += f"-{curate.stable_number(picture.file) % 10**6}"
        seen.add(unique)
        split = "test" if picture.test else "train"
        path = f"{kind}s/{split}/{unique}.{'jpg' if kind == 'photo' else 'png'}"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        if kind == "photo":
            Image.fromarray(picture.image).save(out / path, quality=93, subsampling=0)
        else:
            Image.fromarray(picture.image).save(out / path)
        yield Item(
            id=unique,
            kind=kind,
            path=path,
            package=name,
            version=package.version if package else "1",
            file=picture.file,
            license=picture.license,
            split=split,
            attribution=picture.attribution,
            scene=picture.scene,
        )


def _remove_stale(out: Path, items: list[Item]) -> None:
    """Remove what an earlier inventory of ``out`` lists and the new one does not."""
    try:
        earlier = Inventory.load(out)
    except InputError:
        return
    kept = {item.path for item in items}
    for item in earlier.items:
        if item.path not in kept and ".." not in Path(item.path).parts:
            (out / item.path).unlink(missing_ok=True)


def _decode(data: bytes) -> UInt8 | None:
    """Decode an opaque picture of at least 128 px to (H, W, 3) uint8, or return None."""
    with Image.open(io.BytesIO(data)) as opened:
        if min(opened.size) < 128:
            return None
        if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
            rgba = np.asarray(opened.convert("RGBA"))
            if int(rgba[..., 3].min()) < 250:
                return None
        return np.asarray(opened.convert("RGB"))


def _cutout(file: Path) -> UInt8 | None:
    """Read a stamp as (H, W, 4) uint8, cropped to its alpha, shrunk with premultiplied colour."""
    with Image.open(file) as opened:
        if opened.mode not in ("RGBA", "LA", "P") or min(opened.size) < 24:
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


def _hold_out_groups(names: dict[str, UInt8]) -> set[str]:
    """Choose the groups of look-alike stamps that are test: one fifth of each top folder."""
    by_folder: dict[str, dict[str, int]] = {}
    for name in names:
        group = curate.group_of(name.removesuffix(".png"))
        groups = by_folder.setdefault(name.partition("/")[0], {})
        groups[group] = groups.get(group, 0) + 1
    chosen: set[str] = set()
    for groups in by_folder.values():
        wanted = round(0.2 * sum(groups.values()))
        for group in sorted(groups, key=curate.stable_number):
            if groups[group] <= wanted:
                chosen.add(group)
                wanted -= groups[group]
    return chosen


def _shrink(image: UInt8, short_side: int) -> UInt8:
    scale = short_side / min(image.shape[:2])
    if scale >= 1:
        return image
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _quarters(image: UInt8) -> list[UInt8]:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    if min(height, width) < 128:
        return [image]
    return [image[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]


def _why(error: Exception) -> str:
    text = getattr(error, "stderr", None) or str(error)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    lines = [line for line in str(text).splitlines() if line and not line.startswith("W")]
    return lines[-1].strip() if lines else type(error).__name__
