"""From a checkpoint to a bundle, written whole or not at all, in three stages.

``float32`` traces, writes and checks the graphs; ``fill`` adds what they compute once: tables,
stored tasks, the self-test; ``lower`` adds variants of lower precision, checked by the gate. One
:class:`Draft` goes from stage to stage.
"""

from __future__ import annotations

import json
from dataclasses import replace

from lavin_deploy.bundle.manifest import Manifest
from lavin_deploy.bundle.writer import BundleWriter
from lavin_deploy.export.checks.gate import read_limits
from lavin_deploy.export.dialect_export import FP32
from lavin_deploy.export.draft import Draft
from lavin_deploy.export.fill import fill
from lavin_deploy.export.float32 import export_float32
from lavin_deploy.export.given_folders import read_validation
from lavin_deploy.export.lower import lower
from lavin_deploy.export.report.page import Comparison, render, short
from lavin_deploy.export.report.record import record, versions
from lavin_deploy.export.request import ExportRequest
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE


def export_bundle(dit: JDiT, vae: STVAE, request: ExportRequest) -> Manifest:
    """Trace all graphs, check them, lower and check what is asked for, and write the bundle.

    Raises:
        InputError: sizes, pairs or steps that the model does not have, or samples that cannot be
            read.
        WorkError: a graph or a whole answer deviates from the model, or the gate refuses a
            variant; nothing is left behind.
    """
    samples = read_validation(request.validation, [task.name for task, _ in request.tasks])
    limits = {p: read_limits(p, request.gate) for p in request.precisions if p != FP32}
    with BundleWriter(request.out) as writer:
        draft = export_float32(dit, vae, request, writer)
        draft = fill(dit, vae, request, draft, samples)
        draft = lower(vae, request, draft, samples, limits)
        return _finish(draft)


def _finish(draft: Draft) -> Manifest:
    """Write the report and the manifest, and give the bundle its name."""
    writer, manifest = draft.writer, draft.bundle.manifest
    facts = record(manifest, writer.folder, draft.parity, draft.judged)
    writer.add_file("report.json", json.dumps(facts, indent=1, allow_nan=False).encode())
    writer.add_file("report.html", render(facts, _pictures(draft)).encode())
    report = {"parity": facts["parity"], "versions": versions(), "variants": short(facts)}
    return writer.finish(replace(manifest, report=report))


def _pictures(draft: Draft) -> list[Comparison]:
    """The first sample of every task, as float32 and every other variant answer it."""
    assert draft.exact is not None, "a draft is finished after lower"
    comparisons = []
    for task, (query, truth, answer) in draft.exact.first_samples.items():
        others = {
            f"{one.variant.precision} {one.variant.dialect}": one.answers.first_samples[task][2]
            for one in draft.judged
        }
        answers = {FP32: answer, **others}
        comparisons.append(Comparison(task=task, query=query, truth=truth, answers=answers))
    return comparisons
