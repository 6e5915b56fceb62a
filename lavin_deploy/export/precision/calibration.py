"""What every graph of a variant is fed in real runs: the data that quantisation is fitted to.

The fp32 variant solves leave-one-out episodes of real tasks through the real runtime; what reaches
each graph is kept, evenly over tasks and time steps.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lavin_deploy.arrays import U8, Array
from lavin_deploy.bundle.manifest import Bucket, Graph, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.errors import InputError
from lavin_deploy.export.checks.backends import in_onnxruntime
from lavin_deploy.flow.grids import Grid
from lavin_deploy.flow.noise import normal
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.create_task import read_pairs
from lavin_deploy.runtime.letterbox import Letterbox
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.sampler import Sampler
from lavin_deploy.tasks.pairs import find_pairs

Feed = Mapping[str, Array]
GUIDED = 1.5
"""Weight of a second run, for the graphs that the first one did not need."""


@dataclass(frozen=True, kw_only=True)
class CalibrationEpisode:
    """A query of a task and the pairs to show with it; pictures (H, W, 3) uint8 of any size."""

    task: str
    query: U8
    pairs: Sequence[tuple[U8, U8]]


@dataclass(frozen=True, kw_only=True)
class Feeds:
    """Calibration data of all graphs of a variant.

    Attributes:
        graphs: file of a graph -> its feeds.
        sha256: of all graphs, names, shapes and numbers.
    """

    graphs: Mapping[str, Sequence[Feed]]
    sha256: str

    def summary(self) -> dict[str, Any]:
        """Return plain JSON data: the hash and how many feeds there are of all graphs."""
        return {"sha256": self.sha256, "samples": sum(len(g) for g in self.graphs.values())}


def leave_one_out(folders: Mapping[str, Path]) -> list[CalibrationEpisode]:
    """Read episodes: each pair's input under the task's other pairs (under itself, if alone).

    Args:
        folders: task -> folder of ``<id>_input.*`` and ``<id>_target.*``.

    Raises:
        InputError: a folder or picture cannot be used.
    """
    episodes = []
    for task, folder in folders.items():
        pairs = [(source, target) for _, source, target in read_pairs(find_pairs(folder))]
        for index, (query, _) in enumerate(pairs):
            others = [*pairs[index + 1 :], *pairs[:index]] or pairs
            episodes.append(CalibrationEpisode(task=task, query=query, pairs=others))
    return episodes


def record_feeds(
    bundle: Bundle,
    variant: Variant,
    episodes: Sequence[CalibrationEpisode],
    *,
    grid: Grid,
    guidance: float,
    seed: int,
    limit: int,
) -> Feeds:
    """Run episodes at every size and number of pairs of a bundle and keep what graphs are fed.

    Args:
        bundle: the bundle, which may be unfinished.
        variant: its fp32 variant.
        episodes: at most ``limit`` of them run, as many of each task as there are.
        grid: times; more steps than a run takes by default cover more of the latents there can be.
        guidance: weight of the null branch.
        seed: of the noise, and of what is kept.
        limit: feeds to keep of a graph, at least 1.

    Raises:
        InputError: there is no episode.
        WorkError: a graph failed.
    """
    if not episodes:
        raise InputError(
            "calibration needs example pairs and there are none; give --tasks or --calibration."
        )
    rng = np.random.default_rng(seed)
    chosen = _in_turn(episodes, rng)[:limit]
    if variant.refresh is not None:  # so that both kinds of step run
        keep = replace(variant.refresh, every=max(2, variant.refresh.every))
        variant = replace(variant, refresh=keep)
    recorder = Recorder(in_onnxruntime(bundle, variant), rng, limit)
    with recorder:
        for bucket in bundle.manifest.buckets:
            _run(recorder, bucket, chosen, grid, guidance, seed)
        unseen = {graph.file for graph in variant.graphs} - set(recorder.kept)
        if unseen:
            recorder.graph_files = unseen
            tasks = len({episode.task for episode in chosen})
            for bucket in bundle.manifest.buckets:
                other = GUIDED if guidance == 1.0 else 1.0
                _run(recorder, bucket, chosen[:tasks], grid, other, seed)
    graphs = {file: recorder.feeds(file) for file in sorted(recorder.kept)}
    for graph in variant.graphs:
        if graph.name == "step_euler_null":  # no run needs it; the update follows every product
            twin = variant.graph("step_null", height=graph.height, width=graph.width)
            dt = np.diff(grid[:2])
            graphs[graph.file] = [{**feed, "dt": dt} for feed in graphs[twin.file]]
    return Feeds(graphs=graphs, sha256=_hash(graphs))


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """One feed: its task, and the index of the call within its episode."""

    task: str
    call: int
    feed: Feed


@dataclass
class Recorder(Backend):
    """Runs another back end's graphs and keeps at most ``limit`` feeds of each.

    When there are too many, one goes of the task and call that have most.
    """

    inner: Backend
    rng: np.random.Generator
    limit: int
    graph_files: set[str] | None = None
    kept: dict[str, list[_Kept]] = field(default_factory=dict)

    name = "recorder"

    def __post_init__(self) -> None:
        super().__init__(self.inner.bundle, self.inner.variant)
        self.start("")

    def start(self, task: str) -> None:
        """Begin an episode."""
        self._task, self._calls = task, Counter[str]()

    def feeds(self, file: str) -> list[Feed]:
        """Feeds of a graph in the order of the runs."""
        return [item.feed for item in self.kept[file]]

    def activate(self) -> None:
        """See :class:`Backend`."""
        self.inner.activate()

    def deactivate(self) -> None:
        """See :class:`Backend`."""
        self.inner.deactivate()

    def describe(self) -> str:
        """See :class:`Backend`."""
        return self.inner.describe()

    def prepare(self, graph: Graph) -> None:
        """See :class:`Backend`."""
        self.inner.prepare(graph)

    def infer_impl(self, graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
        """See :class:`Backend`."""
        if self.graph_files is None or graph.file in self.graph_files:
            kept = self.kept.setdefault(graph.file, [])
            copy = {name: array.copy() for name, array in feed.items()}
            kept.append(_Kept(task=self._task, call=self._calls[graph.file], feed=copy))
            self._calls[graph.file] += 1
            if len(kept) > self.limit:
                del kept[self._surplus(kept)]
        return self.inner.infer_impl(graph, feed)

    def _surplus(self, kept: Sequence[_Kept]) -> int:
        tasks = Counter(item.task for item in kept)
        calls = Counter(item.call for item in kept)
        crowd = np.array([tasks[item.task] + calls[item.call] for item in kept])
        return int(self.rng.choice(np.flatnonzero(crowd == crowd.max())))


def _in_turn(
    episodes: Sequence[CalibrationEpisode], rng: np.random.Generator
) -> list[CalibrationEpisode]:
    """One episode of each task, then another of each, ...; shuffled within a task."""
    seen: Counter[str] = Counter()
    turns = []
    for index in rng.permutation(len(episodes)):
        task = episodes[index].task
        turns.append((seen[task], task, episodes[index]))
        seen[task] += 1
    return [episode for *_, episode in sorted(turns, key=lambda turn: turn[:2])]


def _run(
    recorder: Recorder,
    bucket: Bucket,
    episodes: Sequence[CalibrationEpisode],
    grid: Grid,
    guidance: float,
    seed: int,
) -> None:
    """Encode, sample and decode every episode at one size and number of pairs."""
    manifest = recorder.bundle.manifest
    size = (bucket.height, bucket.width)
    codec = Codec(recorder, manifest.latent, *size)
    modulation = Modulation(recorder, manifest)
    sampler = Sampler(recorder, modulation, height=size[0], width=size[1], pairs=bucket.pairs)
    for number, episode in enumerate(episodes):
        recorder.start(episode.task)
        pairs = [episode.pairs[i % len(episode.pairs)] for i in range(bucket.pairs)]
        box = Letterbox((episode.query.shape[0], episode.query.shape[1]), size)
        query = codec.encode(box.forward(episode.query))
        context = np.concatenate((codec.encode_pairs(pairs), query), axis=2)
        noise = normal(seed + number, query.shape)
        codec.decode(sampler.sample(noise, context, grid=grid, guidance=guidance))


def _hash(graphs: Mapping[str, Sequence[Feed]]) -> str:
    digest = hashlib.sha256()
    for file, feeds in sorted(graphs.items()):
        for feed in feeds:
            for name, array in sorted(feed.items()):
                digest.update(f"{file} {name} {array.dtype} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
