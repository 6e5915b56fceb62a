"""The back-end contract on the toy bundle, and what ONNX Runtime does with bad graphs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lavin_deploy.bundle.manifest import Graph, Variant
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.errors import BundleError, InputError, WorkError
from lavin_deploy.runtime.backends.choose import make_backend
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend, physical_cores
from lavin_deploy.runtime.modulation import Modulation
from tests.helpers.bundles import edit
from tests.helpers.toy_bundle import write_toy

pytestmark = pytest.mark.unit


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    write_toy(tmp_path / "toy.lavin")
    with open_bundle(tmp_path / "toy.lavin") as opened:
        yield opened


def modulation(variant: Variant) -> Graph:
    return variant.graph("modulation")


def test_infer_computes_and_never_aliases(bundle: Bundle) -> None:
    variant = bundle.variant()
    with OnnxRuntimeBackend(bundle, variant, threads=1) as backend:
        t = np.array([0.5], np.float32)
        first = backend.infer(modulation(variant), {"t": t})["modulation"]
        t[:] = 0.75
        second = backend.infer_one(modulation(variant), t=t)
    np.testing.assert_array_equal(first, [[2, 0]])
    np.testing.assert_array_equal(second, [[4, 0]])


def test_inputs_need_not_be_contiguous(bundle: Bundle) -> None:
    variant = bundle.variant()
    decoder = variant.graph("decoder", height=32, width=32)
    latents = np.random.default_rng(0).normal(size=(4, 4, 1, 16, 1)).astype(np.float32).T
    with OnnxRuntimeBackend(bundle, variant) as backend:
        pixels = backend.infer_one(decoder, latents=latents)
        copied = backend.infer_one(decoder, latents=latents.copy())
    np.testing.assert_array_equal(pixels, copied)


def test_mapped_weights_give_the_same(bundle: Bundle) -> None:
    variant = bundle.variant()
    decoder = variant.graph("decoder", height=32, width=32)
    latents = np.random.default_rng(0).standard_normal((1, 16, 1, 4, 4), np.float32)
    outputs = []
    for mapped in (False, True):
        with OnnxRuntimeBackend(bundle, variant, mapped=mapped) as backend:
            outputs.append(backend.infer_one(decoder, latents=latents))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ({}, r"takes the inputs \['t'\]; given: \[\]"),
        ({"t": np.zeros(1, np.float32), "u": np.zeros(1)}, "given: "),
        ({"t": np.zeros(1)}, r"float32 \(1,\); given: float64 \(1,\)"),
        ({"t": np.zeros(2, np.float32)}, r"given: float32 \(2,\)"),
    ],
)
def test_infer_validates_names_dtypes_and_shapes(
    bundle: Bundle, feed: dict[str, Any], message: str
) -> None:
    variant = bundle.variant()
    with (
        OnnxRuntimeBackend(bundle, variant) as backend,
        pytest.raises(InputError, match=message),
    ):
        backend.infer(modulation(variant), feed)


def test_a_back_end_runs_only_while_it_is_active(bundle: Bundle) -> None:
    variant = bundle.variant()
    backend = OnnxRuntimeBackend(bundle, variant)
    feed = {"t": np.zeros(1, np.float32)}
    with pytest.raises(RuntimeError, match="not active"):
        backend.infer(modulation(variant), feed)
    with backend:
        backend.activate()
        backend.infer(modulation(variant), feed)
    backend.deactivate()
    with pytest.raises(RuntimeError, match="not active"):
        backend.infer(modulation(variant), feed)
    with backend:
        backend.infer(modulation(variant), feed)


def test_a_graph_that_differs_from_the_manifest_is_refused(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.lavin")
    edit(
        tmp_path / "toy.lavin",
        lambda data: data["variants"][0]["graphs"][0]["outputs"][0].update(shape=[1, 3]),
    )
    with open_bundle(tmp_path / "toy.lavin") as bundle:
        variant = bundle.variant()
        with (
            OnnxRuntimeBackend(bundle, variant) as backend,
            pytest.raises(BundleError, match="where the manifest says"),
        ):
            backend.prepare(modulation(variant))


def test_what_the_library_refuses_is_a_sentence(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "toy.lavin"
    write_toy(path)
    (path / "graphs" / "modulation.onnx").write_bytes(b"no graph")
    entry = {"size": 8, "sha256": hashlib.sha256(b"no graph").hexdigest()}
    edit(path, lambda data: data["files"].update({"graphs/modulation.onnx": entry}))
    with open_bundle(path) as bundle:
        variant = bundle.variant()
        with (
            OnnxRuntimeBackend(bundle, variant) as backend,
            pytest.raises(BundleError, match=r"cannot load 'graphs/modulation\.onnx'"),
        ):
            backend.prepare(modulation(variant))


def test_a_failing_computation_is_a_work_error(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        def run(self, *_: object) -> None:
            raise RuntimeError("out of memory")

    variant = bundle.variant()
    with OnnxRuntimeBackend(bundle, variant) as backend:
        monkeypatch.setattr(backend, "session", lambda graph: Session())
        with pytest.raises(WorkError, match="'modulation' failed in onnxruntime: out of memory"):
            backend.infer(modulation(variant), {"t": np.zeros(1, np.float32)})


def test_without_onnxruntime_the_extra_is_named(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    backend = OnnxRuntimeBackend(bundle, bundle.variant())
    with pytest.raises(InputError, match=r"pip install 'lavin-deploy\[cpu\]'"):
        backend.activate()


def test_auto_says_what_it_chose(bundle: Bundle) -> None:
    choice = make_backend("auto", bundle).choice
    assert choice.startswith("backend auto: onnxruntime ")
    assert choice.endswith("; the bundle has no engines")
    assert not make_backend("onnxruntime", bundle).choice


def test_threads_default_to_physical_cores(bundle: Bundle) -> None:
    assert OnnxRuntimeBackend(bundle, bundle.variant()).threads == physical_cores() >= 1
    assert OnnxRuntimeBackend(bundle, bundle.variant(), threads=3).threads == 3


def test_workers_spin_within_a_run_only(bundle: Bundle) -> None:
    variant = bundle.variant()
    with OnnxRuntimeBackend(bundle, variant) as backend:
        options = backend.session(modulation(variant)).get_session_options()
        assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_modulation_rows_come_from_the_table_or_once_from_the_graph(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OnnxRuntimeBackend(bundle, bundle.variant()) as backend:
        times: list[float] = []
        infer = backend.infer_impl

        def noting(graph: Graph, feed: Any) -> Any:
            times.append(float(feed["t"][0]))
            return infer(graph, feed)

        monkeypatch.setattr(backend, "infer_impl", noting)
        rows = Modulation(backend, bundle.manifest)
        np.testing.assert_array_equal(rows.row(np.float32(0.5)), [[2, 0]])
        assert times == []
        for _ in range(2):
            np.testing.assert_allclose(rows.row(np.float32(0.6)), [[2.5, 0]], rtol=1e-6)
        assert times == [float(np.float32(0.6))]


def test_a_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.lavin")
    edit(
        tmp_path / "toy.lavin",
        lambda data: data["tables"]["modulation"].update(grid=[0.0, 0.5]),
    )
    with open_bundle(tmp_path / "toy.lavin") as bundle:
        backend = OnnxRuntimeBackend(bundle, bundle.variant())
        with backend, pytest.raises(BundleError, match=r"where float32 \(2, 2\) belongs"):
            Modulation(backend, bundle.manifest)
