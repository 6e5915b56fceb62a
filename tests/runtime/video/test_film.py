"""Real films as a viewer would see them: which track, which way up, which length."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from av.format import ContainerFormat
from av.sidedata.sidedata import Type
from PIL import Image, ImageOps

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.video import orientation
from lavin_deploy.runtime.video.container import is_video_demuxer, pick_video
from tests.helpers.films import add_jpeg_track, copy, jpeg, mux, read
from tests.helpers.videos import picture, write_video

pytestmark = pytest.mark.unit


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
    left_out = "what else the input holds is left out: 1 cover picture."
    assert copy(path, tmp_path / "answer.mp4") == [left_out]
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


def test_what_else_a_film_holds_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        videos = [container.add_stream("mpeg4", rate=25) for _ in range(3)]
        for video in videos:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.add_attachment("a.ttf", "application/x-truetype-font", b"no font")
        for video in videos:
            frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
            container.mux(video.encode(frame))
            container.mux(video.encode(None))
    left_out = "what else the input holds is left out: 2 further video tracks, 1 attachment."
    assert copy(path, tmp_path / "out.mkv") == [left_out]
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


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


@pytest.mark.parametrize("name", ["a.ts", "a.m2ts", "a.ogv"])
def test_a_packet_or_page_that_does_not_end_is_missing(tmp_path: Path, name: str) -> None:
    codec = "mpeg4" if name.endswith("ts") else "libvpx"
    path = write_video(tmp_path / name, 40, codec=codec, size=(128, 96))
    assert len(read(path)[0]) == 40
    data = path.read_bytes()
    for end in (len(data) - 3, len(data) * 2 // 3 + 5):
        path.write_bytes(data[:end])
        with pytest.raises(InputError, match=r"incomplete: .* a part of it is missing"):
            read(path)
    path.write_bytes(data + b"what a recorder left")
    assert len(read(path)[0]) == 40


def test_live_matroska_of_unknown_sizes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 40, muxer={"live": "1"}, options={"g": "5"})
    assert len(read(path)[0]) == 40
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match="incomplete"):
        read(path)
