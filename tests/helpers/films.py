"""Films read and written as the product does, and motion JPEG by hand."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image

from lavin_deploy.runtime.video.reader import Frame, VideoReader
from lavin_deploy.runtime.video.writer import VideoWriter
from tests.helpers.videos import U8


def read(path: Path) -> tuple[list[Frame], list[str]]:
    with VideoReader(path) as reader:
        return list(reader), reader.notices


def copy(source: Path, target: Path, codec: str | None = None) -> list[str]:
    with VideoReader(source) as reader:
        info = reader.info
        writer = VideoWriter.like(target, info, info.width, info.height)
        writer._codec = codec
        with writer:
            for frame in reader:
                writer.write(frame)
    return reader.notices + writer.notices


def jpeg(image: U8, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95, subsampling=0, exif=exif)
    return buffer.getvalue()


def add_jpeg_track(container: Any, size: tuple[int, int]) -> Any:
    stream = container.add_stream("mjpeg", rate=25)
    stream.width, stream.height, stream.pix_fmt = *size, "yuvj444p"
    return stream


def mux(container: Any, stream: Any, data: bytes, pts: int = 0) -> None:
    packet = av.Packet(data)
    packet.stream, packet.time_base = stream, Fraction(1, 25)
    packet.pts = packet.dts = pts
    packet.duration, packet.is_keyframe = 1, True
    container.mux(packet)
