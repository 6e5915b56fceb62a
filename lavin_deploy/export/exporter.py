"""From a checkpoint to a bundle: trace, check, lower, checker, and write it whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from lavin_deploy.bundle import manifest
from lavin_deploy.bundle.manifest import Manifest, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.bundle.store import FolderStore
from lavin_deploy.bundle.writer import BundleWriter
from lavin_deploy.export.checks.backends import in_onnxruntime
from lavin_deploy.export.checks.checker import TaskAnswers, VariantChecker, stem
from lavin_deploy.export.checks.end_to_end import (
    Answer,
    answer_by_graphs,
    answer_by_models,
    check_answers,
)
from lavin_deploy.export.checks.gate import read_limits
from lavin_deploy.export.checks.parity import Case, Parity, cases_of, check_graph
from lavin_deploy.export.checks.refresh import measure_refresh
from lavin_deploy.export.dialect_export import FP32, DialectExport, files_of
from lavin_deploy.export.given_folders import (
    HeldOutSamples,
    add_tasks,
    add_validation,
    read_validation,
)
from lavin_deploy.export.graphs.catalogue import plan_graphs
from lavin_deploy.export.graphs.clip import measure_streams
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.export.precision.calibration import Episode, Feeds, leave_one_out, record_feeds
from lavin_deploy.export.report.page import Comparison, render, short
from lavin_deploy.export.report.record import record, versions
from lavin_deploy.export.request import QUANTISED, ExportRequest, first_manifest
from lavin_deploy.export.variants import Made, make
from lavin_deploy.flow.grids import Grid, check_grid, grid_for, uniform
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.create_task import npy, read_pairs
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.sampler import Sampler
from lavin_deploy.tasks.pairs import find_pairs

TABLE = "tables/modulation.npy"
FITTED, FITTED_STEPS = 32, 8
"""Inputs of a graph that quantisation is fitted to, and evaluations of each run they come from."""
REAL = 8
"""Inputs of a graph that are kept of real pictures, for the gate."""


def export_bundle(dit: JDiT, vae: STVAE, request: ExportRequest) -> Manifest:
    """Trace all graphs, check them, lower what is asked for, judge it, and write the bundle.

    Raises:
        InputError: sizes, pairs or steps that cannot be had.
        WorkError: a graph or a whole answer deviates from the model, or the gate refuses a
            variant; nothing is left behind.
    """
    samples = read_validation(request.validation, [task.name for task, _ in request.tasks])
    limits = {p: read_limits(p, request.gate) for p in request.precisions if p != FP32}
    with BundleWriter(request.out) as writer:
        export = _Export(dit=dit, vae=vae, request=request, writer=writer)
        dialect_exports, bases = export.float32()
        bundle = Bundle(FolderStore(writer.folder), export.draft(tuple(bases.values())))
        cases, rows = export.check(bundle, dialect_exports, bases)
        first = bases[request.dialects[0]]
        filled, answers, wanted = export.fill(bundle, first)
        rows += answers
        validation = add_validation(writer, samples)
        for name, text in (("README.md", request.model_card), ("DATA.md", request.credits)):
            if text is not None:
                writer.add_file(name, text.encode())
        draft = replace(filled, validation=validation, files=dict(writer.files))
        bases = {base.dialect: base for base in draft.variants}
        bundle = bundle.with_manifest(draft)
        if limits:
            cases = _with_real(cases, bundle, bases.values(), export.episodes(samples))
        checker = VariantChecker(bundle=bundle, cases=cases, wanted=wanted)
        exact = checker.tasks(first)
        made: list[Made] = []
        feeds = export.calibration(bundle, bases, limits)
        for precision in limits:
            for dialect, dialect_export in dialect_exports.items():
                found = make(
                    dialect_export,
                    bases[dialect],
                    checker,
                    precision,
                    limits[precision],
                    exact,
                    feeds[dialect] if precision in QUANTISED else None,
                    auto=request.auto,
                    force=request.force,
                )
                made.append(replace(found, variant=export.stream(checker, found.variant)))
        variants = {
            (v.precision, v.dialect): v for v in (*bases.values(), *(m.variant for m in made))
        }
        if FP32 not in request.precisions:
            for path in {p for base in bases.values() for p in files_of(base)}:
                writer.discard(path)
        draft = replace(
            draft,
            variants=tuple(variants[p, d] for p in request.precisions for d in request.dialects),
            files=dict(writer.files),
        )
        found_out = record(draft, writer.folder, rows, made)
        writer.add_file("report.json", json.dumps(found_out, indent=1, allow_nan=False).encode())
        pictures = _pictures(exact, made)
        writer.add_file("report.html", render(found_out, pictures).encode())
        report = {
            "parity": found_out["parity"],
            "versions": versions(),
            "variants": short(found_out),
        }
        return writer.finish(replace(draft, report=report))


def _with_real(
    cases: Mapping[str, Sequence[Case]],
    bundle: Bundle,
    bases: Iterable[Variant],
    episodes: Sequence[Episode],
) -> dict[str, list[Case]]:
    """Cases, and what real pictures feed the graphs of the default settings, by the first base."""
    if not episodes:
        return {name: list(given) for name, given in cases.items()}
    variant, defaults = next(iter(bases)), bundle.manifest.defaults
    grid = check_grid(bundle.manifest.time.default_grid)
    feeds = record_feeds(
        bundle, variant, episodes, grid=grid, guidance=defaults.guidance, seed=1, limit=REAL
    )
    found = {name: list(given) for name, given in cases.items()}
    with in_onnxruntime(bundle, variant) as backend:
        for graph in variant.graphs:
            for feed in feeds.graphs.get(graph.file, ()):
                given = dict(feed)
                found[stem(graph)].append(Case(feed=given, wanted=backend.infer(graph, given)))
    return found


def _pictures(exact: TaskAnswers, made: Sequence[Made]) -> list[Comparison]:
    """The first sample of every task, as float32 and every other variant answer it."""
    shown = []
    for task, (query, truth, answer) in exact.shown.items():
        others = {
            f"{one.variant.precision} {one.variant.dialect}": one.answers.shown[task][2]
            for one in made
        }
        answers = {FP32: answer, **others}
        shown.append(Comparison(task=task, query=query, truth=truth, answers=answers))
    return shown


@dataclass(frozen=True, kw_only=True)
class _Export:
    """The steps of one export that need the models."""

    dit: JDiT
    vae: STVAE
    request: ExportRequest
    writer: BundleWriter

    @property
    def grid(self) -> Grid:
        """Of the default number of steps."""
        return grid_for(self.request.steps, self.request.config.inference.grid)

    def draft(self, variants: tuple[Variant, ...]) -> Manifest:
        """The manifest so far."""
        return replace(
            first_manifest(self.request, variants, self.grid), files=dict(self.writer.files)
        )

    def float32(self) -> tuple[dict[str, DialectExport], dict[str, Variant]]:
        """Trace every dialect and write its float32 graphs, all with one weight file."""
        weights: dict[str, WeightFile] = {}
        dialect_exports: dict[str, DialectExport] = {}
        bases: dict[str, Variant] = {}
        for dialect in self.request.dialects:
            choice = replace(self.request.choice, dialect=dialect)
            dialect_export = DialectExport(
                writer=self.writer,
                dialect=dialect,
                plans=list(plan_graphs(self.dit, self.vae, choice)),
                context=self.request.context,
                weights=weights,
            )
            dialect_export.trace()
            dialect_exports[dialect] = dialect_export
            bases[dialect] = replace(
                dialect_export.write(FP32, dialect_export.traced), refresh=self._refresh()
            )
        return dialect_exports, bases

    def check(
        self,
        bundle: Bundle,
        dialect_exports: Mapping[str, DialectExport],
        bases: Mapping[str, Variant],
    ) -> tuple[dict[str, list[Case]], list[Parity]]:
        """Compare every float32 graph with the plain model."""
        plans = dialect_exports[self.request.dialects[0]].plans
        cases = {plan.stem: cases_of(plan) for plan in tqdm(plans, "model", disable=None)}
        rows: list[Parity] = []
        for dialect, base in bases.items():
            checked = zip(dialect_exports[dialect].plans, base.graphs, strict=True)
            for plan, graph in tqdm(checked, "check", total=len(plans), disable=None):
                with in_onnxruntime(bundle, base) as backend:  # one graph in memory at a time
                    rows += check_graph(backend, graph, cases[plan.stem])
        return cases, rows

    def fill(self, bundle: Bundle, first: Variant) -> tuple[Manifest, list[Parity], Answer]:
        """Write tasks, table and self-test by the float32 graphs; check a whole answer."""
        draft, writer, grid, sizes = bundle.manifest, self.writer, self.grid, self.request.sizes
        defaults = draft.defaults
        height, width = defaults.size
        with in_onnxruntime(bundle, first) as backend:
            modulation = Modulation(backend, draft)
            codecs = {size: Codec(backend, draft.latent, *size) for size in sizes}
            sampler = Sampler(backend, modulation, height=height, width=width, pairs=defaults.pairs)
            answer = answer_by_graphs(codecs[defaults.size], sampler, draft.latent, defaults, grid)
            wanted = answer_by_models(self.dit, self.vae, defaults, answer.noise, grid)
            rows = list(check_answers(answer, wanted))
            times = grid[:-1] if self.request.context == "joint" else grid
            table = np.concatenate([modulation.row(t) for t in times])
            encoders = {size: codec.encode for size, codec in codecs.items()}
            tasks = add_tasks(writer, self.request.tasks, encoders, min(self.request.pairs))
            stream = measure_streams(self.vae, backend, sizes, self.request.stream)
        writer.add_file(TABLE, npy(table))
        selftest = {
            name: f"selftest/{name}.npy" for name in ("context", "noise", "latents", "pixels")
        }
        for name, path in selftest.items():
            writer.add_file(path, npy(getattr(answer, name)))
        refresh = first.refresh
        if refresh is not None:
            refresh = measure_refresh(bundle, first, self.request.refresh, answer, wanted, grid)
        filled = replace(
            draft,
            variants=tuple(replace(v, stream=stream, refresh=refresh) for v in draft.variants),
            tables={"modulation": manifest.Table(file=TABLE, grid=tuple(map(float, times)))},
            tasks=tasks,
            selftest=selftest,
        )
        return filled, rows, wanted

    def stream(self, checker: VariantChecker, variant: Variant) -> Variant:
        """The variant with what its own streams deviate by."""
        with checker.over(self.writer.files).backend(variant) as backend:
            stream = measure_streams(self.vae, backend, self.request.sizes, self.request.stream)
        return replace(variant, stream=stream)

    def episodes(self, samples: HeldOutSamples) -> list[Episode]:
        """Held-out pictures under the tasks' pairs; without any, the pairs one by one."""
        folders = {task.name: folder for task, folder in self.request.tasks}
        found = []
        for task, pictures in samples.pictures.items():
            pairs = [(a, b) for _, a, b in read_pairs(find_pairs(folders[task]))]
            found += [Episode(task=task, query=query, pairs=pairs) for _, query, _ in pictures]
        return found or leave_one_out(folders)

    def calibration(
        self, bundle: Bundle, bases: Mapping[str, Variant], precisions: Iterable[str]
    ) -> dict[str, Feeds]:
        """What real pictures feed every dialect's graphs, if a precision has to be fitted."""
        if not set(precisions) & set(QUANTISED):
            return {}
        place = self.request.calibration
        folders = {task.name: folder for task, folder in self.request.tasks}
        if place is not None:
            folders = {p.name: p for p in sorted(place.iterdir()) if p.is_dir()}
        episodes = leave_one_out(folders)
        return {
            dialect: record_feeds(
                bundle,
                base,
                episodes,
                grid=uniform(FITTED_STEPS),
                guidance=self.request.guidance,
                seed=0,
                limit=FITTED,
            )
            for dialect, base in bases.items()
        }

    def _refresh(self) -> manifest.Refresh | None:
        refreshes = self.request.context == "frozen" and self.request.config.dit.context == "joint"
        return manifest.Refresh(every=1) if refreshes else None
