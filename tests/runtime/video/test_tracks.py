"""Sound, subtitles, chapters and titles of real files, as another reader (MediaInfo) sees them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pymediainfo import MediaInfo

from lavin_deploy.runtime.video.holds import HOLDS, TEXT_SUBTITLES
from lavin_deploy.runtime.video.reader import VideoReader
from tests.helpers.films import copy
from tests.helpers.videos import damage_sound, loudest_hertz, picture, probe, write_sound

pytestmark = pytest.mark.unit

# FFmpeg's encoder, a container that it was written into, MediaInfo's name.
SOUNDS = {
    "aac": ("aac", "mp4", "AAC"),
    "mp3": ("libmp3lame", "mkv", "MPEG Audio"),
    "mp2": ("mp2", "mpg", "MPEG Audio"),
    "ac3": ("ac3", "mkv", "AC-3"),
    "eac3": ("eac3", "mkv", "E-AC-3"),
    "opus": ("libopus", "mkv", "Opus"),
    "vorbis": ("vorbis", "mkv", "Vorbis"),
    "flac": ("flac", "mkv", "FLAC"),
    "alac": ("alac", "mov", "ALAC"),
    "pcm_s16le": ("pcm_s16le", "avi", "PCM"),
    "pcm_u8": ("pcm_u8", "avi", "PCM"),
    "pcm_mulaw": ("pcm_mulaw", "avi", "ADPCM"),  # so does MediaInfo call G.711
    "pcm_alaw": ("pcm_alaw", "avi", "ADPCM"),
    "adpcm_ms": ("adpcm_ms", "avi", "ADPCM"),
    "adpcm_ima_qt": ("adpcm_ima_qt", "mov", "ADPCM"),
    "wmav2": ("wmav2", "wmv", "WMA"),
}
CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}


def _decodes(name: str) -> bool:
    try:
        return bool(av.codec.Codec(name, "r").name)
    except av.codec.codec.UnknownCodecError:
        return False


DECODERS = sorted(filter(_decodes, av.codecs_available))


def tracks(path: Path, kind: str) -> list[Any]:
    return [t for t in MediaInfo.parse(path).tracks if t.track_type == kind]


@pytest.fixture(scope="module", params=SOUNDS)
def spoken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    name = request.param
    encoder, suffix, _ = SOUNDS[name]
    path = tmp_path_factory.mktemp(name) / f"a.{suffix}"
    return name, write_sound(path, encoder, layout="stereo" if name == "vorbis" else "mono")


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_sound_is_copied_where_it_is_defined_and_encoded_else(
    tmp_path: Path, spoken: tuple[str, Path], suffix: str
) -> None:
    name, source = spoken
    target = tmp_path / f"out{suffix}"
    notices = copy(source, target)
    holds = HOLDS[CONTAINERS[suffix]]
    copied = name in holds.sound
    if copied:
        assert notices == []
    else:
        (notice,) = notices
        assert notice.startswith("audio track ")
        assert f"({name}) is encoded anew as {holds.encoder}" in notice
    (sound,) = tracks(target, "Audio")
    encoded = {"aac": "AAC", "libopus": "Opus", "libmp3lame": "MPEG Audio"}[holds.encoder]
    expected = SOUNDS[name][2] if copied else encoded
    assert sound.format == expected
    length = float(sound.duration) / 1000
    assert abs(length - 0.6) < 0.12  # codecs pad to whole frames, and ASF's clock is coarse
    assert abs(loudest_hertz(target) - 440) < 4
    picture_track = tracks(target, "Video")[0]
    assert abs(float(picture_track.duration) / 1000 - 0.6) < 0.05
    assert probe(target).frames == 15


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_channels_of_sound_that_is_encoded_anew(tmp_path: Path, layout: str, suffix: str) -> None:
    source = write_sound(tmp_path / "a.mkv", "pcm_f64le", layout=layout)
    (notice,) = copy(source, tmp_path / f"out{suffix}")
    assert (", in stereo:" in notice) == (layout == "5.1")
    (sound,) = tracks(tmp_path / f"out{suffix}", "Audio")
    assert int(sound.channel_s) == (1 if layout == "mono" else 2)
    assert abs(loudest_hertz(tmp_path / f"out{suffix}") - 440) < 4


def test_unknown_sound_is_left_out_and_the_picture_stays(tmp_path: Path) -> None:
    source = write_sound(tmp_path / "a.mkv", "flac")
    data = source.read_bytes()
    assert data.count(b"A_FLAC") == 1
    source.write_bytes(data.replace(b"A_FLAC", b"A_XYZQ"))
    for suffix in (".mp4", ".mkv"):
        (notice,) = copy(source, tmp_path / f"out{suffix}")
        assert notice.startswith("audio track 1 (")
        assert "is left out" in notice
        assert probe(tmp_path / f"out{suffix}").frames == 15
        assert not tracks(tmp_path / f"out{suffix}", "Audio")


def test_damaged_sound_is_named_and_the_picture_stays(tmp_path: Path) -> None:
    source = damage_sound(write_sound(tmp_path / "a.mkv", "flac", seconds=2), 5, 9)
    notices = copy(source, tmp_path / "out.mov")
    assert any("audio track 1 (flac) is left out: 4 packets are damaged" in n for n in notices)
    assert probe(tmp_path / "out.mov").frames == 50
    assert abs(loudest_hertz(tmp_path / "out.mov") - 440) < 4


def test_more_sound_than_the_container_takes_does_not_stop_the_picture(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(100):
            container.add_stream("pcm_u8", rate=8000).layout = "mono"
        for i in range(5):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    (notice,) = copy(source, tmp_path / "out.avi")  # which has at most 100 tracks
    assert notice.startswith("sound, subtitles, chapters and titles are left out: avi does not")
    assert probe(tmp_path / "out.avi").frames == 5
    assert copy(source, tmp_path / "out.mkv") == []


def write_rich(path: Path, subtitles: str) -> Path:
    """Two languages, the second the default; a subtitle, chapters, a title, a date."""
    with av.open(str(path), "w") as container:
        container.metadata.update({"title": "A film", "creation_time": "2024-01-02T03:04:05Z"})
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = []
        for language, title, flag in (("eng", "English", 0), ("deu", "Deutsch", 1)):
            sound = container.add_stream("aac", rate=48000)
            sound.layout = "stereo"
            sound.metadata.update({"language": language, "title": title})
            sound.disposition = flag
            sounds.append(sound)
        text = container.add_stream(subtitles)
        text.codec_context.subtitle_header = ASS
        text.codec_context.time_base = Fraction(1, 1000)
        text.metadata["language"] = "fra"
        container.set_chapters(
            [
                {"id": i, "start": i * 500, "end": i * 500 + 500, "time_base": Fraction(1, 1000)}
                | {"metadata": {"title": f"Part {i}"}}
                for i in range(2)
            ]
        )
        for i in range(25):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for sound in sounds:
            block = av.AudioFrame.from_ndarray(np.zeros((1, 96000), np.int16), "s16", "stereo")
            block.sample_rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
            container.mux(sound.encode(block))
            container.mux(sound.encode(None))
        line = {"mov_text": b"\0\7", "ass": b"0,0,Default,,0,0,0,,{\\i1}"}.get(subtitles, b"")
        line += b"Bonjour"
        packet = av.Packet(line)
        packet.stream, packet.time_base = text, Fraction(1, 1000)
        packet.pts = packet.dts = 200
        packet.duration = 400
        container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("suffix", "language", "kept"),
    [
        (".mov", "fre", "fr"), (".mov", "deu", "de"), (".mov", "tlh", None), (".mov", "en", None),
        (".mp4", "tlh", "tlh"), (".mp4", "en", None), (".mkv", "tlh", "tlh"),
    ],
)  # fmt: skip
def test_a_language_that_a_container_has_no_code_for_is_said(
    tmp_path: Path, suffix: str, language: str, kept: str | None
) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="stereo")
        sound.metadata["language"] = language
        frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
        container.mux(video.encode(frame))
        container.mux(video.encode(None))
        block = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), "s16", "stereo")
        block.sample_rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
        container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    lost = f"{CONTAINERS[suffix]} cannot hold the language {language!r} of the input: left out."
    assert copy(path, tmp_path / f"out{suffix}") == ([] if kept else [lost])
    assert [track.language for track in tracks(tmp_path / f"out{suffix}", "Audio")] == [kept]


ASS = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@pytest.mark.parametrize(
    ("source", "subtitles", "suffix", "lost"),
    [
        ("a.mp4", "mov_text", ".mp4", ""),
        ("a.mp4", "mov_text", ".mov", ""),
        ("a.mkv", "subrip", ".mkv", ""),
        ("a.mkv", "subrip", ".mp4", "mov_text"),
        ("a.mkv", "ass", ".mov", "mov_text"),
        ("a.mkv", "subrip", ".webm", "webvtt"),
        ("a.mp4", "mov_text", ".mkv", "subrip"),
        (
            *("a.mkv", "subrip", ".avi"),
            "the creation time, the chapters, subtitle track 3 (subrip), "
            "the languages, titles and default track of the sound",
        ),
    ],
)
def test_languages_defaults_subtitles_chapters_and_titles(
    tmp_path: Path, source: str, subtitles: str, suffix: str, lost: str
) -> None:
    path = write_rich(tmp_path / source, subtitles)
    target = tmp_path / f"out{suffix}"
    notices = copy(path, target)
    if suffix == ".webm":
        notices = [n for n in notices if "encoded anew as libopus" not in n]
    expected = f"{CONTAINERS[suffix]} cannot hold {lost} of the input: left out."
    if lost in ("mov_text", "webvtt", "subrip"):
        expected = f"subtitle track 3 ({subtitles}) is rewritten as plain {lost}: "
        expected += f"{CONTAINERS[suffix]} cannot hold {subtitles}."
    assert notices == ([expected] if lost else [])
    with av.open(str(target)) as container:
        assert container.metadata["title"] == "A film"
        if suffix != ".avi":
            assert container.metadata["creation_time"].startswith("2024-01-02T03:04:05")
            chapters = container.chapters()
            assert [c["metadata"]["title"] for c in chapters] == ["Part 0", "Part 1"]
            assert [float(c["start"] * c["time_base"]) for c in chapters] == [0, 0.5]
        texts = container.streams.subtitles
        said = [
            (float(p.pts * p.time_base), float(p.duration * p.time_base), part.dialogue)
            for p in (container.demux(texts) if texts else ())
            if p.size and p.pts is not None
            for part in p.decode()
        ]
        said = [line for line in said if line[2].strip()]
        assert said == ([] if "subtitle" in lost else [(0.2, 0.4, b"Bonjour")])
    if suffix != ".avi":
        sounds = tracks(target, "Audio")
        assert [(t.language, t.title) for t in sounds] == [("en", "English"), ("de", "Deutsch")]
        assert [t.default for t in sounds] == ["No", "Yes"]
    if "subtitle" not in lost:
        assert [t.language for t in tracks(target, "Text")] == ["fr"]


@pytest.mark.parametrize(("name", "begin"), [("a.ts", 36001), ("a.ts", 80000), ("a.mkv", 5000)])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_clock_that_starts_late_becomes_zero(
    tmp_path: Path, name: str, begin: int, suffix: str
) -> None:
    source = write_sound(tmp_path / name, "libmp3lame", begin=begin, seconds=1)
    with VideoReader(source) as reader:
        assert reader.info.start is not None
        assert reader.info.start > begin - 1
        assert next(iter(reader)).time < 0.1
    target = tmp_path / f"out{suffix}"
    copy(source, target)
    apart = []
    for path in (source, target):
        with av.open(str(path)) as container:
            firsts = [
                min(p.pts * p.time_base for p in container.demux(s) if p.pts is not None)
                for s in (container.streams.video[0],)
            ]
        with av.open(str(path)) as container:
            sound = container.streams.audio[0]
            firsts.append(
                min(p.pts * p.time_base for p in container.demux(sound) if p.pts is not None)
            )
        apart.append(float(firsts[1] - firsts[0]))
    assert abs(apart[1] - apart[0]) < 0.03
    (general,) = tracks(target, "General")
    assert float(general.duration) < 1300


def test_every_name_in_the_table_of_containers_is_one_of_ffmpegs() -> None:
    known = {av.codec.Codec(name, "r").canonical_name for name in DECODERS}
    for muxer, holds in HOLDS.items():
        assert set(holds.sound) | set(holds.subtitles) | {holds.text} - {None} <= known, muxer
        assert av.codec.Codec(holds.encoder, "w").type == "audio"
    assert set(TEXT_SUBTITLES) <= known
