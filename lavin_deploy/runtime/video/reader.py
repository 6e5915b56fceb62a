"""Frames out of a video file through PyAV, one at a time, as they are meant to be seen."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.runtime.letterbox import MAX_PIXELS
from lavin_deploy.runtime.video.colors import Colors
from lavin_deploy.runtime.video.container import import_av, open_input, pick_video
from lavin_deploy.runtime.video.deinterlace import Deinterlacer
from lavin_deploy.runtime.video.length_check import LengthCheck
from lavin_deploy.runtime.video.orientation import is_turned
from lavin_deploy.runtime.video.rgb import RgbConverter

# A file whose clock does not start at zero starts with its first picture, unless its sound comes
# so many seconds earlier.
_LEAD_IN = Fraction(1, 2)


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
        colors: how the answer's YUV is to be written.
        start: seconds of the file's clock at which ``Frame.pts`` is zero: 0, or about where it
            begins if that is later, as in broadcasts. None of a file that has no clock of its own
            and nothing besides pictures.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    frames: int
    aspect: Fraction
    colors: Colors
    start: Fraction | None = None


class VideoReader:
    """Reads a video's frames in the order they are shown; a context manager.

    Iterating yields every frame once, in constant memory. Any pixel format becomes 8-bit RGB by
    the file's own colour matrix and range, HDR is tone-mapped, transparent parts lie on white,
    interlaced frames become whole pictures, and the display rotation and mirroring are applied.
    Frames of another size are scaled to the first one's. Times increase strictly: where a file
    repeats or lacks one, the next possible is given.

    Args:
        path: a local file.

    Raises:
        InputError: entering: no such file, not a video, no frame, or absurdly large; iterating:
            damaged, growing absurdly large, or cut off.
    """

    info: VideoInfo

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._container: Any = None

    def __enter__(self) -> VideoReader:
        av = import_av()
        self._container = open_input(self.path)
        try:
            stream = self._stream = pick_video(self._container, self.path)
            self._refuse_absurd(stream.width, stream.height)
            self._is_avi = self._container.format.name == "avi"
            self._rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
            self._time_base = Fraction(stream.time_base or 1 / self._rate)
            self._start: int | None = None
            self._notices: list[str] = []
            self._deinterlacer = Deinterlacer()
            self._frames = self._deinterlacer(self._timed(self._decode(av)))
            self._first = next(self._frames, None)
            if self._first is None:
                raise InputError(f"{self.path} ends before its first frame; is the file complete?")
            self._to_rgb = RgbConverter(self._first)
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

    @property
    def notices(self) -> list[str]:
        """Sentences for the user, more as frames are read."""
        interlaced = "the video is interlaced; it is deinterlaced, one picture for each frame."
        return self._notices + self._to_rgb.notices + [interlaced] * self._deinterlacer.used

    def __iter__(self) -> Iterator[Frame]:
        assert self._first is not None, "a VideoReader is read once, inside its `with` block"
        frame, self._first = self._first, None
        while frame is not None:
            self._refuse_absurd(frame.width, frame.height)
            yield Frame(
                image=self._to_rgb(frame),
                pts=frame.pts,
                duration=max(0, frame.duration or 0),
                time_base=self._time_base,
            )
            frame = next(self._frames, None)

    def _decode(self, av: Any) -> Iterator[Any]:
        """Yield decoded frames, then check that nothing is missing at the end."""
        stream = self._stream
        decode = self._decoder(av)
        self._dts: deque[int] = deque()  # of packets whose frames have not come out yet
        self._delay: int | None = None
        check = LengthCheck(self._container, stream, self.path)
        count = 0
        packets = self._container.demux()
        try:
            for packet in packets:
                check.saw(packet)
                if packet.stream is not stream:
                    continue
                if self._is_avi and packet.size and packet.dts is not None:
                    self._dts.append(packet.dts)
                for frame in decode(packet):
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

    def _decoder(self, av: Any) -> Callable[[Any], list[Any]]:
        """Return what turns a packet into frames: of VP8 and VP9, libvpx alone sees alpha."""
        stream = self._stream
        name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.codec.canonical_name)
        tags = {key.lower(): text for key, text in stream.metadata.items()}
        if name is None or tags.get("alpha_mode") != "1":
            stream.thread_type = "AUTO"
            return lambda packet: packet.decode()
        if name not in av.codecs_available:
            self._notices.append(
                f"the video's transparency is ignored: this build of PyAV lacks {name}."
            )
            return lambda packet: packet.decode()
        context = av.CodecContext.create(name, "r")
        return lambda packet: context.decode(packet if packet.size else None)

    def _too_short(self, count: int) -> InputError:
        return InputError(
            f"{self.path} is incomplete: it ends after {count} frames, and a part of it is "
            "missing; copy or download it again."
        )

    def _timed(self, frames: Iterator[Any]) -> Iterator[Any]:
        """Give each frame its time, in ``info.time_base`` from ``info.start`` on."""
        last = None
        for frame in frames:
            time = self._time_of(frame, last)
            if self._start is None:
                self._start = self._origin(time)
            last = time
            frame.pts, frame.time_base = time - self._start, self._time_base
            yield frame

    def _origin(self, first: int) -> int:
        picture = first * self._time_base
        starts = [
            track.start_time * track.time_base
            for track in self._container.streams.audio
            if track.start_time is not None
        ]
        earliest = min([picture, *starts])
        if earliest <= 0:
            return 0
        begin = picture if picture - earliest < _LEAD_IN else earliest
        return math.floor(begin / self._time_base)

    def _time_of(self, frame: Any, last: int | None) -> int:
        pts: int | None = frame.pts
        if self._is_avi:
            pts = self._time_in_avi(frame)
        if pts is not None and (last is None or pts > last):
            return pts
        if last is None:
            return 0
        step = frame.duration or round(1 / (self._rate * self._time_base))
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

    def _refuse_absurd(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:  # asked of the header, before anything is decoded
            raise InputError(
                f"{self.path} is {width}x{height}; more than {MAX_PIXELS} pixels are not read, "
                "so scale it down first."
            )

    def _describe(self, frame: Any) -> VideoInfo:
        stream, container = self._stream, self._container
        turned = is_turned(self._to_rgb.matrix)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        seconds = _seconds(stream.duration, stream.time_base) or (container.duration or 0) / 1e6
        return VideoInfo(
            path=self.path,
            width=frame.height if turned else frame.width,
            height=frame.width if turned else frame.height,
            rate=self._rate,
            time_base=self._time_base,
            frames=stream.frames or round(seconds * self._rate),
            aspect=1 / aspect if turned else aspect,
            colors=Colors.of_answer(frame),
            start=(self._start or 0) * self._time_base,
        )


def _seconds(duration: int | None, time_base: Fraction | None) -> float:
    return float(duration * time_base) if duration and time_base else 0.0
