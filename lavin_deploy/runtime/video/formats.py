"""The video files that can be written: their containers and encoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lavin_deploy.errors import InputError


@dataclass(frozen=True)
class Format:
    """What a suffix means: FFmpeg's muxer and video encoders by preference."""

    muxer: str
    video: tuple[str, ...]

    @property
    def options(self) -> dict[str, str]:
        """Muxer options: a codec's lead-in of sound, before zero, must not move the frames.

        MP4 and MOV say it in an edit list; the others would delay everything by it.
        """
        return {} if self.muxer in ("mp4", "mov") else {"avoid_negative_ts": "disabled"}


_MP4 = Format("mp4", ("libx264", "mpeg4"))
_FORMATS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Format("mov", ("libx264", "mpeg4")),
    ".mkv": Format("matroska", ("libx264", "libvpx-vp9", "mpeg4")),
    ".webm": Format("webm", ("libvpx-vp9",)),
    ".avi": Format("avi", ("libx264", "mpeg4")),
}
VIDEO_OUTPUTS = tuple(_FORMATS)

# No B frames: then packets come in the order in which they are shown, and every format, AVI
# included, gives back the very times that went in.
ENCODER_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "18", "bf": "0"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "7", "crf": "20", "row-mt": "1"},
    "mpeg4": {"qmin": "2", "qmax": "4", "bf": "0"},
}


def format_of(path: Path) -> Format:
    """Return what a path's suffix means.

    Raises:
        InputError: a suffix that cannot be written.
    """
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise InputError(
            f"{path} has no suffix of a video that can be written; use one of "
            f"{', '.join(VIDEO_OUTPUTS)}."
        )
    return form
