"""Real video files for tests, made with PyAV alone, so that they do not trust what they test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from lavin_deploy.arrays import U8

OPTIONS = {
    "libx264": {"preset": "ultrafast", "crf": "10"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


def picture(index: int, width: int = 64, height: int = 48) -> U8:
    """A frame that tells its index by its grey level, with a red corner at the top left."""
    image = np.full((height, width, 3), 40 + index * 12 % 180, np.uint8)
    if min(width, height) >= 16:
        image[: height // 2, : width // 2] = (220, 30, 30)
    return image


def write_video(
    path: Path,
    frames: int | Sequence[U8] = 10,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    rate: int = 25,
    audio: str | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    tags: tuple[int, int] | None = None,
) -> Path:
    """Write a video.

    Args:
        path: where to.
        frames: pictures, or how many of ``picture``.
        codec: FFmpeg's encoder.
        pixels: its pixel format.
        size: (width, height).
        times: of the frames in ``time_base``; by default one a tick.
        time_base: unit of ``times``.
        rate: nominal frames a second.
        audio: encoder of a sine of the video's length, or None.
        rotation: degrees counter-clockwise that a player must turn the frames by.
        options: of the encoder.
        muxer: options of the container.
        tags: (AVCOL_SPC_*, AVCOL_RANGE_*) to code in and to write.
    """
    if isinstance(frames, int):
        frames = [picture(i, *size) for i in range(frames)]
    times = list(range(len(frames))) if times is None else times
    with av.open(str(path), "w", container_options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or OPTIONS.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = time_base
        convert: dict[str, Any] = {}
        if tags is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = tags
            matrix = {1: 1, 5: 5, 6: 5, 9: 9}[tags[0]]
            convert = {"dst_colorspace": matrix, "dst_color_range": tags[1]}
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream(audio, rate=48000) if audio else None
        if sound is not None:
            sound.layout = "stereo"
        for image, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format=pixels, **convert)
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_sine(container, sound, float((max(times) + 1) * time_base))
    return path


def write_sound(
    path: Path,
    encoder: str,
    *,
    seconds: float = 0.6,
    layout: str = "mono",
    hertz: float = 440,
    begin: int = 0,
) -> Path:
    """Write a grey video of 25 frames a second with a sine in one coding.

    Args:
        path: where to.
        encoder: FFmpeg's encoder of the sound.
        seconds: length of both.
        layout: of the sound's channels.
        hertz: of the sine.
        begin: seconds of the clock at which both begin.
    """
    rate = 48000 if encoder == "libopus" else 44100
    with av.open(str(path), "w", container_options={"output_ts_offset": str(begin)}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(encoder, rate=rate, options={"strict": "experimental"})
        sound.layout, sound.bit_rate = layout, 128000
        for i in range(round(25 * seconds)):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24").reformat(
                format="yuv420p"
            )
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for done in range(0, round(seconds * rate), 1024):
            wave = np.sin(np.arange(done, done + 1024) * (2 * np.pi * hertz / rate)) * 9000
            data = wave.astype(np.int16).repeat(sound.layout.nb_channels)[None]
            block = av.AudioFrame.from_ndarray(data, format="s16", layout=layout)
            block.sample_rate, block.pts, block.time_base = rate, done, Fraction(1, rate)
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    return path


def damage_sound(path: Path, first: int = 2, last: int = 4) -> Path:
    """Zero the packets ``first`` to ``last`` of a file's sound and nothing of its container."""
    with av.open(str(path)) as container:
        packets = [bytes(p) for p in container.demux(audio=0) if p.size]
    data = path.read_bytes()
    for packet in packets[first:last]:
        data = data.replace(packet, bytes(len(packet)), 1)
    path.write_bytes(data)
    return path


def loudest_hertz(path: Path, track: int = 0) -> float:
    """Frequency of the loudest tone of an audio track, as PyAV decodes it."""
    with av.open(str(path)) as container:
        to_mono = av.AudioResampler("flt", "mono", 48000)
        blocks = [
            block.to_ndarray().ravel()
            for frame in container.decode(audio=track)
            for block in to_mono.resample(frame)
        ]
    wave = np.concatenate(blocks)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(wave.size)))
    return float(spectrum.argmax() * 48000 / wave.size)


def _write_sine(container: Any, stream: Any, seconds: float) -> None:
    step, done = 1024, 0
    while done < seconds * 48000:
        wave = (np.sin(np.arange(done, done + step) / 20) * 9000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave.repeat(2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, done, Fraction(1, 48000)
        container.mux(stream.encode(frame))
        done += step
    container.mux(stream.encode(None))


@dataclass(frozen=True)
class Probe:
    """What PyAV alone says about a file: frame count, first size, times in seconds, format."""

    frames: int
    size: tuple[int, int]
    times: list[float]
    pixels: str
    audio: list[list[bytes]]


def probe(path: Path) -> Probe:
    """Read a file with PyAV alone."""
    with av.open(str(path)) as container:
        frames = [(f.width, f.height, f.time, f.format.name) for f in container.decode(video=0)]
    with av.open(str(path)) as container:
        tracks: dict[int, list[bytes]] = {s.index: [] for s in container.streams.audio}
        for packet in container.demux(container.streams.audio) if tracks else ():
            if packet.size:
                tracks[packet.stream_index].append(bytes(packet))
    return Probe(
        frames=len(frames),
        size=(frames[0][0], frames[0][1]),
        times=[frame[2] for frame in frames],
        pixels=frames[0][3],
        audio=list(tracks.values()),
    )
