"""Prepare the training pictures: photographs, cut-outs and labelled pictures, split by source.

``prepare`` fetches pinned packages (see ``packages``), keeps what ``curate`` lets through and
writes::

    OUT/<kind>-{train,test}-000000.tar    shards of samples; see ``shards``
    OUT/inventory.json                    licence and credit of every item

A photo is ``<id>.jpg``, RGB, short side 128-320 px; a cut-out ``<id>.png``, RGBA with straight
alpha, tightly cropped, long side at most 256 px; a labelled picture is RGB or grey with
``<id>.target.png`` or ``.jpg`` beside it, and its kind is its task. ``<id>.json`` is its item of
the inventory. A source that was written to its end is not prepared again.

One fifth of the source files is ``test``. Crops of one file, and files that show the same thing,
are never in both splits. Where no real photograph or no real cut-out is available, generated ones
stand in, so that everything downstream runs without a network.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError, WorkError, unknown_name
from lavin_deploy.locks import only_writer
from lavin_deploy.training.data import curate, generated
from lavin_deploy.training.data.catalogue import SOURCES
from lavin_deploy.training.data.inventory import Inventory, Item
from lavin_deploy.training.data.packages import Package, fetch
from lavin_deploy.training.data.readers import Picture
from lavin_deploy.training.data.shards import FORMAT, ShardWriter

log = logging.getLogger(__name__)

SHARD_NAME = re.compile(r"\w+-(train|test)-\d{6}\.tar")


def default_cache() -> Path:
    """Return the folder that keeps downloads when none is given."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lavin" / "packages"


def prepare(out: Path, cache: Path | None = None, sources: list[str] | None = None) -> Inventory:
    """Fetch, curate and write the training pictures; two at once in one folder wait for each other.

    Args:
        out: folder to fill; what an earlier preparation wrote there is kept where it is what this
            one would write, and else removed.
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
    out.mkdir(parents=True, exist_ok=True)
    with only_writer(out):
        return _prepare(out, cache, sources, names)


def _prepare(
    out: Path, cache: Path | None, sources: list[str] | None, names: list[str]
) -> Inventory:
    try:
        earlier = Inventory.load(out)
    except InputError:
        earlier = Inventory(())
    kept = Inventory(())
    bar = tqdm(names, desc="prepare", unit="source", disable=None)
    for name in bar:
        bar.set_postfix_str(name)
        if name == "generated":
            continue
        source = SOURCES[name]
        state = f"{source.package.sha256} {FORMAT}"
        if _whole(earlier, name, state, out):
            kept = _joined(kept, _of(earlier, source.package.name), name, state)
            continue
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
            kept = replace(kept, missing=(*kept.missing, name))
            continue
        pictures = source.read(path)
        fresh = _write(pictures, source.kind, source.package, out, (*kept.items, *earlier.items))
        kept = _joined(kept, fresh, name, state)
        others = [item for item in earlier.items if item.package != source.package.name]
        earlier = replace(
            earlier, items=(*others, *fresh), complete={**earlier.complete, name: state}
        )
        earlier.save(out)  # so that an interrupted preparation goes on from here
    for kind in ("photo", "cutout"):
        if not any(item.kind == kind for item in kept.items):
            if "generated" not in names:
                log.warning("no real %ss are available, generated ones stand in", kind)
            name, state = f"generated {kind}s", str(FORMAT)
            if _whole(earlier, name, state, out):
                items = [i for i in _of(earlier, "generated") if i.kind == kind]
            else:
                items = _write(_generated(kind), kind, None, out, (*kept.items, *earlier.items))
            kept = _joined(kept, items, name, state)
    kept.save(out)
    shards = {_shard(item) for item in kept.items}
    for file in out.glob("*-*-*.tar"):
        if SHARD_NAME.fullmatch(file.name) and file.name not in shards:
            file.unlink()
    return kept


def _shard(item: Item) -> str:
    return item.path.partition("/")[0]


def _of(inventory: Inventory, package: str) -> list[Item]:
    return [item for item in inventory.items if item.package == package]


def _joined(inventory: Inventory, items: list[Item], name: str, state: str) -> Inventory:
    complete = {**inventory.complete, name: state}
    return replace(inventory, items=(*inventory.items, *items), complete=complete)


def _whole(earlier: Inventory, name: str, state: str, out: Path) -> bool:
    """Say whether an earlier preparation wrote a source to its end and its shards are there."""
    package = SOURCES[name].package.name if name in SOURCES else "generated"
    shards = {_shard(item) for item in _of(earlier, package)}
    return earlier.complete.get(name) == state and all((out / each).is_file() for each in shards)


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
    pictures: Iterator[Picture],
    kind: str,
    package: Package | None,
    out: Path,
    others: Iterable[Item],
) -> list[Item]:
    """Write a source's pictures into shards of their own, beside those of ``others``."""
    name = package.name if package else "generated"
    items: dict[str, Item] = {}
    with ShardWriter(out, {_shard(item) for item in others}) as writer:
        for picture in pictures:
            text = f"{picture.file}-{picture.part}"
            stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[-80:]
            unique = "_".join(filter(None, (picture.task, name.replace(".", "-"), stem)))
            if unique in items:
                unique += f"-{curate.stable_number(picture.file) % 10**6}"
            split = "test" if picture.test else "train"
            group = f"{picture.task or kind}-{split}"
            end, content = _encoded(picture.image)
            files = {end: content}
            target = ""
            if picture.target is not None:
                target, content = _encoded(picture.target)
                files[f"target.{target}"] = content
            item = Item(
                id=unique,
                kind=picture.task or kind,
                path=f"{unique}.{end}",
                package=name,
                version=package.version if package else "1",
                file=picture.file,
                license=picture.license,
                split=split,
                attribution=picture.attribution,
                scene=picture.scene,
                target=target and f"{unique}.target.{target}",
            )
            files["json"] = json.dumps(vars(item)).encode()
            shard = writer.add(group, unique, files)
            items[unique] = replace(
                item,
                path=f"{shard}/{item.path}",
                target=item.target and f"{shard}/{item.target}",
            )
    return list(items.values())


def _encoded(image: U8) -> tuple[str, bytes]:
    """Return extension and bytes: RGB as JPEG; grey, labels and cut-outs as PNG."""
    held = io.BytesIO()
    if image.ndim == 3 and image.shape[2] == 3:
        Image.fromarray(image).save(held, "JPEG", quality=93, subsampling=0)
        return "jpg", held.getvalue()
    Image.fromarray(image).save(held, "PNG")
    return "png", held.getvalue()


def _why(error: Exception) -> str:
    text = getattr(error, "stderr", None) or str(error)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    lines = [line for line in str(text).splitlines() if line and not line.startswith("W:")]
    return lines[-1].strip() if lines else type(error).__name__
