"""Frames of films that are transparent, interlaced or of several sizes, and early sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lavin_deploy.runtime.video.reader import VideoReader
from tests.helpers.films import copy, mux, read
from tests.helpers.videos import U8, picture, probe, write_sound, write_video

pytestmark = pytest.mark.unit


def film_with_alpha(path: Path, codec: str, pixels: str) -> Path:
    rgba = np.empty((48, 64, 4), np.uint8)
    rgba[:, :32], rgba[:, 32:] = (255, 0, 255, 0), (40, 120, 200, 255)
    with av.open(str(path), "w") as container:
        options = {"auto-alt-ref": "0"} if codec.startswith("libvpx") else {}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        if codec.startswith("libvpx"):
            stream.metadata["alpha_mode"] = "1"
        for i in range(6):
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pixels)
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.webm", "libvpx", "yuva420p"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "png", "rgba"),
        ("a.mkv", "ffv1", "yuva444p"),
    ],
)
def test_transparent_parts_lie_on_white(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    frames, _ = read(film_with_alpha(tmp_path / name, codec, pixels))
    np.testing.assert_allclose([f.time for f in frames], np.arange(6) / 25, atol=0.001)
    for frame in (frames[0], frames[-1]):
        assert np.abs(frame.image[:, 2:30].astype(int) - 255).max() <= 3
        assert np.abs(frame.image[:, 36:].astype(int) - (40, 120, 200)).mean() <= 4


def moving_bar(moment: int) -> U8:
    image = np.full((64, 96, 3), (20, 60, 220), np.uint8)
    image[:, 3 * moment : 3 * moment + 24] = (230, 40, 30)
    return image


def weave(top: U8, bottom: U8) -> Any:
    """Even lines of one picture and odd ones of another, chroma too, as a camera of fields."""
    woven = av.VideoFrame(top.shape[1], top.shape[0], "yuv420p")
    fields = [
        av.VideoFrame.from_ndarray(np.ascontiguousarray(lines), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=1
        )
        for lines in (top[0::2], bottom[1::2])
    ]
    for plane, *parts in zip(woven.planes, *(field.planes for field in fields), strict=True):
        lines = np.zeros((plane.height, plane.line_size), np.uint8)
        for parity, part in enumerate(parts):
            rows = np.frombuffer(bytes(part), np.uint8).reshape(-1, part.line_size)
            lines[parity::2, : plane.width] = rows[: plane.height // 2, : plane.width]
        plane.update(lines.tobytes())
    return woven


@pytest.mark.parametrize("top_first", [True, False])
@pytest.mark.parametrize("name", ["a.mp4", "a.mpg", "a.mkv"])
def test_interlaced_film_becomes_whole_pictures(tmp_path: Path, top_first: bool, name: str) -> None:
    """Two fields of two moments: a bar that moves; half-way colours on its edges are combs."""
    flag = "tff=1" if top_first else "bff=1"
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        codec = "mpeg2video" if name == "a.mpg" else "libx264"
        options = {"flags": "+ildct+ilme"} if name == "a.mpg" else {"x264-params": flag, "qp": "4"}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.bit_rate = 8_000_000
        context = stream.codec_context  # not what the size suggests: is it kept?
        context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1
        graph = av.filter.Graph()
        graph.link_nodes(
            graph.add_buffer(width=96, height=64, format="yuv420p", time_base=Fraction(1, 25)),
            graph.add("setfield", "tff" if top_first else "bff"),
            graph.add("buffersink"),
        ).configure()
        for i in range(12):
            first, second = moving_bar(2 * i), moving_bar(2 * i + 1)
            frame = weave(first, second) if top_first else weave(second, first)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            graph.push(frame)
            container.mux(stream.encode(graph.pull()))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        raw = list(container.decode(video=0))
    assert all(frame.interlaced_frame for frame in raw)
    assert raw[0].colorspace == raw[-1].colorspace == 1
    frames, notices = read(path)
    assert len(frames) == len(raw) == 12
    assert sum("interlaced" in n for n in notices) == 1
    starts = [float(f.pts * f.time_base) for f in raw]
    apart = [f.time - frames[0].time for f in frames]
    np.testing.assert_allclose(apart, np.array(starts) - starts[0], atol=0.0011)

    def combs(image: U8) -> float:
        rows = image[4:-4].astype(int)
        return float(np.abs(rows[1:-1] * 2 - rows[:-2] - rows[2:]).mean())

    assert np.abs(frames[6].image[30, [2, 90]].astype(int) - (20, 60, 220)).max() <= 6
    woven = raw[6].to_ndarray(format="rgb24")
    assert combs(frames[6].image) < combs(woven) / 4
    copy(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


def test_a_film_that_changes_its_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    packets = []
    for size in ((64, 48), (32, 24), (96, 96)):
        part = write_video(
            tmp_path / "part.webm",
            [picture(0, *size)] * 5,
            codec="libvpx",
            size=size,
            options={"g": "5", "deadline": "realtime", "b": "2M"},
        )
        with av.open(str(part)) as container:
            packets += [bytes(p) for p in container.demux(video=0) if p.size]
    path = tmp_path / "a.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i, data in enumerate(packets):
            mux(container, stream, data, i)
    frames, notices = read(path)
    assert [f.image.shape for f in frames] == [(48, 64, 3)] * 15
    assert notices == [
        "the video changes its size from 64x48 to 32x24; all is scaled to the first size."
    ]
    for frame in frames:
        assert np.abs(frame.image[30:, 40:].astype(int) - 40).mean() < 6
        assert np.abs(frame.image[4:20, 4:28].astype(int) - (220, 30, 30)).mean() < 12
    copy(path, tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").frames == 15


def test_sound_that_begins_before_the_picture_by_seconds_is_kept(tmp_path: Path) -> None:
    source = write_sound(tmp_path / "a.ts", "libmp3lame", seconds=3, begin=100)
    with av.open(str(source)) as given, av.open(str(tmp_path / "b.ts"), "w") as container:
        tracks = {
            s.index: container.add_stream_from_template(s, opaque=True) for s in given.streams
        }
        begun = False
        for packet in given.demux():
            late = packet.stream_index == 1 or (packet.dts or 0) > 90000 * 101
            begun = begun or (late and packet.stream_index == 0 and packet.is_keyframe)
            if packet.dts is not None and (begun or packet.stream_index == 1):
                packet.stream = tracks[packet.stream_index]
                container.mux(packet)
    with VideoReader(tmp_path / "b.ts") as reader:
        first = next(iter(reader))
        assert reader.info.start is not None
        assert 99 < reader.info.start <= 100
    assert 0.5 < first.time < 3
