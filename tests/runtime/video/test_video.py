"""Round trips of real files through VideoReader and VideoWriter."""

from __future__ import annotations

import gc
import resource
import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lavin_deploy.errors import InputError, LavinError, WorkError
from lavin_deploy.runtime.video.reader import Frame, VideoReader
from lavin_deploy.runtime.video.writer import VIDEO_OUTPUTS, VideoWriter
from tests.helpers.videos import U8, picture, probe, write_video

pytestmark = pytest.mark.unit


def copy(source: Path, target: Path) -> tuple[int, list[str]]:
    """Read and write every frame; return their number and the notices."""
    count = 0
    with VideoReader(source) as reader:
        info = reader.info
        with VideoWriter.like(target, info, info.width, info.height) as writer:
            for frame in reader:
                writer.write(frame)
                count += 1
    return count, writer.notices


def read(path: Path) -> list[Frame]:
    with VideoReader(path) as reader:
        return list(reader)


def grey_levels(frames: list[Frame]) -> list[float]:
    return [float(frame.image[-8:, -8:].mean()) for frame in frames]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("h264.mp4", {}),
        ("b-frames.mp4", {"options": {"bf": "3", "preset": "veryfast"}}),
        ("h264.mkv", {"options": {"bf": "3"}}),
        ("mpeg4.mp4", {"codec": "mpeg4"}),
        ("mpeg4.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("h264.avi", {"options": {"bf": "3"}}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
        ("mpeg2.ts", {"codec": "mpeg2video"}),
        ("flash.flv", {"codec": "flv"}),
        ("one.mp4", {"frames": 1}),
        ("odd.mp4", {"size": (65, 47), "pixels": "yuv444p"}),
        ("odd.webm", {"size": (33, 31), "codec": "libvpx-vp9", "pixels": "yuv444p"}),
        ("tiny.mkv", {"size": (2, 2), "codec": "ffv1"}),
        ("grey.mkv", {"codec": "ffv1", "pixels": "gray"}),
        ("grey10.mkv", {"codec": "ffv1", "pixels": "gray10le"}),
        ("grey.mp4", {"pixels": "gray", "tags": (6, 2)}),
        ("deep.mp4", {"pixels": "yuv420p10le"}),
        ("rgb.avi", {"codec": "rawvideo", "pixels": "bgr24"}),
        ("late.mp4", {"times": range(100, 110)}),
        ("uneven.mp4", {"times": [0, 1, 7, 8, 30, 31, 90, 91, 92, 400], "rate": 25}),
        ("fine.mp4", {"times": [i * 1001 for i in range(10)], "time_base": Fraction(1, 30000)}),
    ],
)
def test_same_frames_size_and_times(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    source = write_video(tmp_path / name, **settings)
    expected = read(source)
    assert len(expected) == probe(source).frames
    assert len(expected) == settings.get("frames", 10)
    levels = [40 + i * 12 % 180 for i in range(len(expected))]
    np.testing.assert_allclose(grey_levels(expected), levels, atol=4)
    ticks, unit = settings.get("times", range(99)), settings.get("time_base", Fraction(1, 25))
    truth = [float((t - ticks[0]) * unit) for t in ticks][: len(expected)]
    np.testing.assert_allclose(
        [f.time - expected[0].time for f in expected],
        truth,
        atol=0.0011,  # mkv, flv: 1 ms
    )
    for suffix in (".mp4", ".mkv"):
        target = tmp_path / f"out{suffix}"
        count, notices = copy(source, target)
        assert (count, notices) == (len(expected), [])
        result = probe(target)
        assert result.frames == count
        assert result.size == settings.get("size", (64, 48))
        assert result.pixels == ("yuv444p" if result.size[0] % 2 else "yuv420p")
        tolerance = 0 if suffix == ".mp4" else 0.0005
        np.testing.assert_allclose(result.times, [f.time for f in expected], atol=tolerance + 1e-9)
        np.testing.assert_allclose(grey_levels(read(target)), grey_levels(expected), atol=3)


@pytest.mark.parametrize("suffix", VIDEO_OUTPUTS)
def test_every_output_format(tmp_path: Path, suffix: str) -> None:
    for size in ((64, 48), (63, 47), (16, 16), (1, 1)):
        pictures = [picture(i, *size) for i in range(5)]
        path = tmp_path / f"a{suffix}"
        with VideoWriter(path, *size, rate=Fraction(10)) as writer:
            for i, image in enumerate(pictures):
                writer.write(Frame(image=image, pts=i, duration=1, time_base=Fraction(1, 10)))
        assert writer.notices == []
        frames = read(path)
        assert [f.image.shape for f in frames] == [image.shape for image in pictures]
        np.testing.assert_allclose([f.time for f in frames], [0, 0.1, 0.2, 0.3, 0.4])
        if min(size) > 16:
            np.testing.assert_allclose(grey_levels(frames), [40 + 12 * i for i in range(5)], atol=3)


def test_avi_has_a_constant_rate_only(tmp_path: Path) -> None:
    source = write_video(tmp_path / "uneven.mp4", times=[0, 1, 3, 4, 6, 7, 9, 11, 12, 40])
    with pytest.raises(InputError, match=r"\.mp4 or \.mkv"):
        copy(source, tmp_path / "out.avi")
    assert not (tmp_path / "out.avi").exists()


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_portrait_by_display_rotation(tmp_path: Path, degrees: int) -> None:
    source = write_video(tmp_path / "turned.mp4", 3, rotation=degrees)
    with VideoReader(source) as reader:
        info, frames = reader.info, list(reader)
    assert (info.width, info.height) == ((64, 48) if degrees == 180 else (48, 64))
    upright = np.rot90(picture(0), degrees // 90)  # counter-clockwise, as the metadata means
    assert frames[0].image.shape == upright.shape
    assert np.abs(frames[0].image.astype(int) - upright)[2:-2, 2:-2].mean() < 6
    copy(source, tmp_path / "out.mp4")
    result = read(tmp_path / "out.mp4")  # upright pixels, no metadata needed any more
    assert result[0].image.shape == upright.shape
    assert np.abs(result[0].image.astype(int) - frames[0].image).mean() < 6


PATCHES = [
    *[(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128)],
    *[(200, 30, 60), (20, 180, 90), (250, 240, 10), (90, 60, 200)],
]


def patches() -> U8:
    return np.repeat(np.array(PATCHES, np.uint8), 32, axis=0)[None].repeat(64, axis=0)


def patch_colours(image: U8) -> np.ndarray:
    return np.array([image[24:40, 32 * i + 8 : 32 * i + 24].mean((0, 1)) for i in range(10)])


@pytest.mark.parametrize("matrix", [1, 5, 6, 9, None])
@pytest.mark.parametrize("full", [False, True])
def test_colours_survive(tmp_path: Path, matrix: int | None, full: bool) -> None:
    pixels = "yuvj420p" if full else "yuv420p"
    tags = None if matrix is None else (matrix, 2 if full else 1)
    source = write_video(
        tmp_path / "in.mp4", [patches()] * 3, size=(320, 64), pixels=pixels, tags=tags
    )
    first = read(source)[0].image
    assert np.abs(patch_colours(first) - PATCHES).max() <= 4
    for suffix in (".mp4", ".webm", ".mkv"):
        copy(source, tmp_path / f"out{suffix}")
        second = read(tmp_path / f"out{suffix}")[0].image
        assert np.abs(patch_colours(second) - PATCHES).max() <= 5


def test_large_untagged_video_is_bt709(tmp_path: Path) -> None:
    image = np.full((720, 1280, 3), (200, 30, 60), np.uint8)
    source = write_video(tmp_path / "in.mp4", [image], size=(1280, 720), tags=(1, 1))
    with VideoReader(source) as reader:
        assert reader.info.colors.matrix == 1
    untagged = write_video(tmp_path / "plain.mp4", [image], size=(1280, 720))
    with VideoReader(untagged) as reader:
        assert reader.info.colors.matrix == 1


@pytest.mark.parametrize(
    ("name", "codec", "audio", "suffix", "copied"),
    [
        ("a.mp4", "libx264", "aac", ".mp4", True),
        ("a.mp4", "libx264", "aac", ".mkv", True),
        ("a.mkv", "libx264", "libopus", ".mp4", True),
        ("a.webm", "libvpx-vp9", "libopus", ".webm", True),
        ("a.avi", "mpeg4", "libmp3lame", ".avi", True),
        ("a.ts", "libx264", "aac", ".mp4", True),
        ("a.mov", "libx264", "pcm_s16le", ".mov", True),
        ("a.mp4", "libx264", "aac", ".webm", False),
        ("a.mkv", "libx264", "libopus", ".mov", False),
    ],
)
def test_sound(
    tmp_path: Path, name: str, codec: str, audio: str, suffix: str, copied: bool
) -> None:
    source = write_video(tmp_path / name, 30, codec=codec, audio=audio)
    target = tmp_path / f"out{suffix}"
    count, notices = copy(source, target)
    before, after = probe(source), probe(target)
    assert after.frames == count == 30
    times = [[frame.time for frame in read(path)] for path in (source, target)]
    np.testing.assert_allclose(times[1], times[0], atol=0.0005)
    assert len(after.audio) == 1
    if copied:
        assert not notices
        if name.endswith(".ts"):  # there every packet has a header of its own
            assert [len(p) for p in after.audio[0]] == [len(p) - 7 for p in before.audio[0]]
        else:
            assert after.audio == before.audio
    else:
        assert len(notices) == 1
        assert "encoded anew" in notices[0]
        assert len(after.audio[0]) > 20


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mp4", {"muxer": {"movflags": "faststart"}}),
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.flv", {"codec": "flv"}),
    ],
)
@pytest.mark.parametrize("part", [0.35, 0.7, 0.9])
def test_a_file_that_ends_early_is_refused(
    tmp_path: Path, name: str, settings: dict[str, Any], part: float
) -> None:
    # noise, so that the frames and not the tables at the end make up the file
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    whole = write_video(tmp_path / name, frames, **settings)
    assert len(read(whole)) == 40
    data = whole.read_bytes()
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InputError, match=r"ends after \d+ frames|damaged"):
        copy(cut, tmp_path / f"out{whole.suffix if whole.suffix in VIDEO_OUTPUTS else '.mp4'}")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([whole.name, cut.name])


def test_an_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.mp4 cannot be read as a video"):
        read(tmp_path / "a.mp4")


def test_an_edit_list_is_no_truncation(tmp_path: Path) -> None:
    # frames before zero are cut away by the edit list that the muxer writes
    source = write_video(tmp_path / "a.mp4", 10, times=range(-3, 7), options={"bf": "0"})
    assert probe(source).frames == 7
    frames = read(source)
    assert [round(f.time * 25) for f in frames] == list(range(7))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
@pytest.mark.parametrize(("codec", "start"), [("libx264", 0.0), ("libx264", 0.3), ("mpeg4", 0.0)])
def test_a_whole_but_damaged_file_is_not_called_incomplete(
    tmp_path: Path, name: str, codec: str, start: float
) -> None:
    source = write_video(tmp_path / name, 30, codec=codec, size=(128, 96))
    data = bytearray(source.read_bytes())
    begin = data.index(b"mdat") + 4
    size = int.from_bytes(data[begin - 8 : begin - 4], "big") - 8
    first, last = begin + int(size * start), begin + int(size * 0.7)
    data[first:last] = b"\xff" * (last - first)
    source.write_bytes(data)
    with pytest.raises(InputError, match=rf"{name} cannot be decoded after \d+ frames .*damaged"):
        copy(source, tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_damage_in_the_middle_is_a_sentence(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.webm", 30, codec="libvpx-vp9", size=(128, 96))
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff" * 400
    source.write_bytes(data)
    why = r"a\.webm (cannot be decoded|is incomplete: it ends) after"
    with pytest.raises(InputError, match=why):
        copy(source, tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["a.webm"]


@pytest.mark.parametrize("content", [b"", b"hello\n" * 1000, bytes(100_000), b"GIF89a\0\0\0"])
def test_not_a_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mp4 (cannot be read as|is not) a video"):
        read(tmp_path / "a.mp4")


def test_sound_or_a_playlist_alone_is_no_video(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16", "stereo")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no video track"):
        read(tmp_path / "a.mp4")
    write_video(tmp_path / "real.ts", codec="mpeg2video")
    (tmp_path / "b.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(InputError, match=r"b\.mp4"):
        read(tmp_path / "b.mp4")
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "none.mp4")


def test_absurd_sizes_are_refused_before_decoding(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.avi", 2, codec="rawvideo", pixels="bgr24")
    data = bytearray(source.read_bytes())
    where = data.index(b"strf") + 12  # width and height of the track's BITMAPINFOHEADER
    data[where : where + 8] = struct.pack("<ii", 12_000, 9_000)
    source.write_bytes(data)
    with pytest.raises(InputError, match=r"12000x9000; more than 89478485 pixels"):
        read(source)


def frames_of(count: int, width: int = 64, height: int = 48) -> Iterator[Frame]:
    for i in range(count):
        yield Frame(image=picture(i, width, height), pts=i, duration=1, time_base=Fraction(1, 25))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, InputError])
def test_an_error_in_the_middle_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    old = tmp_path / "old.mp4"
    old.write_bytes(b"what was there")

    def fail(path: Path) -> None:
        with VideoWriter(path, 64, 48) as writer:
            for frame in frames_of(80):
                writer.write(frame)
            raise error("stop")

    for path in (old, tmp_path / "new.mp4"):
        with pytest.raises(error, match="stop"):
            fail(path)
    assert [p.name for p in tmp_path.iterdir()] == ["old.mp4"]
    assert old.read_bytes() == b"what was there"


def test_the_file_appears_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 64, 48) as writer:
        for frame in frames_of(5):
            writer.write(frame)
            assert not path.exists()
    assert probe(path).frames == 5
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_the_writer_refuses(tmp_path: Path) -> None:
    def write(path: Path, *frames: Frame) -> None:
        with VideoWriter(path, 64, 48) as writer:
            for frame in frames:
                writer.write(frame)

    first, second = frames_of(2)
    cases: list[tuple[str, tuple[Frame, ...], type[LavinError], str]] = [
        ("a.xyz", (first,), InputError, r"\.mp4, \.m4v"),
        ("no/a.mp4", (first,), InputError, "does not exist"),
        ("a.mp4", (), WorkError, "no frame"),
        ("a.mp4", (replace(first, image=picture(0, 32, 48)),), InputError, "of one size"),
        ("a.mp4", (second, first), InputError, "uneven"),
    ]
    for name, frames, error, match in cases:
        with pytest.raises(error, match=match):
            write(tmp_path / name, *frames)
        assert not list(tmp_path.iterdir())


def resident() -> int:
    """Bytes of memory that this process occupies now, libav's included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_a_long_video_in_constant_memory(tmp_path: Path) -> None:
    source = write_video(tmp_path / "long.mp4", 1400, size=(96, 64), audio="aac")
    target = tmp_path / "out.mp4"
    early = 0
    gc.disable()  # frames must go when they are done with, not when cycles are looked for
    try:
        with VideoReader(source) as reader, VideoWriter.like(target, reader.info, 96, 64) as writer:
            for i, frame in enumerate(reader):
                writer.write(frame)
                if i == 300:
                    early = resident()
            late = resident()
    finally:
        gc.enable()
    assert late - early < 3_000_000  # the frames not yet seen are 20 MB
    result = probe(target)
    assert result.frames == 1400
    np.testing.assert_allclose(result.times, np.arange(1400) / 25, atol=1e-6)
    assert result.audio == probe(source).audio
