"""What runs on a fresh GPU machine, run here on the CPU: its logic, not its figures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_engines
from lavin_deploy.arrays import Array
from lavin_deploy.bundle.manifest import Graph
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.engines.identity import graph_label
from lavin_deploy.models.checkpoint import load_checkpoint
from lavin_deploy.runtime.backends.choose import make_backend
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from tests.helpers import plugins

pytestmark = pytest.mark.bundle
LARGEST = {"fp32": 1e-5, "fp16": 5e-3, "int8": 0.5}


@pytest.mark.parametrize("precision", list(LARGEST))
def test_every_graph_is_near_fp32(exported: Bundle, precision: str) -> None:
    variant = exported.variant(precision, "portable")
    with make_backend("onnxruntime", exported, "fp32") as reference:
        rows = list(gpu_engines.compare(exported, variant, "onnxruntime", reference))
    assert {row.graph for row in rows} == {graph_label(graph) for graph in variant.graphs}
    for row in rows:
        assert row.passed, row
        assert row.error <= LARGEST[precision], row


def test_a_wrong_engine_is_found(exported: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = OnnxRuntimeBackend.infer_impl

    def wrong(self: OnnxRuntimeBackend, graph: Graph, feed: Mapping[str, Array]) -> object:
        outputs = whole(self, graph, feed)
        scale = 1.01 if self.variant.precision == "fp16" and graph.name == "decoder" else 1
        return {name: array * array.dtype.type(scale) for name, array in outputs.items()}

    monkeypatch.setattr(OnnxRuntimeBackend, "infer_impl", wrong)
    variant = exported.variant("fp16", "native")
    with make_backend("onnxruntime", exported, "fp32") as reference:
        rows = list(gpu_engines.compare(exported, variant, "onnxruntime", reference))
    height, width = exported.manifest.defaults.size
    decoder = graph_label(variant.graph("decoder", height=height, width=width))
    assert {row.graph for row in rows if not row.passed} == {decoder}


def test_the_plain_models_compile_whole(golden: Path) -> None:
    """A break in the graph would leave torch.compile without CUDA graphs: no fair comparison."""
    dit, vae = load_checkpoint(golden)
    compiled = [
        torch.compile(part, fullgraph=True, dynamic=False, backend="eager")
        for part in (dit, lambda x: vae.encode(x).mean, vae.decode)
    ]
    latents = torch.randn(1, 16, 6, 8, 8)
    with torch.no_grad():
        compiled[0](latents[:, :, :1], torch.tensor([0.5]), latents[:, :, 1:])
        assert compiled[1](torch.zeros(1, 3, 1, 64, 64)).shape == (1, 16, 1, 8, 8)
        assert compiled[2](latents[:, :, :1]).shape == (1, 3, 1, 64, 64)


def test_the_whole_check_and_again(golden_bundle: Path, tmp_path: Path) -> None:
    plugins.built()
    (tmp_path / "bundles").mkdir()
    shutil.copytree(golden_bundle, tmp_path / "bundles" / "golden.lavin")

    def check(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {"OUT": str(tmp_path), "WHEELS": str(tmp_path / "none")}
        return subprocess.run(
            [plugins.ROOT / "scripts" / "gpu_check.sh", "--cpu", *words],
            env={**os.environ, **environment, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )

    done = check()
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "report" / "gpu-check.md").read_text()
    assert "30 of 30 numbers are right" in page
    assert "5 of 5 outputs" in page
    assert "Did not run" not in page
    report = json.loads((tmp_path / "report" / "gpu-check.json").read_text())
    assert {row["passed"] for row in report["goldens"]["rows"]} == {True}
    assert report["answers-golden"]["rows"][0]["distance"] < 1e-4

    (tmp_path / "done" / "goldens").unlink()
    (tmp_path / "goldens.json").unlink()
    shutil.rmtree(tmp_path / "bundles" / "golden.lavin")
    again = check("kernels", "goldens", "report")
    assert again.returncode == 1
    assert "kernels: done before" in again.stdout
    assert "goldens: FAILED" in again.stdout
    assert "Did not run" in (tmp_path / "report" / "gpu-check.md").read_text()
