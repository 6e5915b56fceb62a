"""Real films of every kind as a viewer would see them: which track, which way up, which colours."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.format import ContainerFormat
from av.sidedata.sidedata import Type
from PIL import Image, ImageOps

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.hdr import HLG, PQ, tone_map
from lavin_deploy.runtime.video import orientation
from lavin_deploy.runtime.video.container import is_video_demuxer, pick_video
from lavin_deploy.runtime.video.reader import Frame, VideoReader
from lavin_deploy.runtime.video.writer import VideoWriter
from tests.helpers.videos import U8, picture, probe, write_sound, write_video

pytestmark = pytest.mark.unit


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


# Which track, which way up


def test_no_cover_picture_is_the_video_and_of_the_rest_ffmpegs_choice() -> None:
    with av.open(io.BytesIO(), "w", format="matroska") as container:
        sizes = [(64, 48), (320, 240), (32, 32), (320, 240)]
        tracks = [container.add_stream("mpeg4", rate=25) for _ in sizes]
        for track, (width, height) in zip(tracks, sizes, strict=True):
            track.width, track.height = width, height
            track.disposition = 0

        def chosen() -> int:
            return int(pick_video(container, Path("a.mkv")).index)

        assert chosen() == 1  # the largest, and of two the first
        for bit in range(31):  # all that AV_DISPOSITION_* has, and what it may come to have
            tracks[1].disposition = 1 << bit
            assert chosen() == (3 if 1 << bit == 1 << 10 else 1), bit
        tracks[1].disposition = tracks[3].disposition = 0
        tracks[2].disposition = 1
        assert chosen() == 2  # default counts five million pixels
        tracks[2].disposition = 1 | 1 << 10
        assert chosen() == 1
        tracks[1].width, tracks[1].height, tracks[0].disposition = 4000, 2000, 1
        assert chosen() == 1
        for track in tracks:
            track.disposition = 1 << 10
        with pytest.raises(InputError, match="holds no video track"):
            chosen()


def udta_first(path: Path) -> None:
    """Move an MP4's user data, which hold the cover, before its tracks, as some taggers do."""
    data = path.read_bytes()
    start = data.index(b"moov") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    boxes, place = [], start + 8
    while place < start + size:
        length = int.from_bytes(data[place : place + 4], "big")
        boxes.append(data[place : place + length])
        place += length
    boxes.sort(key=lambda box: box[4:8] not in (b"mvhd", b"udta"))
    path.write_bytes(data[: start + 8] + b"".join(boxes) + data[start + size :])


def test_cover_art_before_the_film_and_in_a_song(tmp_path: Path) -> None:
    cover = jpeg(np.full((200, 200, 3), 250, np.uint8))
    film = write_video(tmp_path / "film.mp4", 7)
    path = tmp_path / "cover.mp4"
    with av.open(str(film)) as source, av.open(str(path), "w") as container:
        art = add_jpeg_track(container, (200, 200))
        art.disposition = 1 << 10
        picture_track = container.add_stream_from_template(source.streams.video[0], opaque=True)
        mux(container, art, cover)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture_track
                container.mux(packet)
    udta_first(path)
    with av.open(str(path)) as container:
        first = container.streams.video[0]
        assert (first.width, int(first.disposition) & 1 << 10) == (200, 1 << 10)
    frames, _ = read(path)
    assert [f.image.shape for f in frames] == [(48, 64, 3)] * 7
    with av.open(str(tmp_path / "song.mp3"), "w") as container:
        sound = container.add_stream("libmp3lame", rate=44100)
        art = add_jpeg_track(container, (200, 200))
        art.disposition = 1 << 10
        mux(container, art, cover)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 8820), np.int16), "s16", "stereo")
        block.sample_rate, block.pts = 44100, 0
        container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    with pytest.raises(InputError, match="holds no video track"):
        read(tmp_path / "song.mp3")


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_in_motion_jpeg(tmp_path: Path, turn: int) -> None:
    data = jpeg(picture(0), turn)
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = add_jpeg_track(container, (64, 48))
        for i in range(4):
            mux(container, stream, data, i)
    with av.open(str(tmp_path / "a.avi")) as container:
        frame = next(container.decode(video=0))
        with pytest.raises(ValueError, match="is not a valid Type"):  # EXIF: PyAV has no name
            len(frame.side_data)
    frames, notices = read(tmp_path / "a.avi")
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert notices == []
    assert [f.image.shape for f in frames] == [expected.shape] * 4
    assert np.abs(frames[0].image.astype(int) - expected).mean() < 2


def test_every_kind_of_side_data_has_a_name_or_is_dropped() -> None:
    frame = av.VideoFrame(32, 32, "yuv420p")
    assert {kind.value for kind in Type} <= set(range(orientation._LAST_SIDE_DATA))
    assert orientation.side_data(orientation._without_unnamed(frame)) == {}
    assert Type(orientation._DISPLAYMATRIX).name == "DISPLAYMATRIX"


def test_every_demuxer_of_ffmpeg_is_a_video_or_not() -> None:
    names = set()
    for name in av.formats_available:
        try:
            names.add(ContainerFormat(name, "r").name)
        except ValueError:
            continue  # only written
    assert len(names) > 300
    refused = {name for name in names if not is_video_demuxer(name)}
    pictures = {name for name in refused if name.endswith("_pipe")}
    assert len(pictures) > 30
    known = {"concat", "ffmetadata", "hls", "image2", "image2pipe", "rtp", "rtsp", "sap", "sdp"}
    assert refused - pictures == known | {"tty", "vobsub", "webm_dash_manifest"}
    for name in ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "mpegts", "gif", "asf"):
        assert name in names - refused


# Length


def test_stale_statistics_and_promises_prove_nothing(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mkv", 12)
    path = tmp_path / "stale.mkv"
    with av.open(str(film)) as source, av.open(str(path), "w") as container:
        track = container.add_stream_from_template(source.streams.video[0], opaque=True)
        track.metadata["DURATION-eng"] = "00:00:10.000000000"
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                container.mux(packet)
    assert len(read(path)[0]) == 12
    flash = write_video(tmp_path / "a.flv", 12, codec="flv")
    data = bytearray(flash.read_bytes())
    where = data.index(b"duration") + len("duration") + 1
    data[where : where + 8] = np.array(7200, ">f8").tobytes()
    flash.write_bytes(data)
    with av.open(str(flash)) as container:
        assert container.duration == 7_200_000_000
    assert len(read(flash)[0]) == 12
    assert copy(flash, tmp_path / "out.mp4") == []
    for missing in (30, 300):
        flash.write_bytes(data[:-missing])
        with pytest.raises(InputError, match="incomplete"):
            read(flash)
    flash.write_bytes(data + bytes(64))  # what follows the tags proves nothing
    assert len(read(flash)[0]) == 12


def test_live_matroska_of_unknown_sizes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 40, muxer={"live": "1"}, options={"g": "5"})
    assert len(read(path)[0]) == 40
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match="incomplete"):
        read(path)


# Colours


def pq_code(light: float) -> float:
    y = (light / 10_000) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32))


def hlg_code(light: float) -> float:
    scene = (light / 1000) ** (1 / 1.2)
    if scene <= 1 / 12:
        return float((3 * scene) ** 0.5)
    return float(0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073)


@pytest.mark.parametrize(("transfer", "code"), [(PQ, pq_code), (HLG, hlg_code)])
def test_tone_mapping(transfer: int, code: Any) -> None:
    lights = [0, 0.5, 2, 10, 40, 80, 120, 203, 400, 700, 1000]
    codes = np.array([round(65535 * code(light)) if light else 0 for light in lights], np.uint16)
    grey = tone_map(codes[None, :, None].repeat(3, axis=2), transfer)[0].astype(int)
    assert np.ptp(grey, axis=1).max() == 0
    levels = grey[:, 0]
    assert (np.diff(levels[:9]) > 0).all()
    assert (np.diff(levels[8:]) >= 0).all()
    dark = [255 * (light / 203) ** (1 / 2.4) for light in lights[:6]]  # unchanged below the knee
    np.testing.assert_allclose(levels[:6], dark, atol=1)
    assert levels[-1] == 255
    assert 200 < levels[7] < 245  # white leaves room for what is brighter
    red = tone_map(np.array([[[codes[7], codes[4], codes[4]]]]), transfer)[0, 0]
    assert red[0] > 200 > red[1]


def write_hdr(path: Path, transfer: int, code: Any) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries = 1, 9, 9
        context.color_trc = transfer
        for i in range(4):
            frame = av.VideoFrame(64, 48, "yuv420p10le")
            for plane in frame.planes:
                row = np.full(plane.line_size // 2, 512, np.uint16)
                if plane.width == 64:
                    row[:32], row[32:] = 64, round(64 + 876 * code(203))
                plane.update(np.tile(row, plane.height).tobytes())
            frame.colorspace, frame.color_primaries = 9, 9
            frame.color_trc, frame.color_range, frame.pts = transfer, 1, i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("transfer", "code"), [(PQ, pq_code), (HLG, hlg_code)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_an_hdr_film_becomes_bt709_and_says_so(
    tmp_path: Path, transfer: int, code: Any, suffix: str
) -> None:
    source = write_hdr(tmp_path / "a.mp4", transfer, code)
    frames, notices = read(source)
    assert len(notices) == 1
    assert "HDR" in notices[0]
    assert frames[0].image[24, 10].max() <= 1
    white = frames[0].image[24, 50].astype(int)
    assert np.ptp(white) <= 1
    assert 200 < white[0] < 245
    assert copy(source, tmp_path / f"out{suffix}") == notices
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        answer = next(container.decode(video=0))
    assert (answer.colorspace, answer.color_primaries, answer.color_trc) == (1, 1, 1)
    second, none = read(tmp_path / f"out{suffix}")
    assert none == []
    assert np.abs(second[0].image.astype(int) - frames[0].image)[:, 36:].mean() <= 1.5


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("limits", [1, 2])
@pytest.mark.parametrize("transfer", [1, 2, 13, 16, 18])
def test_unpainted_pixels_keep_their_colours(
    tmp_path: Path, matrix: int, limits: int, transfer: int
) -> None:
    """What is read and written again without loss differs by less than a level on average."""
    generator = np.random.default_rng(matrix)
    patches = generator.integers(16, 240, (3, 4, 3), dtype=np.uint8).repeat(32, 0).repeat(32, 1)
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv444p"
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_trc = matrix, limits, transfer
        scaler = {4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 1: 1}[matrix]
        frame = av.VideoFrame.from_ndarray(patches, format="rgb24")
        frame = frame.reformat(
            format="yuv444p", dst_colorspace=scaler, dst_color_range=limits, interpolation=4
        )
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (first,), _ = read(source)
    if transfer in (1, 2, 13):
        assert np.abs(first.image.astype(int) - patches).mean() <= 1
    copy(source, tmp_path / "out.mkv", "ffv1")
    (second,), notices = read(tmp_path / "out.mkv")
    assert notices == []
    difference = np.abs(second.image.astype(int) - first.image)
    cores = difference.reshape(3, 32, 4, 32, 3)[:, 8:24, :, 8:24]  # 4:2:0 blurs the edges
    assert cores.mean() <= 1


def test_bt2020_primaries_without_a_matrix_and_unknown_matrices(tmp_path: Path) -> None:
    for tags, matrix, count in (((2, 9), 9, 0), ((8, 1), 6, 1), ((10, 9), 9, 1)):
        path = tmp_path / f"{tags[0]}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            context = stream.codec_context
            context.colorspace, context.color_primaries = tags
            frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.colorspace, frame.color_primaries, frame.pts = *tags, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with VideoReader(path) as reader:
            assert reader.info.colors.matrix == matrix
            assert sum("colour matrix" in n for n in reader.notices) == count


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
