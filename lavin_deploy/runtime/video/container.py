"""Video containers through PyAV: opening local files and finding the track."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavin_deploy.errors import InputError

# Demuxers that take a file that is no video, or that lead to other files.
_NOT_VIDEO = ("image2", "_pipe", "tty", "hls", "dash", "concat", "sdp", "rtsp", "ffmetadata")


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
    if any(name in container.format.name for name in _NOT_VIDEO):
        kind = container.format.name
        container.close()
        raise InputError(f"{path} is not a video file (it looks like {kind}); name a video file.")
    return container


def pick_video(container: Any, path: Path) -> Any:
    """Return the video track of a container: the first that is not a cover picture.

    Raises:
        InputError: there is none, or no decoder for it.
    """
    for stream in container.streams.video:
        if "attached_pic" in str(stream.disposition):
            continue
        if stream.codec_context is None:
            raise InputError(
                f"{path} is coded in a way this build of PyAV cannot decode; re-encode it to h264."
            )
        return stream
    raise InputError(f"{path} holds no video track; name a video file.")
