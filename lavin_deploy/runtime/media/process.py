"""Run a task over pictures and videos, file by file, in constant memory but for animations."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lavin_deploy.errors import WorkError
from lavin_deploy.files import kept_folder
from lavin_deploy.runtime.media.animations import (
    ANIMATION_OUTPUTS,
    AnimationReader,
    AnimationWriter,
)
from lavin_deploy.runtime.media.destinations import Item, OutputPlan
from lavin_deploy.runtime.media.images import read_image, write_image
from lavin_deploy.runtime.media.tensors import picture_tensors, video_tensors
from lavin_deploy.runtime.media.views import compose, view_size
from lavin_deploy.runtime.video.reader import Frame, VideoReader
from lavin_deploy.runtime.video.writer import VideoWriter

if TYPE_CHECKING:
    from lavin_deploy.runtime.answerer import Result
    from lavin_deploy.runtime.pipeline import Model


class Progress(Protocol):
    """Who watches: a progress bar, or nobody."""

    def expect(self, more: int) -> None:
        """Take note that so many frames more are to come (an estimate)."""

    def advance(self) -> None:
        """Take note that a frame is done."""

    def notice(self, sentence: str) -> None:
        """Tell the user something."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run did.

    Attributes:
        output: the file or folder written.
        files: inputs answered.
        failures: inputs that were not answered, each with the error that says why.
        frames: frames and pictures answered.
        width: pixels of a row of the first result.
        height: pixels of a column of the first result.
        pairs: example pairs that the first answer used.
        seconds: wall time, without loading the model.
        stages: mean milliseconds a frame by stage: read, the model's own stages, draw, write.
    """

    output: Path
    files: int
    failures: tuple[tuple[Path, Exception], ...]
    frames: int
    width: int
    height: int
    pairs: int
    seconds: float
    stages: Mapping[str, float]

    @property
    def frames_per_second(self) -> float:
        """Frames a second, end to end."""
        return self.frames / self.seconds if self.seconds else 0.0


def process(
    model: Model,
    task: str,
    plan: OutputPlan,
    *,
    view: str,
    options: Mapping[str, Any],
    progress: Progress,
    keep_going: bool = False,
) -> Report:
    """Answer every frame of a plan's inputs and write the results.

    Each file appears whole or not at all; when one fails, the others stay.

    Args:
        model: from ``load``.
        task: name of a stored task.
        plan: from ``plan_outputs``.
        view: one of ``VIEWS``.
        options: keyword arguments of ``Model.stream``: seed, steps, guidance, num_pairs.
        progress: is told of every frame.
        keep_going: go on with the next input where one fails; else its error is raised.

    Raises:
        LavinError: an argument is wrong, an input is damaged, or the work failed.
    """
    model.stream(task, (), **options)  # refuses here what would be wrong for every file
    tally, failures = _Tally(), []
    start = time.perf_counter()
    with ExitStack() as stack:
        for folder in plan.folders:
            stack.enter_context(kept_folder(folder))
        progress.expect(len(plan.items))
        for item in plan.items:
            work = _process_image if item.source.kind == "image" else _process_video
            done = _Tally()
            try:
                work(model, task, item, view, options, progress, done)
            except Exception as error:  # whatever a file can do to a library
                if not keep_going:
                    raise
                failures.append((item.source.path, error))
            else:
                tally.add(done)
    return Report(
        output=plan.output,
        files=len(plan.items) - len(failures),
        failures=tuple(failures),
        frames=tally.frames,
        width=tally.size[0],
        height=tally.size[1],
        pairs=tally.pairs,
        seconds=time.perf_counter() - start,
        stages={name: 1000 * s / max(1, tally.frames) for name, s in tally.seconds.items()},
    )


@dataclass
class _Tally:
    frames: int = 0
    pairs: int = 0
    size: tuple[int, int] = (0, 0)
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0})

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.spend({stage: time.perf_counter() - start})

    def spend(self, seconds: Mapping[str, float]) -> None:
        for stage, spent in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def add(self, other: _Tally) -> None:
        if not self.frames:
            self.size, self.pairs = other.size, other.pairs
        self.frames += other.frames
        self.spend(other.seconds)

    def count(self, result: Result, width: int, height: int) -> None:
        if not self.frames:
            self.size, self.pairs = (width, height), result.pairs
        self.frames += 1
        self.spend(result.timings)


def _process_image(
    model: Model,
    task: str,
    item: Item,
    view: str,
    options: Mapping[str, Any],
    progress: Progress,
    tally: _Tally,
) -> None:
    with tally.timed("read"):
        image = read_image(item.source.path, progress.notice)
    result = model.run(task, image, **options)
    tally.count(result, *view_size(view, image.shape[1], image.shape[0]))
    with tally.timed("draw"):
        drawn = compose(view, image, result.image)
    with tally.timed("write"), ExitStack() as stack:
        if item.data is not None:
            stack.enter_context(picture_tensors(item.data))(result, 0.0)
        write_image(item.output, drawn)
    progress.advance()


def _process_video(
    model: Model,
    task: str,
    item: Item,
    view: str,
    options: Mapping[str, Any],
    progress: Progress,
    tally: _Tally,
) -> None:
    with ExitStack() as stack:
        reader: VideoReader | AnimationReader
        if item.source.kind == "video":
            reader = stack.enter_context(VideoReader(item.source.path))
        else:
            reader = stack.enter_context(AnimationReader(item.source.path))
        size = view_size(view, reader.info.width, reader.info.height)
        keep = item.data and stack.enter_context(video_tensors(item.data))
        writer: VideoWriter | AnimationWriter
        if isinstance(reader, AnimationReader) and item.output.suffix.lower() in ANIMATION_OUTPUTS:
            writer = AnimationWriter(item.output, reader.info, size, reader.plays)
        else:
            writer = VideoWriter.like(item.output, reader.info, *size)
        stack.enter_context(writer)
        told: set[str] = set()

        def tell() -> None:
            for sentence in (*reader.notices, *writer.notices):
                if sentence not in told:
                    told.add(sentence)
                    progress.notice(sentence)

        tell()
        progress.expect(reader.info.frames - 1)
        waiting: deque[Frame] = deque()

        def images() -> Iterator[Any]:
            frames = iter(reader)
            while True:
                with tally.timed("read"):
                    frame = next(frames, None)
                if frame is None:
                    return
                waiting.append(frame)
                yield frame.image

        for result in model.stream(task, images(), **options):
            frame = waiting.popleft()
            tally.count(result, *size)
            with tally.timed("draw"):
                drawn = compose(view, frame.image, result.image)
            with tally.timed("write"):
                writer.write(replace(frame, image=drawn))
                if keep:
                    keep(result, frame.time)
            progress.advance()
        if waiting:
            raise WorkError(f"{len(waiting)} frames of {item.source.path} got no answer.")
    tell()
