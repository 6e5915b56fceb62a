"""What ``manifest.json`` of a bundle says, as frozen dataclasses; ``docs/bundle.md`` explains it.

The dataclasses are the specification: reading checks every type against them, and
``bundle.schema.json`` says the same for other languages. Fields may be added without a new
``format_version``; keys that this version does not know are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lavin_deploy.bundle.paths import check_path, check_paths, check_task_name
from lavin_deploy.bundle.strict_json import from_json, parse
from lavin_deploy.errors import BundleError, InputError
from lavin_deploy.flow.grids import GridKind, check_grid
from lavin_deploy.limits import LIMITS

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
GRAPHS = (
    *("encoder", "decoder", "modulation", "step", "step_null", "step_euler", "step_euler_null"),
    *("context", "context_null", "query", "query_null", "refresh", "refresh_null"),
    *("clip_encoder", "clip_decoder"),
    *("encoder_start", "encoder_next", "decoder_start", "decoder_next"),
)
"""Names of graphs. Every variant has the first five: encoder and decoder for each size, step for
each size and number of pairs. Those of the second line belong to a frozen context, those of the
third to whole clips for each size and number of frames, the last to streams for each size."""

MOST_SAMPLES = LIMITS.validation_samples
"""Held-out samples that a bundle stores of one task at most."""

MOST_PIXELS_A_SIDE, MOST_CHANNELS = LIMITS.pixels_a_side, LIMITS.channels
"""Of a bucket and of latents, so that a manifest cannot ask for any amount of memory."""

GUIDANCE = "v = v_null + w (v_cond - v_null); null context = [zeros, query]; w = 1 runs no null"
LAYOUT = "context frames in1, tgt1, in2, tgt2, ..., query, each encoded alone; the target follows"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input or output of a graph: static ``shape``, numpy's name of its ``dtype``."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One ONNX file of a variant.

    Attributes:
        name: ``encoder``, ``decoder``, ``step``, ``step_null``, ``modulation`` or a later kind.
        height: pixels; None for a graph that serves all sizes.
        width: pixels; None likewise.
        pairs: example pairs in the context; None where the context has no pairs.
        frames: frames of pixels that a run of a video graph encodes or decodes; None for others.
        file: path in the bundle.
        inputs: in the order of the file.
        outputs: likewise.
    """

    name: str
    height: int | None = None
    width: int | None = None
    pairs: int | None = None
    frames: int | None = None
    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """How long the keys and values of a joint model's context are kept.

    Attributes:
        every: N: the context is computed anew every N steps; 1 is the joint result.
        error: for each tried number of steps (as text) the relative L2 distance of the final
            latents from the joint result, on the exporter's own samples.
    """

    every: int
    error: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ChunkBoundaryError:
    """How far chunks of a stream lie from what the plain model gives for the whole clip.

    Attributes:
        l2: norm of the difference over the norm of the whole.
        max: largest difference over the whole's largest value.
    """

    l2: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Streams in chunks, and how far they lie from whole clips: rounding, or norms of a chunk.

    Attributes:
        chunk: latents of a chunk; it has ``4 * chunk`` frames.
        frames: of every measured clip.
        encoder: of the latents, the worst of all sizes.
        decoder: of the pixels, both decoded from the whole clip's latents; likewise.
    """

    chunk: int
    frames: tuple[int, ...]
    encoder: ChunkBoundaryError
    decoder: ChunkBoundaryError

    def __str__(self) -> str:
        return (
            f"chunks of {4 * self.chunk} frames differ from whole clips of "
            f"{', '.join(map(str, self.frames))} by {self.encoder.l2:.2e} of the latents "
            f"(largest {self.encoder.max:.2e}) and {self.decoder.l2:.2e} of the pixels "
            f"(largest {self.decoder.max:.2e})"
        )


@dataclass(frozen=True, kw_only=True)
class Variant:
    """All graphs of one precision and dialect.

    Attributes:
        precision: ``fp32``, ``fp16``, ...
        dialect: ``native`` or ``portable``.
        context: ``joint``, or ``frozen``: the step takes keys and values of the context.
        pairing: ``sequence``, or ``merged``: the context's keys and values are those of the pairs,
            and a frozen step takes the query too.
        refresh: for a frozen context of a model that was trained with a joint one.
        stream: where there are graphs for streams.
        weights: external files that the graphs share.
        graphs: the files.
        islands: PyTorch modules that stay in float32 beside what the rules keep.
    """

    precision: str
    dialect: str
    context: str = "joint"
    pairing: str = "sequence"
    refresh: Refresh | None = None
    stream: Stream | None = None
    weights: tuple[str, ...] = ()
    graphs: tuple[Graph, ...]
    islands: tuple[str, ...] = ()

    def graph(
        self,
        name: str,
        *,
        height: int | None = None,
        width: int | None = None,
        pairs: int | None = None,
        frames: int | None = None,
    ) -> Graph:
        """Return the graph of that name for that size, number of pairs and number of frames.

        Args:
            name: one of ``GRAPHS``.
            height: pixels; None for a graph that serves all sizes.
            width: likewise.
            pairs: example pairs; None for a graph whose context has none.
            frames: frames of a video graph; None takes the one there is.

        Raises:
            BundleError: there is none, or several; the message lists what there is.
        """
        named = [graph for graph in self.graphs if graph.name == name]
        matching = [
            graph
            for graph in named
            if (graph.height, graph.width, graph.pairs) == (height, width, pairs)
            and frames in (None, graph.frames)
        ]
        if len(matching) == 1:
            return matching[0]
        listed = ", ".join(map(_place, matching or named)) or "none"
        raise BundleError(
            f"the {self.precision} {self.dialect} variant has "
            f"{f'{len(matching)} graphs' if matching else 'no graph'} {name!r} for "
            f"{_place_of(height, width, pairs, frames)}; it has: {listed}."
        )


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A size in pixels and a number of pairs that every variant has graphs for."""

    height: int
    width: int
    pairs: int


@dataclass(frozen=True, kw_only=True)
class WeightSource:
    """Where the weights came from: ``kind`` ("trained", "released", ...) and their sha256."""

    kind: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Latent:
    """Latents: ``scaled = (mean - shift) * scale``; one cell covers ``downsample``^2 pixels."""

    shift: float
    scale: float
    channels: int = 16
    downsample: int = 8


@dataclass(frozen=True, kw_only=True)
class Time:
    """The time convention, the default grid (0 to 1) and the kind that other step counts use."""

    convention: str = "t=0 noise, t=1 data"
    kind: GridKind
    default_grid: tuple[float, ...]
    guidance: str = GUIDANCE


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a run uses when nothing else is asked.

    Attributes:
        steps: model evaluations.
        guidance: weight w; 1 is none.
        precision: that of the variant to run.
        pairs: example pairs to use of a task that has more.
        size: (height, width) in pixels; wins when several sizes fit a frame equally well.
    """

    steps: int
    guidance: float = 1.0
    precision: str
    pairs: int
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A float32 .npy whose row i belongs to time ``grid[i]``."""

    file: str
    grid: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """A stored task: its name and the path of its ``task.json``."""

    name: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Held-out samples of a stored task: so many pairs of pictures in ``folder``."""

    folder: str
    samples: int


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """Size in bytes and sha256 (hex) of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The whole of ``manifest.json``.

    ``model`` is what ``ModelConfig.from_dict`` reads. ``tables`` has at least ``modulation``.
    ``files`` lists every file of the bundle but the manifest; the writer fills it. ``validation``
    is by the task's name. ``selftest`` and ``report`` are JSON of whoever wrote them (report:
    ``{"parity": [...]}``).
    """

    format_version: int = FORMAT_VERSION
    name: str
    created_by: str
    licence: str
    source: WeightSource
    model: Mapping[str, Any]
    latent: Latent
    time: Time
    layout: str = LAYOUT
    defaults: Defaults
    buckets: tuple[Bucket, ...]
    variants: tuple[Variant, ...]
    tables: Mapping[str, Table]
    tasks: tuple[TaskEntry, ...] = ()
    selftest: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Validation] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileEntry] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str | bytes) -> Manifest:
        """Read and check the text of a ``manifest.json``.

        Raises:
            BundleError: it is not JSON, of another format, incomplete or contradicts itself.
        """
        return cls.from_dict(parse(text, MANIFEST))

    @classmethod
    def from_dict(cls, data: Any) -> Manifest:
        """Read and check parsed JSON; errors as :meth:`from_text`."""
        if not isinstance(data, dict):
            raise BundleError(f"{MANIFEST} holds no JSON object; export the bundle again.")
        version = data.get("format_version")
        if type(version) is not int or version != FORMAT_VERSION:
            raise BundleError(
                f"{MANIFEST} has format_version {version!r}; this version of lavin-deploy reads "
                f"{FORMAT_VERSION}: export the bundle again, or install the version that wrote it."
            )
        manifest: Manifest = from_json(cls, data, MANIFEST)
        manifest.check()
        return manifest

    def to_text(self) -> str:
        """Return the JSON text that ``from_text`` reads back to an equal manifest."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Return the (height, width) there are buckets for, the default size first."""
        sizes = dict.fromkeys((b.height, b.width) for b in self.buckets)
        return tuple(sorted(sizes, key=lambda size: size != self.defaults.size))

    def pairs_at(self, height: int, width: int) -> tuple[int, ...]:
        """Return the numbers of pairs there are buckets for at one size, ascending."""
        return tuple(
            sorted(b.pairs for b in self.buckets if (b.height, b.width) == (height, width))
        )

    def referenced(self) -> Iterator[str]:
        """Yield the path of every file that the manifest itself points to."""
        for variant in self.variants:
            yield from variant.weights
            yield from (graph.file for graph in variant.graphs)
        yield from (table.file for table in self.tables.values())
        yield from (task.file for task in self.tasks)

    def check(self) -> None:
        """Raise BundleError unless the parts of the manifest fit each other."""
        check_paths(self.files)
        lost = sorted(set(self.referenced()) - set(self.files))
        if lost:
            raise BundleError(
                f"{MANIFEST} points to {lost[0]!r}, which its 'files' does not list; "
                "export the bundle again."
            )
        for table in self.tables.values():
            if not table.grid:
                raise BundleError(f"{MANIFEST}: the table {table.file!r} has an empty grid.")
        try:
            check_grid(self.time.default_grid)
            for task in self.tasks:
                check_task_name(task.name)
        except InputError as error:
            raise BundleError(f"{MANIFEST} is wrong: {error}") from error
        for name, entry in self.validation.items():
            check_path(entry.folder)
            if not 1 <= entry.samples <= MOST_SAMPLES:
                raise BundleError(
                    f"{MANIFEST} declares {entry.samples} validation samples of {name!r}; a bundle "
                    f"has 1 to {MOST_SAMPLES} of a task or does not name it."
                )
        self._check_sizes()
        _check_unique("task", [task.name for task in self.tasks])
        _check_unique("variant", [f"{v.precision} {v.dialect}" for v in self.variants])
        _check_unique("bucket", [f"{_place(b)}" for b in self.buckets])
        for variant in self.variants:
            _check_unique("graph", [f"{graph.name} {_place(graph)}" for graph in variant.graphs])
            if variant.refresh is not None and variant.refresh.every < 1:
                raise BundleError(
                    f"{MANIFEST} has a refresh every {variant.refresh.every} steps; at least 1."
                )
            if variant.stream is not None and variant.stream.chunk < 1:
                raise BundleError(
                    f"{MANIFEST} has a stream of {variant.stream.chunk} latents; at least 1."
                )

    def _check_sizes(self) -> None:
        if not self.variants or not self.buckets:
            raise BundleError(f"{MANIFEST} names no variant or no bucket; a bundle needs both.")
        if self.latent.channels < 1 or self.latent.downsample < 1 or self.latent.scale == 0:
            raise BundleError(f"{MANIFEST}: latent sizes and scale must be positive.")
        if self.latent.channels > MOST_CHANNELS:
            raise BundleError(
                f"{MANIFEST}: latent.channels is {self.latent.channels}; at most {MOST_CHANNELS}."
            )
        if self.defaults.steps < 1:
            raise BundleError(f"{MANIFEST}: defaults.steps is {self.defaults.steps}; at least 1.")
        for bucket in self.buckets:
            cell = self.latent.downsample
            if min(bucket.height, bucket.width, bucket.pairs) < 1 or (
                bucket.height % cell or bucket.width % cell
            ):
                raise BundleError(
                    f"{MANIFEST}: bucket {_place(bucket)} is not a positive multiple of {cell} "
                    "pixels with at least one pair."
                )
            if max(bucket.height, bucket.width) > MOST_PIXELS_A_SIDE:
                raise BundleError(
                    f"{MANIFEST}: bucket {_place(bucket)} has more than {MOST_PIXELS_A_SIDE} "
                    "pixels a side."
                )
        if self.defaults.size not in self.sizes():
            raise BundleError(f"{MANIFEST}: defaults.size {self.defaults.size} has no bucket.")


def _place(part: Graph | Bucket) -> str:
    frames = part.frames if isinstance(part, Graph) else None
    return _place_of(part.height, part.width, part.pairs, frames)


def _place_of(
    height: int | None, width: int | None, pairs: int | None, frames: int | None = None
) -> str:
    size = "any size" if height is None else f"{height}x{width}"
    counts = [(pairs, "pair"), (frames, "frame")]
    some = [f"{count} {what}{'s' * (count != 1)}" for count, what in counts if count is not None]
    return " with ".join([size, *([" and ".join(some)] if some else [])])


def _check_unique(kind: str, names: list[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BundleError(f"{MANIFEST} lists {kind} {twice[0]!r} twice; export the bundle again.")
