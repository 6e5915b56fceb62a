"""Frames out of a video file through PyAV, one at a time, as they are meant to be seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.runtime.letterbox import MAX_PIXELS
from lavin_deploy.runtime.video.colors import FULL, SCALER_FLAGS, Colors
from lavin_deploy.runtime.video.container import import_av, open_input, pick_video
from lavin_deploy.runtime.video.length_check import LengthCheck


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame and when it is shown.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright.
        pts: time of showing, in units of ``time_base``; larger than the frame's before.
        duration: how long it is shown, in the same unit; 0 if the file does not say.
        time_base: the unit, in seconds.
    """

    image: U8
    pts: int
    duration: int
    time_base: Fraction

    @property
    def time(self) -> float:
        """Time of showing in seconds."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video's answer must share with it.

    Attributes:
        path: the file.
        width: pixels of an upright row.
        height: pixels of an upright column.
        rate: average frames a second.
        time_base: unit of ``Frame.pts`` in seconds.
        frames: an estimate of the number of frames, for progress bars; 0 if unknown.
        aspect: width / height of one upright pixel.
        colors: how its YUV is to be read and the answer's to be written.
        audio_tracks: number of audio tracks.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    frames: int
    aspect: Fraction
    colors: Colors
    audio_tracks: int


class VideoReader:
    """Reads a video's frames in the order they are shown; a context manager.

    Iterating yields every frame once, in constant memory. Any pixel format becomes 8-bit RGB by
    the file's own colour matrix and range, and the display rotation and mirroring are applied.
    Times increase strictly: where a file repeats or lacks one, the next possible is given.

    Args:
        path: a local file.

    Raises:
        InputError: entering: no such file, not a video, no frame, or absurdly large; iterating:
            damaged, changing its size, or ending before the length it declares.
    """

    info: VideoInfo

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._container: Any = None

    def __enter__(self) -> VideoReader:
        av = import_av()
        self._container = open_input(self.path)
        try:
            self._stream = pick_video(self._container, self.path)
            self._refuse_absurd(self._stream.width, self._stream.height)
            self._is_avi = self._container.format.name == "avi"
            self._reformatter = av.video.reformatter.VideoReformatter()
            self._decoded = self._decode(av)
            self._first = next(self._decoded, None)
            if self._first is None:
                raise InputError(f"{self.path} ends before its first frame; is the file complete?")
            self._refuse_absurd(self._first.width, self._first.height)
            self._matrix = _display_matrix(self._first)
            self.info = self._describe(self._first)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._first = None
            self._container.close()
            self._container = None

    def __iter__(self) -> Iterator[Frame]:
        assert self._first is not None, "a VideoReader is read once, inside its `with` block"
        frame, self._first = self._first, None
        size = (frame.width, frame.height)
        last = None
        while frame is not None:
            if (frame.width, frame.height) != size:
                raise InputError(
                    f"{self.path} changes its size from {size[0]}x{size[1]} to "
                    f"{frame.width}x{frame.height}; cut or re-encode it to one size first."
                )
            pts = self._time_of(frame, last)
            yield Frame(
                image=self._to_rgb(frame),
                pts=pts,
                duration=max(0, frame.duration or 0),
                time_base=self.info.time_base,
            )
            last = pts
            frame = next(self._decoded, None)

    def _decode(self, av: Any) -> Iterator[Any]:
        """Yield decoded frames, then check that the file kept its word about its length."""
        stream = self._stream
        stream.thread_type = "AUTO"
        self._dts: deque[int] = deque()  # of packets whose frames have not come out yet
        self._delay: int | None = None
        check = LengthCheck(self._container, stream)
        count = 0
        packets = self._container.demux()
        try:
            for packet in packets:
                check.saw(packet)
                if packet.stream is not stream:
                    continue
                if self._is_avi and packet.size and packet.dts is not None:
                    self._dts.append(packet.dts)
                for frame in packet.decode():
                    count += 1
                    yield frame
        except av.FFmpegError as error:
            with suppress(av.FFmpegError):  # is the rest there, though it cannot be decoded?
                for packet in packets:
                    check.saw(packet)
            if check.broken_off():  # rather say so than that the last part cannot be decoded
                raise self._too_short(count) from error
            raise InputError(
                f"{self.path} cannot be decoded after {count} frames ({error.strerror}); "
                "the file is damaged, so repair or re-encode it first."
            ) from error
        if check.broken_off():
            raise self._too_short(count)

    def _too_short(self, count: int) -> InputError:
        return InputError(
            f"{self.path} ends after {count} frames, before the length it declares; "
            "the file is incomplete, so copy or download it again."
        )

    def _time_of(self, frame: Any, last: int | None) -> int:
        pts: int | None = frame.pts
        if self._is_avi:
            pts = self._time_in_avi(frame)
        if pts is not None and (last is None or pts > last):
            return pts
        if last is None:
            return 0
        step = frame.duration or round(1 / (self.info.rate * self.info.time_base))
        return last + (max(1, step) if pts is None else 1)

    def _time_in_avi(self, frame: Any) -> int | None:
        """AVI stores no times of showing, only those at which packets must be decoded.

        A frame comes out of the decoder with the time of the packet that pushed it out, always
        later by the same delay; at the end of the file none pushes, and the last times are left.
        """
        if frame.dts is None:
            return self._dts.popleft() if self._dts else None
        if self._delay is None:
            self._delay = frame.dts - (self._dts[0] if self._dts else frame.dts)
        time: int = frame.dts - self._delay
        while self._dts and self._dts[0] <= time:
            self._dts.popleft()
        return time

    def _to_rgb(self, frame: Any) -> U8:
        rgb = self._reformatter.reformat(
            frame,
            format="rgb24",
            src_colorspace=Colors.of_frame(frame).scaler_matrix,
            dst_color_range=FULL,
            interpolation=SCALER_FLAGS,
            threads=1,
        )
        return _upright(rgb.to_ndarray(), self._matrix)

    def _refuse_absurd(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:  # asked of the header, before anything is decoded
            raise InputError(
                f"{self.path} is {width}x{height}; more than {MAX_PIXELS} pixels are not read, "
                "so scale it down first."
            )

    def _describe(self, frame: Any) -> VideoInfo:
        stream, container = self._stream, self._container
        turned = _is_turned(self._matrix)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        seconds = _seconds(stream.duration, stream.time_base) or (container.duration or 0) / 1e6
        return VideoInfo(
            path=self.path,
            width=frame.height if turned else frame.width,
            height=frame.width if turned else frame.height,
            rate=Fraction(rate),
            time_base=Fraction(stream.time_base or 1 / rate),
            frames=stream.frames or round(seconds * rate),
            aspect=1 / aspect if turned else aspect,
            colors=Colors.of_frame(frame),
            audio_tracks=len(container.streams.audio),
        )


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """(a, b, c, d) of the frame's display matrix: x' = a x + c y, y' = b x + d y.

    Ask it of one frame only: PyAV's side data and their frame refer to each other, so that the
    frame's memory is only freed when Python looks for such cycles.
    """
    with suppress(KeyError):
        data = frame.side_data["DISPLAYMATRIX"]
        m = np.frombuffer(bytes(data), dtype=np.int32)
        if m.size == 9 and m[:5].any():
            return int(m[0]), int(m[1]), int(m[3]), int(m[4])
    return 1, 0, 0, 1


def _is_turned(matrix: tuple[int, int, int, int]) -> bool:
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def _upright(image: U8, matrix: tuple[int, int, int, int]) -> U8:
    """Apply the quarter turns and mirrorings of a display matrix."""
    a, b, c, d = matrix
    x, y = a, d
    if _is_turned(matrix):
        image = image.transpose(1, 0, 2)
        x, y = c, b
    return np.ascontiguousarray(image[:: -1 if y < 0 else 1, :: -1 if x < 0 else 1])


def _seconds(duration: int | None, time_base: Fraction | None) -> float:
    return float(duration * time_base) if duration and time_base else 0.0
