"""Animated PNG, WebP, GIF and AVIF: frames with their times out of a file, and into one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.files import output_file
from lavin_deploy.runtime.letterbox import check_image
from lavin_deploy.runtime.media.images import guarded, open_image, opened, to_rgb
from lavin_deploy.runtime.video.colors import Colors
from lavin_deploy.runtime.video.reader import Frame, VideoInfo

_PNG: dict[str, Any] = {"format": "PNG"}
_WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": _PNG,
    ".apng": _PNG,
    ".webp": {"format": "WEBP", "lossless": True},
    ".gif": {"format": "GIF"},
}
ANIMATION_OUTPUTS = tuple(_WRITE_OPTIONS)
# What times are a multiple of, in seconds; PNG has fractions.
_TICKS = {".webp": Fraction(1, 1000), ".gif": Fraction(1, 100)}
ANIMATED = ("PNG", "WEBP", "GIF", "AVIF")
_TIME_BASE = Fraction(1, 90_000)  # holds milliseconds and the usual rates without a rest
_NO_TIME = 9_000  # as long as browsers show a frame that has no time of its own: 0.1 s
MAX_ANIMATION_PIXELS = 1 << 29
"""Pixels of all frames together that are written as an animation, which is held in memory."""


def is_animation(path: Path) -> bool:
    """Tell whether a picture file moves; False for what cannot be read."""
    try:
        with open_image(path) as image:
            return image.format in ANIMATED and bool(image.is_animated)
    except InputError:
        return False


class AnimationReader:
    """Reads an animation's frames as ``VideoReader`` does a video's; a context manager.

    Colours, orientation and transparency are those of ``read_image``. Frames that change a part
    come out whole.

    Args:
        path: the file.

    Attributes:
        info: what the answer must share with it.
        plays: how often it is played; 0 for ever.
        notices: sentences for the user, as those of ``read_image``; more may come until the end.

    Raises:
        InputError: not a picture, damaged, or a frame is larger than ``MAX_PIXELS``.
    """

    info: VideoInfo
    plays: int

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.notices: list[str] = []

    def __enter__(self) -> AnimationReader:
        with ExitStack() as stack:
            with guarded(self.path):
                self._image = stack.enter_context(opened(self.path))
            if self._image.format == "WEBP":  # where no frame lies, it is transparent,
                self._image._mode = self._image.rawmode = "RGBA"  # even if none has an alpha
            loop = self._image.info.get("loop")
            if self._image.format == "GIF":  # which counts repetitions
                self.plays = 1 if loop is None else loop and loop + 1
            else:
                self.plays = loop or 0
            # A PNG may begin with a picture for those who show no animations.
            self._start = int(bool(getattr(self._image, "default_image", False)))
            first, ticks = self._read(self._start)
            height, width = first.shape[:2]
            with guarded(self.path):
                count = self._image.n_frames - self._start
            self.info = VideoInfo(
                path=self.path,
                width=width,
                height=height,
                rate=1 / ((ticks or _NO_TIME) * _TIME_BASE),
                time_base=_TIME_BASE,
                frames=count,
                aspect=Fraction(1),
                colors=Colors.of_size(width, height),
            )
            stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._image.close()

    def __iter__(self) -> Iterator[Frame]:
        exact, pts = Fraction(0), 0
        for index in range(self._start, self._start + self.info.frames):
            image, ticks = self._read(index)
            exact += ticks or _NO_TIME
            following = max(pts + 1, round(exact))
            duration = following - pts if ticks else 0
            yield Frame(image=image, pts=pts, duration=duration, time_base=_TIME_BASE)
            pts = following

    def _read(self, index: int) -> tuple[U8, Fraction]:
        """Return a frame and how long it is shown, in units of the time base."""
        with guarded(self.path):
            self._image.seek(index)
            image = to_rgb(self._image, self.path, self._note)
        milliseconds = Fraction(self._image.info.get("duration") or 0)
        return image, milliseconds.limit_denominator(65535) / 1000 / _TIME_BASE

    def _note(self, sentence: str) -> None:
        if sentence not in self.notices:
            self.notices.append(sentence)


class AnimationWriter:
    """Writes an animation that appears whole or not at all; a context manager.

    PNG and WebP are lossless, GIF has 256 colours a frame. Times are exact in PNG, to a
    millisecond in WebP and to ten in GIF, without a drift. Equal neighbours become one frame that
    is shown as long as both.

    Args:
        path: where to; the suffix, one of ``ANIMATION_OUTPUTS``, chooses the format.
        info: of the animation that is answered.
        size: (width, height) of the frames.
        plays: how often it is played; 0 for ever.

    Attributes:
        notices: sentences for the user; none so far.

    Raises:
        InputError: entering: more than ``MAX_ANIMATION_PIXELS``, or a place that cannot be written.
        WorkError: leaving: the file cannot be written.
    """

    def __init__(self, path: Path, info: VideoInfo, size: tuple[int, int], plays: int) -> None:
        self.path = Path(path)
        self.notices: list[str] = []
        self._pixels = info.frames * size[0] * size[1]
        self._info, self._plays = info, plays
        self._frames: list[Any] = []
        self._ends: list[Fraction] = []
        self._timeless: list[bool] = []

    def __enter__(self) -> AnimationWriter:
        if self._pixels > MAX_ANIMATION_PIXELS:
            raise InputError(
                f"{self._info.path} has {self._info.frames} frames, {self._pixels} pixels in the "
                f"answer; an animation is written up to {MAX_ANIMATION_PIXELS}, so write a video: "
                f"-o {self.path.with_suffix('.mp4').name}."
            )
        with ExitStack() as stack:
            self._part = stack.enter_context(output_file(self.path))
            self._stack = stack.pop_all()
        return self

    def write(self, frame: Frame) -> None:
        """Append a frame (H, W, 3) uint8, all of one size."""
        from PIL import Image

        check_image(frame.image)
        self._frames.append(Image.fromarray(np.ascontiguousarray(frame.image)))
        end = frame.pts + (frame.duration or _NO_TIME)
        self._ends.append(end * frame.time_base)
        self._timeless.append(not frame.duration)

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
            self._save()

    def _save(self) -> None:
        suffix = self.path.suffix.lower()
        options = dict(_WRITE_OPTIONS[suffix])
        if suffix == ".gif":
            options.update({} if self._plays == 1 else {"loop": max(0, self._plays - 1)})
        else:
            options["loop"] = self._plays
        first, *others = self._frames
        try:
            first.save(
                self._part,
                save_all=True,
                append_images=others,
                duration=self._milliseconds(_TICKS.get(suffix)),
                **options,
            )
        except (OSError, ValueError) as error:
            raise WorkError(f"{self.path} could not be written: {error}.") from error

    def _milliseconds(self, tick: Fraction | None) -> list[float]:
        starts = [Fraction(0), *self._ends[:-1]]
        result: list[float] = []
        for start, end, timeless in zip(starts, self._ends, self._timeless, strict=True):
            if timeless:
                result.append(0)
            elif tick is None:
                result.append(float(1000 * (end - start)))
            else:
                ticks = max(1, round(end / tick) - round(start / tick))
                result.append(int(1000 * ticks * tick))
        return result
