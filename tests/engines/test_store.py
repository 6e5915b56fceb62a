"""Engines in a bundle: kept whole, found only where every part fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lavin_deploy.bundle.edit import pack
from lavin_deploy.bundle.manifest import Graph, Variant
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.engines.gpu import Gpu
from lavin_deploy.engines.identity import (
    BuildOptions,
    Identity,
    Requirements,
    graph_label,
    onnx_digest,
)
from lavin_deploy.engines.store import EngineStore
from lavin_deploy.errors import BundleError, InputError
from tests.helpers.processes import at_once
from tests.helpers.toy_bundle import write_toy

pytestmark = pytest.mark.bundle
ADA = Gpu(index=0, name="Ada", capability=(8, 9), memory=24 << 30, processors=128, driver=(13, 0))


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    write_toy(tmp_path / "toy.lavin")
    with open_bundle(tmp_path / "toy.lavin") as opened:
        yield opened


def parts(bundle: Bundle) -> tuple[Variant, Graph, Identity, Requirements]:
    """The toy's step graph, an engine of it and what a runtime asks for."""
    variant = bundle.variant()
    graph = next(graph for graph in variant.graphs if graph.name == "step")
    digest = onnx_digest(bundle.manifest, variant, graph)
    identity = Identity(
        graph=graph_label(graph),
        precision=variant.precision,
        dialect=variant.dialect,
        onnx=digest,
        library="tensorrt-rtx",
        version="1.7.1.116",
        options=BuildOptions(capabilities=("8.9", "12.0")),
    )
    required = Requirements(onnx=digest, library="tensorrt-rtx", version="1.7.1.116", gpu=ADA)
    return variant, graph, identity, required


def test_an_engine_comes_back(bundle: Bundle) -> None:
    variant, graph, identity, required = parts(bundle)
    store = EngineStore(bundle)
    assert store.size(identity) is None
    folder = store.add(identity, b"plan", "said\n", 1.25)
    assert store.size(identity) == len(b"plan")
    assert store.find(variant, graph, required).plan == b"plan"
    assert (folder / "build.log").read_text() == "said\n"
    with open_bundle(bundle.path):  # engines are no part of what the manifest lists
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"onnx": "0" * 64}, "built from another graph than the bundle has now"),
        ({"library": "tensorrt"}, "built by tensorrt, here is tensorrt-rtx"),
        ({"version": "1.6.0.1"}, "built by tensorrt-rtx 1.6.0.1, here is 1.7.1.116"),
        ({"options": BuildOptions(capabilities=("7.5", "8.0"))}, "for compute capability 7.5, 8.0"),
    ],
)
def test_a_stale_or_foreign_engine_is_refused(
    bundle: Bundle, change: dict[str, object], said: str
) -> None:
    variant, graph, identity, required = parts(bundle)
    store = EngineStore(bundle)
    store.add(replace(identity, **change), b"plan", "", 1.0)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match=said) as error:
        store.find(variant, graph, required)
    assert f"run: lavin-build {bundle.path} --target tensorrt-rtx" in str(error.value)


def test_other_plugins_are_refused(bundle: Bundle) -> None:
    variant, graph, identity, required = parts(bundle)
    store = EngineStore(bundle)
    store.add(replace(identity, plugins="a" * 64), b"plan", "", 1.0)
    with pytest.raises(BundleError, match="holds other plugins"):
        store.find(variant, graph, replace(required, plugins="b" * 64))
    assert store.find(variant, graph, required).plan == b"plan"  # it carries its own


def test_a_missing_engine_names_the_command(bundle: Bundle) -> None:
    variant, graph, _, required = parts(bundle)
    with pytest.raises(BundleError, match=r"has no engine for step-.*lavin-build"):
        EngineStore(bundle).find(variant, graph, required)


@pytest.mark.parametrize(
    ("options", "version", "capability", "fits"),
    [
        ({"version_compatible": True}, "1.9.0.1", (8, 9), True),
        ({"version_compatible": True}, "1.6.0.1", (8, 9), False),
        ({"version_compatible": True}, "2.0.0.1", (8, 9), False),
        ({"hardware_compatible": True}, "1.7.1.116", (9, 0), True),
        ({"hardware_compatible": True}, "1.7.1.116", (7, 5), False),
        ({"capabilities": ("any",)}, "1.7.1.116", (7, 5), True),
    ],
)
def test_compatible_engines_run_elsewhere(
    bundle: Bundle,
    options: dict[str, object],
    version: str,
    capability: tuple[int, int],
    fits: bool,
) -> None:
    _, _, identity, required = parts(bundle)
    built = replace(identity, options=replace(identity.options, **options))  # type: ignore[arg-type]
    here = replace(required, version=version, gpu=replace(ADA, capability=capability))
    assert (not list(here.differences(built))) is fits


@pytest.mark.parametrize("stripped", [False, True])
def test_an_engine_says_whether_it_needs_weights(bundle: Bundle, stripped: bool) -> None:
    variant, graph, identity, required = parts(bundle)
    built = replace(identity, options=replace(identity.options, stripped=stripped))
    store = EngineStore(bundle)
    store.add(built, b"plan", "", 1.0)
    file = bundle.graph_file(variant, graph)
    assert store.find(variant, graph, required).weights == (file if stripped else None)


def test_damage_is_noticed(bundle: Bundle) -> None:
    variant, graph, identity, required = parts(bundle)
    store = EngineStore(bundle)
    folder = store.add(identity, b"plan", "", 1.0)
    (folder / "engine.plan").write_bytes(b"plam")
    assert store.size(identity) is None
    with pytest.raises(BundleError, match="its file is damaged"):
        store.find(variant, graph, required)
    (folder / "engine.json").write_text("{")
    with pytest.raises(BundleError, match="has no engine"):
        store.find(variant, graph, required)


def test_a_new_build_replaces_the_old_one(bundle: Bundle) -> None:
    _, _, identity, _ = parts(bundle)
    store = EngineStore(bundle)
    old = store.add(replace(identity, version="1.6.0.1"), b"old", "", 1.0)
    other = store.add(replace(identity, options=BuildOptions()), b"any", "", 1.0)
    new = store.add(identity, b"new", "", 1.0)
    assert not old.exists()
    assert other.exists()
    assert new.exists()
    assert json.loads((new / "engine.json").read_text())["identity"]["version"] == "1.7.1.116"


def test_a_killed_build_leaves_nothing_that_counts(bundle: Bundle) -> None:
    _, _, identity, _ = parts(bundle)
    store = EngineStore(bundle)
    folder = store.add(identity, b"plan", "", 1.0)
    hidden = folder.with_name(".lavin-01234567.tmp")
    hidden.mkdir()
    folder.rename(hidden / folder.name)
    assert not list(store.records())


def test_every_part_changes_the_digest(bundle: Bundle) -> None:
    _, _, identity, _ = parts(bundle)
    others = [
        replace(identity, **change)  # type: ignore[arg-type]
        for change in (
            {"graph": "x"},
            {"precision": "another"},
            {"dialect": "another"},
            {"onnx": "1"},
            {"library": "tensorrt"},
            {"version": "2"},
            {"plugins": "1"},
            {"options": BuildOptions(memory=1)},
            {"options": BuildOptions(stripped=True)},
        )
    ]
    assert len({each.digest for each in (identity, *others)}) == 10


def test_a_packed_bundle_takes_no_engines(bundle: Bundle, tmp_path: Path) -> None:
    pack(bundle, tmp_path / "toy.zip")
    with (
        open_bundle(tmp_path / "toy.zip") as packed,
        pytest.raises(InputError, match="packed bundle, which cannot hold engines"),
    ):
        EngineStore(packed)


IMPORTS = """
from dataclasses import replace
from pathlib import Path
import sys
from lavin_deploy.bundle import open_bundle
from lavin_deploy.engines.store import EngineStore
from tests.engines.test_store import parts

class AnyGraph:
    library = "tensorrt-rtx"
    def __init__(self, required):
        self.required = required
    def differences(self, its):
        return self.required.differences(replace(its, onnx=self.required.onnx))
"""


def test_several_builders_keep_one_engine_and_a_reader_always_finds_one(bundle: Bundle) -> None:
    """Builds of changing graphs supersede each other; each plan says which graph it is of."""
    code = """
with open_bundle(sys.argv[1]) as bundle:
    store = EngineStore(bundle)
    variant, graph, identity, required = parts(bundle)
    for number in range(12):
        if sys.argv[2] == "reader":
            for _ in range(4):
                assert len(store.find(variant, graph, AnyGraph(required)).plan) > 9
        else:
            name = f"{int(sys.argv[2]) * 100 + number:064x}"
            store.add(replace(identity, onnx=name), name.encode(), "", 0.1)
"""
    _, _, identity, _ = parts(bundle)
    store = EngineStore(bundle)
    store.add(replace(identity, onnx="f" * 64), b"f" * 64, "", 0.1)
    words = [(bundle.path, word) for word in ("1", "2", "3", "reader")]
    at_once(IMPORTS, code, words)
    ((place, record),) = store.records()
    assert (place / "engine.plan").read_text() == record.identity.onnx
