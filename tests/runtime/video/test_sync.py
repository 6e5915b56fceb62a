"""Sound stays in step with the picture to a frame, whatever its coding and its clock's unit are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.films import copy
from tests.helpers.videos import picture

pytestmark = pytest.mark.unit
BURST = 0.6
"""Second at which the sound begins, in a film of one second."""
SHORT = 40
"""Samples of a packet of 0.8 ms, as TrueHD's are."""


def write_burst(path: Path, encoder: str, rate: int) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(encoder, rate=rate, layout="mono")
        sound.bit_rate = 64_000
        times = np.arange(rate) / rate
        samples = np.where(times >= BURST, np.sin(2 * np.pi * 1000 * times), 0) * 20_000
        for i in range(25):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, rate, SHORT if encoder == "pcm_s16le" else rate):
            part = samples[start : start + (SHORT if encoder == "pcm_s16le" else rate)]
            block = av.AudioFrame.from_ndarray(part.astype(np.int16)[None], "s16", "mono")
            block.sample_rate, block.pts, block.time_base = rate, start, Fraction(1, rate)
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    return path


def begins(path: Path) -> float:
    """Second at which the sound begins, against the first picture's."""
    with av.open(str(path)) as container:
        # AVI counts pictures in the order of their decoding, from zero.
        picture_at = 0 if path.suffix == ".avi" else next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(np.float64)
            samples = samples.mean(axis=0) if frame.format.is_planar else samples[0]
            full = (
                1
                if frame.format.name.startswith(("flt", "dbl"))
                else 2 ** (8 * frame.format.bytes - 1)
            )
            loud = np.flatnonzero(np.abs(samples) > 0.2 * full)
            if len(loud):
                assert frame.time is not None
                return float(frame.time + loud[0] / frame.sample_rate - picture_at)
    raise AssertionError(f"{path} is silent")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm", ".avi"])
@pytest.mark.parametrize(
    ("encoder", "rate", "source"),
    [
        ("pcm_s16le", 50_000, "a.mkv"),  # packets shorter than Matroska's unit
        ("alac", 8_000, "a.mov"),  # encoders begin up to 138 ms before zero
        ("adpcm_ms", 22_050, "a.avi"),
        ("wmav2", 44_100, "a.wmv"),
        ("aac", 8_000, "a.mp4"),
        ("ac3", 48_000, "a.mkv"),
    ],
)
def test_sound_stays_in_step(
    tmp_path: Path, encoder: str, rate: int, source: str, suffix: str
) -> None:
    path = write_burst(tmp_path / source, encoder, rate)
    copy(path, tmp_path / f"out{suffix}")
    assert abs(begins(tmp_path / f"out{suffix}") - begins(path)) < 0.04
