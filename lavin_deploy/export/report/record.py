"""What an export writes down of itself: the data of ``report.json``, and the manifest's short form.

``page.py`` draws the same data as a page.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import torch

from lavin_deploy.bundle.manifest import Manifest, Variant
from lavin_deploy.export.checks.parity import TOLERANCE, Parity
from lavin_deploy.export.dialect_export import FP32, files_of
from lavin_deploy.export.variants import JudgedVariant


def record(
    manifest: Manifest, folder: Path, rows: Sequence[Parity], judged: Sequence[JudgedVariant]
) -> dict[str, Any]:
    """Collect everything.

    Args:
        manifest: of the bundle, its ``files`` filled.
        folder: where the bundle is being written.
        rows: deviations of the float32 graphs and answers from torch.
        judged: the variants of lower precision, with their verdicts.

    Returns:
        JSON data; what was not measured is null.
    """
    verdicts = {(j.variant.precision, j.variant.dialect): j for j in judged}
    timings: dict[str, dict[str, float]] = {}
    variants = []
    for variant in manifest.variants:
        entry = _files(variant, manifest, folder) | {"gate": _exact(variant, rows)}
        judged_variant = verdicts.get((variant.precision, variant.dialect))
        if judged_variant is not None:
            entry |= _verdict(judged_variant)
            speed = judged_variant.verdict.speed
            if speed is not None:
                timings.setdefault(f"{FP32} {variant.dialect}", {}).setdefault(
                    "whole answer", speed.base_milliseconds
                )
                timings[f"{variant.precision} {variant.dialect}"] = {
                    "whole answer": speed.milliseconds
                }
        variants.append(entry)
    return {
        "name": manifest.name,
        "created_by": manifest.created_by,
        "versions": versions(),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count() or 1},
        "model": manifest.model,
        "parity": [row.to_dict() for row in rows],
        "variants": variants,
        "timings": timings,
    }


def versions() -> dict[str, str]:
    """Of the libraries that an export depends on."""
    return {m.__name__: str(m.__version__) for m in (torch, onnx, ort)}


def _files(variant: Variant, manifest: Manifest, folder: Path) -> dict[str, Any]:
    graphs = []
    for graph in variant.graphs:
        nodes = onnx.load(folder / graph.file, load_external_data=False).graph.node
        graphs.append(
            {
                "file": graph.file,
                "bytes": manifest.files[graph.file].size,
                "nodes": len(nodes),
                "operators": dict(Counter(node.op_type for node in nodes).most_common()),
            }
        )
    return {
        "precision": variant.precision,
        "dialect": variant.dialect,
        "context": variant.context,
        "bytes": sum(manifest.files[file].size for file in files_of(variant)),
        "graphs": graphs,
        "wide": {},
        "islands": list(variant.islands),
        "modules": [],
        "calibration": None,
    }


def _exact(variant: Variant, rows: Sequence[Parity]) -> dict[str, Any]:
    """What a float32 variant passed: its graphs against torch, else there would be no bundle."""
    files = {graph.file for graph in variant.graphs}
    checks = []
    for row in rows:
        graph, _, output = row.graph.partition(":")
        if graph in files:
            measured = {"rel_l2": row.rel_l2, "p99": row.p99, "finite": True, "passed": True}
            unknown = dict.fromkeys(("cosine", "largest", "torch_rel_l2"))
            place = {"graph": graph, "output": output, "runtime": ort.__name__, "why": ""}
            checks.append({**place, **unknown, **measured})
    return {
        "passed": True,
        "forced": False,
        "limits": {"rel_l2": TOLERANCE},
        "checks": checks,
        "tasks": [],
        "speed": None,
        "not_run": "",
    }


def _verdict(judged: JudgedVariant) -> dict[str, Any]:
    return {
        "gate": judged.verdict.to_dict(),
        "wide": dict(judged.wide),
        "modules": [
            asdict(one) | {"rel_l2": one.rel_l2 if one.rel_l2 < float("inf") else None}
            for one in judged.ranking
        ],
        "calibration": None if judged.calibration is None else dict(judged.calibration),
    }


def _cpu() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
