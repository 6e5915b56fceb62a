"""Frames into a video file through PyAV, with the times, colours and other tracks of another."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.files import output_file
from lavin_deploy.runtime.letterbox import check_image
from lavin_deploy.runtime.video.colors import LIMITED, SCALER_FLAGS, Colors
from lavin_deploy.runtime.video.container import import_av
from lavin_deploy.runtime.video.formats import ENCODER_OPTIONS, VIDEO_OUTPUTS, format_of
from lavin_deploy.runtime.video.reader import Frame, VideoInfo
from lavin_deploy.runtime.video.tracks import TrackCopy

__all__ = ["VIDEO_OUTPUTS", "VideoWriter"]


class VideoWriter:
    """Writes frames to a video file that appears whole or not at all; a context manager.

    The file takes its name when the block ends without an error. Even sizes are stored as
    yuv420p, odd ones as yuv444p where the encoder can. Frame times are kept exactly in MP4 and
    MOV, to the millisecond in MKV and WebM; AVI starts at zero, has a constant rate and refuses
    anything else.

    Args:
        path: where to; the suffix, one of ``VIDEO_OUTPUTS``, chooses the format.
        width: pixels of a row.
        height: pixels of a column.
        rate: average frames a second.
        time_base: unit of the times to come, in seconds.
        aspect: width / height of one pixel.
        colors: how RGB is coded; by default what players assume of the size.
        tracks_from: a file whose sound, subtitles, chapters and titles are copied.
        start: seconds of that file's clock that are zero of the frames'.
        codec: FFmpeg's name of a video encoder; by default the first there is for the format.

    Raises:
        InputError: entering: unknown suffix, or a place that cannot be written.
        WorkError: the encoder refuses the size, or the disk is full.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        *,
        rate: Fraction = Fraction(25),
        time_base: Fraction | None = None,
        aspect: Fraction = Fraction(1),
        colors: Colors | None = None,
        tracks_from: Path | None = None,
        start: Fraction = Fraction(0),
        codec: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._notices: list[str] = []
        self._format = format_of(self.path)
        self._width, self._height = width, height
        self._rate, self._aspect = rate, aspect
        self._time_base = time_base or 1 / rate
        self._colors = colors or Colors.of_size(width, height)
        self._tracks_from, self._start, self._codec = tracks_from, start, codec
        self._tracks: TrackCopy | None = None
        self._shift: Fraction | None = None
        self._last: int | None = None
        self._durations: dict[int, int] = {}

    @classmethod
    def like(cls, path: Path, info: VideoInfo, width: int, height: int) -> VideoWriter:
        """Return a writer for an answer to the video ``info`` describes, in another size."""
        return cls(
            path,
            width,
            height,
            rate=info.rate,
            time_base=info.time_base,
            aspect=info.aspect,
            colors=info.colors,
            tracks_from=None if info.start is None else info.path,
            start=info.start or Fraction(0),
        )

    @property
    def notices(self) -> list[str]:
        """Sentences for the user: most are known once entered, more may come until the end."""
        return self._notices + (self._tracks.notices if self._tracks is not None else [])

    def __enter__(self) -> VideoWriter:
        av = self._av = import_av()
        with ExitStack() as stack:
            part = stack.enter_context(output_file(self.path))
            try:
                try:
                    self._begin(part, stack, self._tracks_from)
                except (av.FFmpegError, ValueError) as error:
                    if self._tracks_from is None:
                        raise
                    self._close_quietly()
                    self._tracks, self._notices = None, []
                    self._begin(part, stack, None)  # fails too if the picture is the reason
                    self._notices.append(
                        f"sound, subtitles, chapters and titles are left out: {self._format.muxer} "
                        f"does not take them ({_reason(error)})."
                    )
            except (av.FFmpegError, ValueError) as error:
                raise self._refused(error) from error
            self._reformatter = av.video.reformatter.VideoReformatter()
            self._stack = stack.pop_all()
        return self

    def _begin(self, part: Path, stack: ExitStack, tracks_from: Path | None) -> None:
        """Open the file and write its header."""
        self._container = self._av.open(
            f"file:{part}",
            "w",
            format=self._format.muxer,
            container_options=self._format.options,
        )
        stack.callback(self._close_quietly)
        self._stream = self._add_video()
        if tracks_from is not None:
            self._tracks = TrackCopy(
                tracks_from,
                self._container,
                start=self._start,
                lead_in=self._format.muxer != "avi",
            )
            stack.callback(self._tracks.close)
        self._stream.codec_context.open()
        self._container.start_encoding()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def write(self, frame: Frame) -> None:
        """Append one frame.

        Args:
            frame: of the file's size, later than the one before.

        Raises:
            InputError: another size, or a time that the file's format cannot hold.
            WorkError: the file cannot be written, e.g. because the disk is full.
        """
        check_image(frame.image)
        if frame.image.shape[:2] != (self._height, self._width):
            raise InputError(
                f"the video is {self._height}x{self._width} (rows x columns), "
                f"but a frame is {frame.image.shape[:2]}; all must be of one size."
            )
        time = frame.pts * frame.time_base
        if self._shift is None:  # times before zero get lost, and in AVI all begin at zero
            self._shift = -time if time < 0 or self._format.muxer == "avi" else Fraction(0)
        time += self._shift
        picture = self._av.VideoFrame.from_ndarray(frame.image, format="rgb24")
        picture = self._reformatter.reformat(
            picture,
            format=self._stream.pix_fmt,
            dst_colorspace=self._colors.scaler_matrix,
            dst_color_range=LIMITED,
            interpolation=SCALER_FLAGS,
            threads=1,
        )
        picture.pts = self._tick(time)
        picture.time_base = self._stream.codec_context.time_base
        self._durations[picture.pts] = round(frame.duration * frame.time_base / picture.time_base)
        try:
            if self._tracks is not None:
                self._tracks.feed(time, self._shift)
            self._mux(picture)
        except self._av.FFmpegError as error:
            raise self._failed(error) from error
        self._last = picture.pts

    def _mux(self, picture: Any) -> None:
        for packet in self._stream.encode(picture):
            packet.duration = self._durations.pop(packet.pts, 0)  # the encoders drop it
            self._container.mux(packet)

    def _tick(self, time: Fraction) -> int:
        ticks: Fraction = time / self._stream.codec_context.time_base
        tick = round(ticks)
        uneven = self._format.muxer == "avi" and abs(ticks - tick) > Fraction(3, 10)
        if uneven or (self._last is not None and tick <= self._last):
            raise InputError(
                f"{self.path.suffix} cannot hold the times of this video's frames, which come at "
                "uneven intervals; write to .mp4 or .mkv instead."
            )
        return tick

    def _finish(self) -> None:
        if self._last is None:
            raise WorkError(f"there was no frame to write to {self.path}.")
        try:
            self._mux(None)
            if self._tracks is not None:
                self._tracks.feed(None, self._shift or Fraction(0))
            self._container.close()
        except self._av.FFmpegError as error:
            raise self._failed(error) from error

    def _add_video(self) -> Any:
        codec = self._codec or self._available_codec()
        stream = self._container.add_stream(
            codec, rate=self._rate, options=dict(ENCODER_OPTIONS.get(codec, {}))
        )
        context = stream.codec_context
        even = self._width % 2 == 0 and self._height % 2 == 0
        stores_444 = any(f.name == "yuv444p" for f in context.codec.video_formats or ())
        stream.pix_fmt = "yuv420p" if even or not stores_444 else "yuv444p"
        stream.width, stream.height = self._width, self._height
        context.time_base = self._unit(codec)
        stream.time_base = context.time_base
        context.sample_aspect_ratio = self._aspect
        context.color_range = LIMITED
        context.colorspace = self._colors.matrix
        context.color_primaries = self._colors.primaries
        context.color_trc = self._colors.transfer
        return stream

    def _unit(self, codec: str) -> Fraction:
        if self._format.muxer == "avi":
            return 1 / self._rate
        if codec == "mpeg4" and self._time_base.denominator > 65535:  # the standard's limit
            return Fraction(1, 60000)
        return self._time_base

    def _available_codec(self) -> str:
        for name in self._format.video:
            if name in self._av.codecs_available:
                if name != self._format.video[0]:
                    self._notices.append(
                        f"{self.path} is encoded as {name}: "
                        f"this build of PyAV lacks {self._format.video[0]}."
                    )
                return name
        raise InputError(
            f"this build of PyAV has no encoder for {self.path.suffix} "
            f"({', '.join(self._format.video)}); choose another suffix."
        )

    def _close_quietly(self) -> None:
        with suppress(self._av.FFmpegError, ValueError):  # reported already, or thrown away
            self._container.close()

    def _refused(self, error: Exception) -> WorkError:
        return WorkError(
            f"{self.path} cannot be written as {self._width}x{self._height} "
            f"{self._format.muxer} ({_reason(error)}); try another suffix, e.g. .mkv."
        )

    def _failed(self, error: Any) -> WorkError:
        return WorkError(f"{self.path} could not be written: {error.strerror}.")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")
