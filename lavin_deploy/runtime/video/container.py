"""Video containers through PyAV: opening local files and finding the track."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavin_deploy.errors import InputError

# FFmpeg's demuxers that take a file that is no video (text, one picture), or that lead to other
# files; those of single pictures that are recognised by content all end with "_pipe".
_NOT_VIDEO = frozenset(
    {
        *("concat", "dash", "ffmetadata", "hls", "image2", "image2pipe", "imf", "rtp", "rtsp"),
        *("sap", "sdp", "tty", "vobsub", "webm_dash_manifest"),
    }
)


def is_video_demuxer(name: str) -> bool:
    """Tell whether a file that FFmpeg opened with a demuxer may be taken for a video."""
    names = name.split(",")
    return not any(part in _NOT_VIDEO or part.endswith("_pipe") for part in names)


def import_av() -> Any:
    """Import PyAV, or say how to get it."""
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise InputError(
            "reading and writing video needs PyAV; "
            "install it with: pip install 'lavin-deploy[video]'."
        ) from error
    return av


def open_input(path: Path) -> Any:
    """Open a local file as an ``av`` input container that cannot reach the network.

    Raises:
        InputError: no such file, or not a video.
    """
    av = import_av()
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file; name a video file.")
    try:
        container = av.open(
            f"file:{path}",
            metadata_errors="replace",
            container_options={"protocol_whitelist": "file"},
        )
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a video ({getattr(error, 'strerror', None) or error}); "
            "it is of another type, damaged or incomplete."
        ) from error
    if not is_video_demuxer(container.format.name):
        kind = container.format.name
        container.close()
        raise InputError(f"{path} is not a video file (it looks like {kind}); name a video file.")
    return container


# Bits of AV_DISPOSITION_*, by number: their texts in PyAV are those of the version at hand.
DEFAULT, ATTACHED_PIC = 1 << 0, 1 << 10


def pick_video(container: Any, path: Path) -> Any:
    """Return the video track of a container that FFmpeg would choose.

    That is the largest, where a default one counts 5,000,000 pixels more, and of equals the
    first. Cover pictures, and thumbnails that are marked like them, are never taken.

    Raises:
        InputError: there is none, or no decoder for it.
    """
    videos = [s for s in container.streams.video if not int(s.disposition) & ATTACHED_PIC]
    if not videos:
        raise InputError(f"{path} holds no video track; name a video file.")
    stream = max(videos, key=_score)
    if stream.codec_context is None:
        raise InputError(
            f"{path} is coded in a way this build of PyAV cannot decode; re-encode it to h264."
        )
    return stream


def _score(stream: Any) -> int:
    """Score as in FFmpeg's ``map_auto_video`` (fftools/ffmpeg_mux_init.c)."""
    pixels = stream.width * stream.height if stream.codec_context is not None else 0
    return int(pixels + (5_000_000 if int(stream.disposition) & DEFAULT else 0))
