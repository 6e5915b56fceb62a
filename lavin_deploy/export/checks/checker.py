"""Check a variant: every graph against float32, whole answers, tasks by their metric, and speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import U8, Array
from lavin_deploy.bundle.manifest import FileEntry, Graph, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.evaluation.stored_samples import StoredSamples
from lavin_deploy.evaluation.task_evals import TASK_EVALS
from lavin_deploy.export.checks.backends import TorchBackend, in_onnxruntime
from lavin_deploy.export.checks.end_to_end import Answer, answer_by_graphs, draw_pictures
from lavin_deploy.export.checks.gate import Check, Limits, SpeedCheck, TaskCheck, TensorDistance
from lavin_deploy.export.checks.interpreter import TORCH_TYPES, Rounded
from lavin_deploy.export.checks.parity import Case
from lavin_deploy.export.graphs.spec import Arrays
from lavin_deploy.flow.grids import check_grid
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.letterbox import Letterbox
from lavin_deploy.runtime.media.images import read_image
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.pipeline import Model
from lavin_deploy.runtime.request import bundle_pairs
from lavin_deploy.runtime.sampler import Sampler

Timed = Callable[[], None]
Run = Callable[[Arrays], Mapping[str, Array]]
KEYS_VALUES = "keys and values"
ROUNDS = 7
"""Interleaved answers of each side of a comparison of speed; the first of each is not counted."""


@dataclass(frozen=True, kw_only=True)
class VariantChecker:
    """Checks the variants of one bundle being made.

    Attributes:
        bundle: with tasks and samples, and every variant that is asked about.
        cases: stem of a graph's file -> its cases.
        expected: the whole answer by the plain models.
    """

    bundle: Bundle
    cases: Mapping[str, Sequence[Case]]
    expected: Answer

    def over(self, files: Mapping[str, FileEntry]) -> VariantChecker:
        """The same with the files that the bundle has by now."""
        manifest = replace(self.bundle.manifest, files=dict(files))
        return replace(self, bundle=self.bundle.with_manifest(manifest))

    def graphs(self, variant: Variant, base: Variant, limits: Limits) -> Iterator[Check]:
        """Check every graph in torch, in its real types, and in ONNX Runtime if that has them.

        Args:
            variant: what is checked.
            base: the float32 variant of the same dialect.
            limits: to check against.
        """
        low = TORCH_TYPES.get(variant.precision)
        for graph, exact in zip(variant.graphs, base.graphs, strict=True):
            cases = self.cases[stem(exact)]
            own: dict[str, TensorDistance] = {}
            if low is not None:
                with TorchBackend(self.bundle, base, Rounded(dtype=low)) as backend:
                    own = _distances(backend, exact, cases)
            with TorchBackend(self.bundle, variant) as backend:
                in_torch = _distances(backend, graph, cases)
                watched = backend.largest[graph.file]
                tops = {n: watched[n] for n in backend.low_tensors(graph) if n in watched}
            widest = max(tops, key=lambda name: tops[name], default="")
            results = [("torch", in_torch)]
            if runs(variant):
                with in_onnxruntime(self.bundle, variant) as plain:
                    results.append(("onnxruntime", _distances(plain, graph, cases)))
            for name, measured in results:
                for output, distance in measured.items():
                    reference = own.get(output) if low is not None else in_torch[output]
                    sound = reference is not None and reference.finite
                    yield Check(
                        graph=graph.file,
                        output=output,
                        runtime=name,
                        distance=distance,
                        largest=tops.get(widest),
                        widest=widest,
                        torch_rel_l2=reference.rel_l2 if reference and sound else None,
                    ).against(limits)

    def answers_by(self, graph: Graph) -> bool:
        """Whether an answer of the default size runs a graph, without guidance."""
        defaults = self.bundle.manifest.defaults
        unused = graph.name.endswith("_null") or "euler" in graph.name
        size, pairs = (graph.height, graph.width), graph.pairs
        return not unused and size == defaults.size and pairs in (None, defaults.pairs)

    def answer(self, variant: Variant, limits: Limits) -> Iterator[Check]:
        """Check the whole answer from the fixed noise."""
        with self.backend(variant) as backend:
            answer = self.solve(backend)
        for part in ("latents", "pixels"):
            distance = TensorDistance.between(
                [getattr(answer, part)], [getattr(self.expected, part)]
            )
            yield Check(
                graph="end-to-end", output=part, runtime=backend.name, distance=distance
            ).against(limits)

    def solve(self, backend: Backend) -> Answer:
        """The whole answer through a back end."""
        manifest = self.bundle.manifest
        defaults, grid = manifest.defaults, check_grid(manifest.time.default_grid)
        codec = Codec(backend, manifest.latent, *defaults.size)
        return answer_by_graphs(codec, self._sampler(backend), manifest.latent, defaults, grid)

    def tasks(self, variant: Variant) -> TaskAnswers:
        """Answer the validation samples of every task that has some."""
        manifest = self.bundle.manifest
        answers = TaskAnswers()
        names = [task.name for task in manifest.tasks if task.name in manifest.validation]
        if not names:
            return answers
        with Model(self.bundle, self.backend(variant)) as model:
            size = manifest.defaults.size
            available = min(len(model.task(name).pairs) for name in names)
            count = bundle_pairs(manifest, size, available)

            def read(file: Path) -> U8:
                image = read_image(file)
                return Letterbox((image.shape[0], image.shape[1]), size).forward(image)

            source = StoredSamples(self.bundle, pairs=count, read=read)
            for name in (n for n in names if n in TASK_EVALS):
                if manifest.validation[name].samples + len(model.task(name).pairs) < count + 2:
                    continue  # an episode has a spare pair; one sample alone tells little anyway
                metric = TASK_EVALS[name].metrics[0]
                settings = model.settings(name)
                scores = []
                for index in range(manifest.validation[name].samples):
                    episode = source.episode(name, index)
                    result = model.run(
                        pairs=episode.pairs,
                        query=episode.query,
                        steps=settings.steps,
                        guidance=settings.guidance,
                    )
                    scores.append(np.atleast_1d(metric.measure(episode, result.image)))
                    if index == 0:
                        answers.first_samples[name] = (episode.query, episode.truth, result.image)
                mean = np.nanmean(np.stack(scores), axis=0)
                best = mean.max() if metric.higher_is_better else mean.min()
                answers.scores[name] = (metric.name, float(best), metric.higher_is_better)
        return answers

    def speed(self, variant: Variant, base: Variant, least: float) -> SpeedCheck:
        """Time whole answers of two variants in ONNX Runtime: query in, pixels out."""
        sides: list[tuple[OnnxRuntimeBackend, Timed]] = []
        for each in (base, variant):
            backend = OnnxRuntimeBackend(self.bundle, each)
            backend.activate()
            sides.append((backend, self._timed(backend)))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for (_, once), spent in zip(sides, times, strict=True):
                start = time.perf_counter()
                once()
                spent.append(time.perf_counter() - start)
        described = sides[0][0].describe()
        for backend, _ in sides:
            backend.deactivate()
        slow, quick = (1e3 * median(spent[1:]) for spent in times)
        ratio = slow / quick
        return SpeedCheck(
            milliseconds=quick,
            base_milliseconds=slow,
            ratio=ratio,
            backend=described,
            passed=ratio >= least,
        )

    def _timed(self, backend: Backend) -> Timed:
        manifest = self.bundle.manifest
        defaults, grid = manifest.defaults, check_grid(manifest.time.default_grid)
        codec = Codec(backend, manifest.latent, *defaults.size)
        sampler = self._sampler(backend)
        query = draw_pictures(defaults)[-1]

        def once() -> None:
            context = np.concatenate(
                (self.expected.context[:, :, :-1], codec.encode(query)), axis=2
            )
            latents = sampler.sample(
                self.expected.noise, context, grid=grid, guidance=defaults.guidance
            )
            codec.decode(latents)

        return once

    def _sampler(self, backend: Backend) -> Sampler:
        defaults = self.bundle.manifest.defaults
        height, width = defaults.size
        modulation = Modulation(backend, self.bundle.manifest)
        return Sampler(backend, modulation, height=height, width=width, pairs=defaults.pairs)

    def backend(self, variant: Variant) -> Backend:
        """ONNX Runtime; torch for bf16, which that cannot run on a CPU."""
        kind = in_onnxruntime if runs(variant) else TorchBackend
        return kind(self.bundle, variant)


@dataclass(frozen=True)
class TaskAnswers:
    """Scores of a variant.

    Attributes:
        scores: task -> name of the metric, its mean over the samples, whether higher is better.
        first_samples: task -> query, truth and answer (H, W, 3) uint8 of the first sample.
    """

    scores: dict[str, tuple[str, float, bool]] = field(default_factory=dict)
    first_samples: dict[str, tuple[U8, U8, U8]] = field(default_factory=dict)

    def against(self, base: TaskAnswers, limits: Limits) -> tuple[TaskCheck, ...]:
        """Check by what float32 reaches."""
        checks = []
        for task, (metric, value, higher) in self.scores.items():
            exact = base.scores[task][1]
            lost = exact - value if higher else value - exact
            drop = lost / max(abs(exact), 1e-9)
            checks.append(
                TaskCheck(
                    task=task,
                    metric=metric,
                    base=exact,
                    value=value,
                    drop=drop,
                    passed=bool(drop <= limits.task_drop),
                )
            )
        return tuple(checks)


def runs(variant: Variant) -> bool:
    """Whether ONNX Runtime's CPU provider has the kernels that a variant needs."""
    return variant.precision != "bf16"


def stem(graph: Graph) -> str:
    """Name of a graph's file without its folder and endings, the same in every variant."""
    return graph.file.rpartition("/")[2].partition(".")[0]


def fitted(graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
    """A feed in the types that a graph takes."""
    return {each.name: feed[each.name].astype(each.dtype, copy=False) for each in graph.inputs}


def distances(run: Run, cases: Sequence[Case]) -> dict[str, TensorDistance]:
    """Distance of every output over all cases; keys and values count as one."""
    outputs: dict[str, list[Array]] = {}
    expected: dict[str, list[NDArray[np.float32]]] = {}
    for case in cases:
        for name, array in run(case.feed).items():
            group = KEYS_VALUES if name.partition(".")[0] in ("k", "v") else name
            outputs.setdefault(group, []).append(array)
            expected.setdefault(group, []).append(case.expected[name])
    return {name: TensorDistance.between(outputs[name], expected[name]) for name in outputs}


def _distances(backend: Backend, graph: Graph, cases: Sequence[Case]) -> dict[str, TensorDistance]:
    return distances(lambda feed: backend.infer(graph, fitted(graph, feed)), cases)
