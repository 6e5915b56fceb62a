"""Third stage of an export: variants of lower precision, each checked by the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lavin_deploy.bundle.manifest import Refresh, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.export.checks.backends import in_onnxruntime
from lavin_deploy.export.checks.checker import VariantChecker, stem
from lavin_deploy.export.checks.gate import Limits
from lavin_deploy.export.checks.parity import Case
from lavin_deploy.export.dialect_export import FP32, files_of
from lavin_deploy.export.draft import Draft
from lavin_deploy.export.given_folders import IGNORED, HeldOutSamples
from lavin_deploy.export.graphs.clip import measure_streams
from lavin_deploy.export.precision.calibration import (
    CalibrationEpisode,
    Feeds,
    leave_one_out,
    record_feeds,
)
from lavin_deploy.export.request import ExportRequest
from lavin_deploy.export.variants import make_variant
from lavin_deploy.flow.grids import check_grid, uniform
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.names import QUANTISED
from lavin_deploy.runtime.create_task import read_pairs
from lavin_deploy.tasks.pairs import find_pairs

FITTED, FITTED_STEPS = 32, 8
"""Inputs of a graph that quantisation is fitted to, and evaluations of each run they come from."""
REAL = 8
"""Inputs of a graph that are kept of real pictures, for the gate."""


def lower(
    vae: STVAE,
    request: ExportRequest,
    draft: Draft,
    samples: HeldOutSamples,
    limits: Mapping[str, Limits],
) -> Draft:
    """Write the variants that are asked for, and take float32 out where it is not.

    Args:
        vae: the plain model that streams are compared with.
        request: what to export.
        draft: filled.
        samples: held-out pictures, for the gate.
        limits: precision -> limits of the gate, of every precision but fp32.

    Raises:
        WorkError: the gate refuses a variant, or the disk refused.
    """
    bundle, bases = draft.bundle, draft.bases
    cases = draft.cases
    if limits:
        cases = _with_real_cases(cases, bundle, draft.manifest.variants[0], request, samples)
    assert draft.expected is not None, "lower comes after fill"
    checker = VariantChecker(bundle=bundle, cases=cases, expected=draft.expected)
    exact = checker.tasks(_unrefreshed(bases[request.dialects[0]]))
    feeds = _calibration(request, bundle, bases) if set(limits) & set(QUANTISED) else {}
    judged = []
    for precision, of_precision in limits.items():
        for dialect, dialect_export in draft.dialect_exports.items():
            judged_variant = make_variant(
                dialect_export,
                bases[dialect],
                checker,
                precision,
                of_precision,
                exact,
                feeds[dialect] if precision in QUANTISED else None,
                auto=request.auto,
                force=request.force,
            )
            with checker.over(draft.writer.files).backend(judged_variant.variant) as backend:
                stream = measure_streams(vae, backend, request.sizes, request.stream)
            variant = replace(judged_variant.variant, stream=stream)
            judged.append(replace(judged_variant, variant=variant))
    if FP32 not in request.precisions:
        for path in {path for base in bases.values() for path in files_of(base)}:
            draft.writer.discard(path)
    variants = {
        (v.precision, v.dialect): v for v in (*bases.values(), *(each.variant for each in judged))
    }
    chosen = tuple(variants[p, d] for p in request.precisions for d in request.dialects)
    return replace(
        draft,
        manifest=replace(draft.manifest, variants=chosen),
        judged=tuple(judged),
        exact=exact,
    )


def _unrefreshed(base: Variant) -> Variant:
    """The float32 variant with a whole step in every evaluation, which is exact."""
    return base if base.refresh is None else replace(base, refresh=Refresh(every=1))


def _with_real_cases(
    cases: Mapping[str, Sequence[Case]],
    bundle: Bundle,
    base: Variant,
    request: ExportRequest,
    samples: HeldOutSamples,
) -> Mapping[str, Sequence[Case]]:
    """Add what real pictures feed the graphs of the default settings, and float32's outputs."""
    episodes = _held_out_episodes(request, samples)
    if not episodes:
        return cases
    grid = check_grid(bundle.manifest.time.default_grid)
    guidance = bundle.manifest.defaults.guidance
    feeds = record_feeds(bundle, base, episodes, grid=grid, guidance=guidance, seed=1, limit=REAL)
    extended = {name: list(of_graph) for name, of_graph in cases.items()}
    with in_onnxruntime(bundle, base) as backend:
        for graph in base.graphs:
            for each in feeds.graphs.get(graph.file, ()):
                feed = dict(each)
                case = Case(feed=feed, expected=backend.infer(graph, feed))
                extended[stem(graph)].append(case)
    return extended


def _held_out_episodes(request: ExportRequest, samples: HeldOutSamples) -> list[CalibrationEpisode]:
    """Held-out pictures under the tasks' pairs; without any, the pairs one by one."""
    folders = {task.name: folder for task, folder in request.tasks}
    episodes = []
    for task, pictures in samples.pictures.items():
        pairs = [(a, b) for _, a, b in read_pairs(find_pairs(folders[task]))]
        episodes += [
            CalibrationEpisode(task=task, query=query, pairs=pairs) for _, query, _ in pictures
        ]
    return episodes or leave_one_out(folders)


def _calibration(
    request: ExportRequest, bundle: Bundle, bases: Mapping[str, Variant]
) -> dict[str, Feeds]:
    """What real pictures feed every dialect's graphs, for int8 and fp8 to be fitted to."""
    folders = {task.name: folder for task, folder in request.tasks}
    if request.calibration is not None:
        places = [p for p in sorted(request.calibration.iterdir()) if p.is_dir()]
        folders = {p.name: p for p in places if not p.name.startswith(IGNORED)}
    episodes = leave_one_out(folders)
    return {
        dialect: record_feeds(
            bundle,
            base,
            episodes,
            grid=uniform(FITTED_STEPS),
            guidance=request.guidance,
            seed=0,
            limit=FITTED,
        )
        for dialect, base in bases.items()
    }
