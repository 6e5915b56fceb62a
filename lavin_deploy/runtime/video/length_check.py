"""Whether a video file is all there."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from typing import Any


class LengthCheck:
    """Compares what a file declares with what came out of it, where its format declares it.

    MP4 and MOV list every packet; Matroska, AVI and FLV state a duration. Other formats only
    have durations that the demuxer guessed from the file's size, which prove nothing.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self._packets, self._last_is_corrupt = 0, False
        self._last_start: Fraction | None = None
        self._longest_gap = Fraction(0)
        self._ends: dict[int, Fraction] = {}

    def saw(self, packet: Any) -> None:
        """Note a packet, of any track, as it comes out of the file."""
        if not packet.size or not packet.time_base:
            return
        start = packet.dts if packet.dts is not None else packet.pts
        if packet.stream is self._stream:
            self._packets += 1
            self._last_is_corrupt = packet.is_corrupt
            if start is not None:
                if self._last_start is not None:
                    gap = start * packet.time_base - self._last_start
                    self._longest_gap = max(gap, self._longest_gap)
                self._last_start = start * packet.time_base
        if packet.pts is not None:
            start = max(start, packet.pts)
        if start is not None:
            end = (start + (packet.duration or 0)) * packet.time_base
            index = packet.stream_index
            self._ends[index] = max(end, self._ends.get(index, end))

    def broken_off(self) -> bool:
        """Whether parts are missing at the end: any by count, or more than a frame by time."""
        if self._last_is_corrupt:  # a part of it is missing
            return True
        family = self._container.format.name.split(",")
        if "mov" in family:
            listed: int = len(self._stream.index_entries)  # what the edit list leaves
            return self._packets < listed
        declared, reached = Fraction(0), self._ends.get(self._stream.index, Fraction(0))
        if "avi" in family:
            ticks = max(self._stream.frames, self._stream.duration or 0)
            declared = ticks * Fraction(self._stream.time_base)
        elif "matroska" in family:
            declared = _tagged_duration(self._stream.metadata)
        if not declared and ("matroska" in family or "flv" in family):
            declared = Fraction(self._container.duration or 0, 1_000_000)
            reached = max(self._ends.values(), default=Fraction(0))
        frame = max(1 / Fraction(self._stream.average_rate or 25), self._longest_gap)
        return reached + frame + Fraction(1, 100) < declared


def _tagged_duration(metadata: dict[str, str]) -> Fraction:
    """Matroska's DURATION tag, ``HH:MM:SS.fraction``, in seconds; 0 without one."""
    for key, text in metadata.items():
        if key.upper().split("-")[0] == "DURATION":
            with suppress(ValueError):
                hours, minutes, rest = text.split(":")
                return int(hours) * 3600 + int(minutes) * 60 + Fraction(rest)
    return Fraction(0)
