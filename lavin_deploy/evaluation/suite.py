"""Measure answers on held-out samples, beside controls that show what the numbers are worth.

Rows of every task: the model; the same query with pairs of another task (wrong prompt), and with
pairs whose targets belong to other inputs (mismatched pairs); the truth after the ST-VAE, which
shows what that loses; the input as the answer; constant answers and classical methods (see
``task_evals``). Every row is scored by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from lavin_deploy.arrays import F64, U8
from lavin_deploy.errors import WorkError, unknown_name
from lavin_deploy.evaluation import task_evals
from lavin_deploy.evaluation.baselines import copy_input
from lavin_deploy.evaluation.bootstrap import Interval, interval
from lavin_deploy.evaluation.kid import Features, KidResult, compare
from lavin_deploy.evaluation.measures import Metric
from lavin_deploy.evaluation.paper.task_evals import PAPER_TASK_EVALS
from lavin_deploy.evaluation.swap import SwapCase, SwapResult, run_swaps
from lavin_deploy.evaluation.task_evals import Kind, Reference, TaskEval
from lavin_deploy.tasks.samples import Answer, Episode, SampleSource

TASK_EVALS = {**task_evals.TASK_EVALS, **PAPER_TASK_EVALS}
SUITES = {**task_evals.SUITES, "paper": tuple(PAPER_TASK_EVALS)}

TRAINING_TARGETS = 200
"""Targets of the training split from which constant answers are made."""

KEPT_PICTURES = 12
"""Samples, the first ones, whose pictures are kept."""

MODEL = "model"
WRONG_PROMPT = "wrong prompt"
MISMATCHED = "mismatched pairs"
EXCHANGED = "exchanged colours"
COPY = "copy input"
CEILING = "ST-VAE of truth"
TRUTH = "truth"


@dataclass(frozen=True, kw_only=True)
class Score:
    """The mean of a metric over the samples, its standard error, and how many samples have it.

    None where no sample has it (mean), or fewer than two have (error).
    """

    mean: float | None
    error: float | None
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """How one way of answering did: a score by each metric's name."""

    name: str
    kind: Kind
    scores: Mapping[str, Score]


@dataclass(frozen=True, kw_only=True)
class SamplePictures:
    """Pictures of one sample: its episode, and every row's answer (S, S, 3) uint8 by name."""

    episode: Episode
    answers: Mapping[str, U8]


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """All about one task; the first metric is the headline, the first row the model.

    Attributes:
        gain: by how much the model's headline is better than its answers to pairs of another task,
            sample by sample; None without such pairs, or with fewer than two samples.
        kid: how far each row's answers as a set are from the truths; None where nobody asked, or
            with too few samples.
        published: what the paper reports, by the name of the metric.
        note: how that was measured otherwise; may be empty.
    """

    task: str
    samples: int
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    swap: SwapResult | None
    gain: Interval | None
    pictures: tuple[SamplePictures, ...]
    kid: KidResult | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def score(self, row: str, metric: str | None = None) -> Score:
        """Return the score of a row, by the headline unless a metric is named."""
        matching = next(each for each in self.rows if each.name == row)
        return matching.scores[metric or self.metrics[0].name]


def choose_tasks(suite: str, requested: Sequence[str], stored: Sequence[str]) -> tuple[str, ...]:
    """Return the tasks to run.

    Args:
        suite: name of a suite.
        requested: tasks asked for by name; they need not be the suite's.
        stored: the bundle's own tasks. Without ``requested``, those of the suite run that the
            bundle has, or all of the suite if it has none of them.

    Raises:
        InputError: an unknown suite or task.
    """
    if suite not in SUITES:
        raise unknown_name("suite", suite, SUITES)
    for name in requested:
        if name not in TASK_EVALS:
            raise unknown_name("task", name, TASK_EVALS)
    own = [name for name in SUITES[suite] if name in stored]
    return tuple(dict.fromkeys(requested or own or SUITES[suite]))


def evaluate_task(
    task: str,
    source: SampleSource,
    answer: Answer,
    *,
    samples: int,
    ceiling: Callable[[U8], U8] | None = None,
    keep_pictures: int = KEPT_PICTURES,
    opencv: bool = True,
    features: Features | None = None,
    advance: Callable[[], None] = lambda: None,
) -> TaskResult:
    """TaskEval answers to one task.

    Args:
        task: a name in ``TASK_EVALS``.
        source: of the samples.
        answer: what is evaluated: from pairs and query to an answer in the query's size.
        samples: number N of the source's samples.
        ceiling: encodes and decodes a picture: what the truth becomes, which answers hardly beat.
        keep_pictures: N, to keep the pictures of the first N samples.
        opencv: whether rows that need OpenCV are wanted.
        features: what answers as sets are compared by; None leaves that out.
        advance: called after each sample.

    Raises:
        WorkError: an answer does not have the query's shape.
    """
    task_eval = TASK_EVALS[task]
    references = _references(task_eval, source, opencv)
    kinds: dict[str, Kind] = {}
    values: dict[tuple[str, str], list[float | F64]] = {}
    cases: list[SwapCase] = []
    pictures: list[SamplePictures] = []
    seen: dict[str, list[F64]] = {}
    for index in range(samples):
        episode = source.episode(task, index)
        answers: dict[str, U8] = {}
        for name, kind, image in _prompted(task_eval, episode, source, index, answer, cases):
            kinds[name], answers[name] = kind, _checked(image, episode)
        if ceiling is not None:
            kinds[CEILING], answers[CEILING] = "ceiling", ceiling(episode.truth)
        for reference in references:
            kinds[reference.name] = reference.kind
            answers[reference.name] = reference.answer(episode)
        for name, image in answers.items():
            for metric in task_eval.metrics:
                value = metric.measure(episode, image)
                values.setdefault((name, metric.name), []).append(value)
        if features is not None:
            for name, image in {TRUTH: episode.truth, **answers}.items():
                seen.setdefault(name, []).append(features.extract(image))
        if index < keep_pictures:
            pictures.append(SamplePictures(episode=episode, answers=answers))
        advance()
    return TaskResult(
        task=task,
        samples=samples,
        metrics=task_eval.metrics,
        rows=tuple(
            Row(
                name=name,
                kind=kind,
                scores={m.name: _score(values[name, m.name], m) for m in task_eval.metrics},
            )
            for name, kind in kinds.items()
        ),
        swap=SwapResult.of(cases) if task_eval.swap else None,
        gain=_gain(values, task_eval.metrics[0]),
        pictures=tuple(pictures),
        kid=None if features is None else _kid(features.name, seen),
        published=task_eval.published,
        note=task_eval.note,
    )


def _kid(features: str, seen: Mapping[str, list[F64]]) -> KidResult | None:
    sets = {name: np.array(rows) for name, rows in seen.items()}
    return compare(features, sets.pop(TRUTH), sets)


def _references(task_eval: TaskEval, source: SampleSource, opencv: bool) -> tuple[Reference, ...]:
    targets = list(source.training_targets(task_eval.task, TRAINING_TARGETS))
    copied = Reference(name=COPY, kind="control", answer=copy_input)
    references = (copied, *task_eval.references(targets))
    return tuple(each for each in references if opencv or not each.opencv)


def _prompted(
    task_eval: TaskEval,
    episode: Episode,
    source: SampleSource,
    index: int,
    answer: Answer,
    cases: list[SwapCase],
) -> list[tuple[str, Kind, U8]]:
    """Ask the model with the right pairs and with wrong ones; note the swap test in ``cases``."""
    first = _checked(answer(episode.pairs, episode.query), episode)
    rows: list[tuple[str, Kind, U8]] = [(MODEL, "model", first)]
    others = [
        name
        for name in dict.fromkeys(chain(*SUITES.values()))
        if TASK_EVALS[name].family != task_eval.family and name in source.tasks
    ]
    if others:
        other = source.episode(others[index % len(others)], index)
        rows.append((WRONG_PROMPT, "control", answer(other.pairs, episode.query)))
    rows.append((MISMATCHED, "control", answer(episode.mismatched(), episode.query)))
    if task_eval.swap:
        cases.append(run_swaps(episode, first, answer))
        rows.append((EXCHANGED, "control", cases[-1].exchanged))
    return rows


def _checked(image: U8, episode: Episode) -> U8:
    if image.dtype != np.uint8 or image.shape != episode.query.shape:
        raise WorkError(
            f"an answer to {episode.task} is {image.dtype} {image.shape}; it must be uint8 "
            f"{episode.query.shape} like its query."
        )
    return image


def _gain(values: Mapping[tuple[str, str], list[float | F64]], metric: Metric) -> Interval | None:
    """The headline with the right pairs minus the same with pairs of another task, or reversed."""
    if (WRONG_PROMPT, metric.name) not in values:
        return None
    tables = [_table(values[name, metric.name]) for name in (MODEL, WRONG_PROMPT)]
    right, wrong = (table[:, _best(table, metric)] for table in tables)
    gains: list[float] = (right - wrong if metric.higher_is_better else wrong - right).tolist()
    return interval(gains)


def _table(values: Sequence[float | F64]) -> F64:
    """(samples, thresholds); NaN where a sample has no value."""
    return np.array(values, np.float64).reshape(len(values), -1)


def _best(table: F64, metric: Metric) -> int:
    """The threshold with the best mean."""
    complete = table[~np.isnan(table).any(axis=1)]
    if not len(complete):
        return 0
    means = complete.mean(axis=0)
    return int(means.argmax() if metric.higher_is_better else means.argmin())


def _score(values: Sequence[float | F64], metric: Metric) -> Score:
    """Average over the samples that have a value; of several thresholds take the best."""
    table = _table(values)
    best = _best(table, metric)
    table = table[~np.isnan(table).any(axis=1)]
    if not len(table):
        return Score(mean=None, error=None, count=0)
    spread = table[:, best].std(ddof=1) / len(table) ** 0.5 if len(table) > 1 else None
    return Score(
        mean=float(table[:, best].mean()),
        error=None if spread is None else float(spread),
        count=len(table),
    )
