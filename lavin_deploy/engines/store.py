"""The engines of a bundle: folders below ``engines/``, each complete or not there.

``engines/LIBRARY/GRAPH.PRECISION.DIALECT.DIGEST/`` holds ``engine.plan``, ``engine.json`` (its
identity, size and sha256) and ``build.log``. They belong to a machine, so the manifest does not
list them; each is verified when it is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lavin_deploy.bundle.manifest import FileEntry, Graph, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.bundle.strict_json import from_json, parse
from lavin_deploy.engines.identity import Identity, Requirements, graph_label
from lavin_deploy.errors import BundleError, InputError, WorkError
from lavin_deploy.files import replaced_folder, temporary_sibling
from lavin_deploy.locks import only_writer, reader

PLAN, RECORD, LOG = "engine.plan", "engine.json", "build.log"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What ``engine.json`` says.

    Attributes:
        identity: of the engine.
        plan: size and sha256 of ``engine.plan``.
        seconds: that the build took.
    """

    identity: Identity
    plan: FileEntry
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StoredEngine:
    """An engine to load.

    Attributes:
        plan: its bytes.
        weights: the ONNX file to take weights from, for an engine that was built without; None
            for others.
    """

    plan: bytes
    weights: Path | None


class EngineStore:
    """The engines of one open bundle.

    Args:
        bundle: in its folder form.

    Raises:
        InputError: the bundle is a zip file.
    """

    def __init__(self, bundle: Bundle) -> None:
        if not bundle.path.is_dir():
            raise InputError(
                f"{str(bundle.path)!r} is a packed bundle, which cannot hold engines; unzip it and "
                "name the folder."
            )
        self.bundle = bundle
        self.folder = bundle.path / "engines"

    def records(self) -> Iterator[tuple[Path, Record]]:
        """Yield the folder and the record of every complete engine; unreadable ones are passed."""
        for file in sorted(self.folder.glob(f"*/[!.]*/{RECORD}")):
            try:
                yield file.parent, from_json(Record, parse(file.read_bytes(), RECORD), RECORD)
            except (BundleError, OSError):
                continue

    def size(self, identity: Identity) -> int | None:
        """Bytes of exactly that engine, or None where it is not there, whole."""
        folder = self.folder / identity.folder
        with reader(self.folder):
            for place, record in self.records():
                if place == folder and record.identity == identity:
                    return None if _read(place, record) is None else record.plan.size
        return None

    def add(self, identity: Identity, plan: bytes, log: str, seconds: float) -> Path:
        """Keep an engine; one for the same graph by the same library and options is replaced.

        Returns:
            Its folder.

        Raises:
            WorkError: the disk refused.
        """
        target = self.folder / identity.folder
        entry = FileEntry(size=len(plan), sha256=hashlib.sha256(plan).hexdigest())
        record = Record(identity=identity, plan=entry, seconds=round(seconds, 3))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with only_writer(self.folder):
                with replaced_folder(target) as part:
                    (part / PLAN).write_bytes(plan)
                    (part / LOG).write_text(log, encoding="utf-8")
                    (part / RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n")
                for place, other in list(self.records()):
                    if place != target and _superseded(other.identity, identity):
                        _remove(place)
        except OSError as error:
            raise WorkError(
                f"keeping the engine in {str(self.folder)!r} failed: {error.strerror or error}; "
                "build in a copy of the bundle that you may write to."
            ) from error
        return target

    def find(self, variant: Variant, graph: Graph, required: Requirements) -> StoredEngine:
        """Return the engine for a graph that fits.

        Raises:
            BundleError: there is none, or what there is does not fit or is damaged; the message
                says which part differs and the command that fixes it.
        """
        label = graph_label(graph)
        fix = f"run: lavin-build {os.fspath(self.bundle.path)} --target {required.library}"
        if variant.precision != self.bundle.manifest.defaults.precision:
            fix += f" --precision {variant.precision}"
        faults: list[str] = []
        wanted = (label, variant.precision, variant.dialect)
        with reader(self.folder):
            for place, record in self.records():
                its = record.identity
                if (its.graph, its.precision, its.dialect) != wanted:
                    continue
                differences = list(required.differences(its))
                if not differences:
                    plan = _read(place, record)
                    if plan is not None:
                        stripped = its.options.stripped
                        weights = self.bundle.graph_file(variant, graph) if stripped else None
                        return StoredEngine(plan=plan, weights=weights)
                    differences = ["its file is damaged"]
                faults.append(" and ".join(differences))
        if not faults:
            raise BundleError(
                f"the bundle {self.bundle.path.name!r} has no engine for {label} "
                f"({variant.precision}, {variant.dialect}); {fix}."
            )
        raise BundleError(f"the engine for {label} cannot be used: {_listed(faults)}; {fix}.")


def _read(folder: Path, record: Record) -> bytes | None:
    """Return the plan, or None where it is not what the record says."""
    try:
        plan = (folder / PLAN).read_bytes()
    except OSError:
        return None
    return plan if hashlib.sha256(plan).hexdigest() == record.plan.sha256 else None


def _remove(folder: Path) -> None:
    """Delete an engine's folder, first of all its name, where that can be done."""
    with suppress(OSError), temporary_sibling(folder) as part:
        os.rename(folder, part)


def _superseded(old: Identity, new: Identity) -> bool:
    """Whether an engine is an earlier build of the same thing."""
    return (old.graph, old.precision, old.dialect, old.library, old.options) == (
        new.graph,
        new.precision,
        new.dialect,
        new.library,
        new.options,
    )


def _listed(faults: Sequence[str]) -> str:
    return "; another: ".join(dict.fromkeys(faults))
