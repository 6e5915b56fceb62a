"""Real engines by TensorRT-RTX, ahead of time, on a machine without a GPU."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.cli.export import export
from lavin_deploy.config import preset
from lavin_deploy.engines.build import (
    BuildRequest,
    Watcher,
    build_bundle,
    check_precision,
    choose_capabilities,
    choose_variant,
)
from lavin_deploy.engines.engine import build_engine
from lavin_deploy.engines.gpu import Gpu
from lavin_deploy.engines.identity import BuildOptions
from lavin_deploy.engines.library import Library, dialect_of, load_library
from lavin_deploy.engines.store import EngineStore
from lavin_deploy.errors import InputError, WorkError
from tests.helpers import plugins
from tests.helpers.checkpoints import write_released

pytestmark = pytest.mark.bundle
ORIN = Gpu(index=0, name="Orin", capability=(8, 7), memory=64 << 30, processors=16, driver=(12, 6))
H100 = replace(ORIN, name="H100", capability=(9, 0))


@pytest.fixture
def bundle(exported: Bundle) -> Bundle:
    pytest.importorskip("tensorrt_rtx")
    return exported


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_native_graph_builds(bundle: Bundle, precision: str) -> None:
    request = BuildRequest(target="tensorrt-rtx", precision=precision, capabilities=("8.9",))
    built = build_bundle(bundle, request)
    variant = bundle.variant(precision, "native")
    assert len(built) == len(variant.graphs)
    assert all(each.bytes > 10_000 and not each.reused for each in built)
    assert all(each.reused for each in build_bundle(bundle, request))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_portable_graph_builds_with_our_plugins(
    bundle: Bundle, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = plugins.plugin_library()
    monkeypatch.setenv("LAVIN_PLUGINS", str(library))
    request = BuildRequest(
        target="tensorrt-rtx", precision=precision, dialect="portable", capabilities=("8.9",)
    )
    kernels = library.read_bytes()
    middle = kernels[len(kernels) // 2 :][:4096]
    for each in build_bundle(bundle, request):
        carried = middle in (each.folder / "engine.plan").read_bytes()
        custom = each.graph.startswith(("step", "context", "query", "refresh"))
        assert carried is custom, each.graph
    if precision == "fp16":
        plain = build_bundle(bundle, replace(request, decomposed=True))
        assert not any(middle in (e.folder / "engine.plan").read_bytes() for e in plain)


@pytest.mark.soak
@pytest.mark.parametrize("context", ["joint", "frozen"])
def test_every_form_of_merged_pairs_builds(
    tmp_path: Path, golden_tasks: Path, context: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joint ones, with the update inside too, and refreshed; ``make test`` builds frozen ones."""
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setenv("LAVIN_PLUGINS", str(plugins.plugin_library()))
    config = preset("tiny")
    write_released(tmp_path / "ckpt", replace(config, dit=replace(config.dit, pairing="merged")))
    words = ["--ckpt", str(tmp_path / "ckpt"), "--out", str(tmp_path / "m.lavin"), "--force"]
    words += ["--size=32x32", "--pairs=1", "--steps=3", "--context", context]
    words += ["--euler", "--tasks", str(golden_tasks)]
    words += ["--precision=fp16", "--precision=int8", "--dialect=native", "--dialect=portable"]
    export(words, standalone_mode=False)
    with open_bundle(tmp_path / "m.lavin") as opened:
        names = {graph.name for variant in opened.manifest.variants for graph in variant.graphs}
        assert ("refresh" if context == "frozen" else "step_euler") in names
        for precision, dialect in itertools.product(("fp16", "int8"), ("native", "portable")):
            request = BuildRequest(
                target="tensorrt-rtx",
                precision=precision,
                dialect=dialect,
                capabilities=("8.9",),
            )
            built = build_bundle(opened, request)
            assert len(built) == len(opened.variant(precision, dialect).graphs)


def test_portable_graphs_without_onnx(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    request = BuildRequest(
        target="tensorrt-rtx", precision="fp16", dialect="portable", decomposed=True
    )
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="pip install onnx"):
        build_bundle(bundle, request)


def test_engines_for_several_gpus(bundle: Bundle, tmp_path: Path) -> None:
    steps = []

    class Counter(Watcher):
        def begin(self, graph: str, number: int, count: int) -> None:
            steps.append((graph, number, count))

    request = BuildRequest(
        target="tensorrt-rtx",
        precision="fp16",
        capabilities=("12.0", "8.9"),
        options=BuildOptions(memory=256 << 20),
    )
    built = build_bundle(bundle, request, Counter())
    assert steps[0][1:] == (1, len(built))
    folders = {each.folder for each in built}
    records = [record for place, record in EngineStore(bundle).records() if place in folders]
    assert {record.identity.options.capabilities for record in records} == {("8.9", "12.0")}
    with pytest.raises(InputError, match="does without a timing cache"):
        build_bundle(bundle, replace(request, timing_cache=tmp_path / "c", capabilities=("8.0",)))


def test_a_graph_that_is_no_graph_fails_with_the_reason(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(WorkError, match=r"does not build broken\.onnx: .*arse"):
        build_engine(load_library("tensorrt-rtx"), tmp_path / "broken.onnx", BuildOptions())


def test_a_process_survives_plugins_that_are_missing(bundle: Bundle, tmp_path: Path) -> None:
    """The parser would abort; the command says what to build instead."""
    words = [str(bundle.path), "--target=tensorrt-rtx", "--dialect=portable"]
    done = subprocess.run(
        [sys.executable, "-c", "from lavin_deploy.cli.build import build; build()", *words],
        env={name: value for name, value in os.environ.items() if name != "LAVIN_PLUGINS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "the portable dialect needs liblavin_plugins.so; build it with: cmake" in done.stderr


def asked(*capabilities: str, **options: bool) -> BuildRequest:
    return BuildRequest(
        target="tensorrt-rtx", capabilities=capabilities, options=BuildOptions(**options)
    )


def test_compute_capabilities() -> None:
    pytest.importorskip("tensorrt_rtx")
    rtx = load_library("tensorrt-rtx")
    full = Library("tensorrt", None, "10.3.0.26")
    assert choose_capabilities(asked(), rtx, lambda: H100) == ("any",)
    assert choose_capabilities(asked("12.0", "8.9"), rtx, lambda: H100) == ("8.9", "12.0")
    assert choose_capabilities(asked("current"), rtx, lambda: H100) == ("9.0",)
    assert choose_capabilities(asked(refittable=True), rtx, lambda: H100) == ("9.0",)
    assert choose_capabilities(asked(), full, lambda: ORIN) == ("8.7",)
    with pytest.raises(InputError, match=r"not build for compute capability 8\.7 ahead of time"):
        choose_capabilities(asked("8.7"), rtx, lambda: ORIN)
    with pytest.raises(InputError, match=r"built on its GPU, which is Orin.*not 8\.9"):
        choose_capabilities(asked("8.9"), full, lambda: ORIN)


def test_only_what_is_parsed_as_it_lies_goes_without_weights(exported: Bundle) -> None:
    request = BuildRequest(target="tensorrt-rtx", options=BuildOptions(stripped=True))
    rtx = Library(target="tensorrt-rtx", version="1.7.1", module=None)
    assert choose_variant(exported, request, rtx).dialect == "native"
    with pytest.raises(InputError, match="keep their weights"):
        choose_variant(exported, replace(request, dialect="portable"), rtx)


def test_fp8_is_refused_for_orin() -> None:
    with pytest.raises(InputError, match=r"8\.7 \(Orin\) has no FP8.*int8 instead"):
        check_precision("fp8", ("8.7",))
    check_precision("fp8", ("8.9", "12.0"))
    check_precision("int8", ("8.7",))


@pytest.mark.parametrize(
    ("target", "version", "dialect"),
    [
        ("tensorrt", "10.3.0.26", "portable"),
        ("tensorrt", "10.14.1", "portable"),
        ("tensorrt", "10.15.0", "native"),
        ("tensorrt", "11.4.1.2", "native"),
        ("tensorrt-rtx", "1.7.1.116", "native"),
    ],
)
def test_the_dialect_of_a_library(target: str, version: str, dialect: str) -> None:
    assert dialect_of(target, version) == dialect


def test_a_library_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match="needs the module tensorrt, which cannot be imported"):
        load_library("tensorrt")
