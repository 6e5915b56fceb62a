"""Interlaced film into whole pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lavin_deploy.runtime.video.container import import_av


class Deinterlacer:
    """Makes one picture of each interlaced frame, from the first such frame on.

    FFmpeg's bwdif computes the lines of the second field, chroma by field too; frames that are
    marked as progressive pass unchanged, and times and the number of frames stay. Constant
    memory: it looks one frame ahead.

    Attributes:
        used: whether an interlaced frame has come.
    """

    def __init__(self) -> None:
        self.used = False
        self._graph: Any = None
        self._layout: Any = None
        self._unit: Any = None

    def __call__(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Yield decoded ``av.VideoFrame``s, as many as come, in their order."""
        for frame in frames:
            if self._graph is None and not frame.interlaced_frame:
                yield frame
                continue
            layout = (frame.width, frame.height, frame.format.name)
            if self._graph is None or layout != self._layout:
                yield from self._drain()
                self._start(frame)
                self._layout = layout
            self._graph.push(frame)
            yield from self._pull()
        yield from self._drain()

    def _start(self, frame: Any) -> None:
        self.used, self._unit = True, frame.time_base
        graph = self._graph = import_av().filter.Graph()
        graph.link_nodes(
            graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=frame.time_base,
            ),
            graph.add("bwdif", "mode=send_frame:deint=interlaced"),
            graph.add("buffersink"),
        ).configure()

    def _pull(self) -> Iterator[Any]:
        av = import_av()
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            unit = frame.time_base  # bwdif's is half of what came
            frame.pts = round(frame.pts * unit / self._unit)
            frame.duration = round(frame.duration * unit / self._unit)
            frame.time_base = self._unit
            yield frame

    def _drain(self) -> Iterator[Any]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pull()
            self._graph = None
