"""First stage of an export: trace every dialect, write its float32 graphs, check each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tqdm import tqdm

from lavin_deploy.bundle.manifest import Refresh, Variant
from lavin_deploy.bundle.writer import BundleWriter
from lavin_deploy.export.checks.backends import in_onnxruntime
from lavin_deploy.export.checks.parity import Parity, cases_of, check_graph
from lavin_deploy.export.dialect_export import FP32, DialectExport
from lavin_deploy.export.draft import Draft
from lavin_deploy.export.graphs.catalogue import graph_specs
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.export.request import ExportRequest, first_manifest
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE


def export_float32(dit: JDiT, vae: STVAE, request: ExportRequest, writer: BundleWriter) -> Draft:
    """Write ``graphs/`` with one float32 weight file for all dialects, and compare with the models.

    Raises:
        WorkError: a graph deviates from the model, or the disk refused.
    """
    dialect_exports = _traced(dit, vae, request, writer)
    bases = {
        dialect: replace(each.write(FP32, each.traced), refresh=_refresh(request))
        for dialect, each in dialect_exports.items()
    }
    specs = dialect_exports[request.dialects[0]].specs
    draft = Draft(
        writer=writer,
        manifest=first_manifest(request, tuple(bases.values())),
        dialect_exports=dialect_exports,
        cases={spec.stem: cases_of(spec) for spec in tqdm(specs, "model", disable=None)},
        parity=(),
    )
    return replace(draft, parity=tuple(_checked(draft, bases)))


def _traced(
    dit: JDiT, vae: STVAE, request: ExportRequest, writer: BundleWriter
) -> dict[str, DialectExport]:
    weights: dict[str, WeightFile] = {}
    dialect_exports: dict[str, DialectExport] = {}
    for dialect in request.dialects:
        dialect_exports[dialect] = DialectExport(
            writer=writer,
            dialect=dialect,
            specs=list(graph_specs(dit, vae, replace(request.choice, dialect=dialect))),
            context=request.context,
            pairing=dit.config.pairing,
            weights=weights,
        )
        dialect_exports[dialect].trace()
    return dialect_exports


def _checked(draft: Draft, bases: Mapping[str, Variant]) -> list[Parity]:
    """Compare every float32 graph with the plain model."""
    bundle, rows = draft.bundle, list[Parity]()
    for dialect, base in bases.items():
        specs = draft.dialect_exports[dialect].specs
        graphs = zip(specs, base.graphs, strict=True)
        for spec, graph in tqdm(graphs, "check", total=len(specs), disable=None):
            with in_onnxruntime(bundle, base) as backend:  # one graph in memory at a time
                rows += check_graph(backend, graph, draft.cases[spec.stem])
    return rows


def _refresh(request: ExportRequest) -> Refresh | None:
    """For a joint model exported as frozen: exact until ``fill`` sets and measures the interval."""
    refreshes = request.context == "frozen" and request.config.dit.context == "joint"
    return Refresh(every=1) if refreshes else None
