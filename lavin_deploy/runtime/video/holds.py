"""What each container that is written can hold besides the picture, by its own definition."""

from __future__ import annotations

from dataclasses import dataclass

_PCM = ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le")
_PCM_BIG = ("pcm_s16be", "pcm_s24be", "pcm_s32be")


@dataclass(frozen=True, kw_only=True)
class Holds:
    """One container.

    Attributes:
        sound: codings of sound that are copied, by FFmpeg's names; others are encoded anew.
        sound_source: where the container's makers define them.
        encoder: FFmpeg's encoder for other sound.
        subtitles: codings of subtitles that are copied.
        text: coding in which other subtitles that are text are written; None leaves them out, as
            those that are pictures are.
        chapters: whether it has chapters.
        creation_time: whether it has one.
        sound_tags: whether sound has a language, a title and a default track.
    """

    sound: tuple[str, ...]
    sound_source: str
    encoder: str
    subtitles: tuple[str, ...] = ()
    text: str | None = None
    chapters: bool = True
    creation_time: bool = True
    sound_tags: bool = True


HOLDS = {
    "mp4": Holds(
        sound=("aac", "mp3", "mp2", "ac3", "eac3", "alac", "flac", "opus"),
        sound_source="MP4 Registration Authority: codecs and object types",
        encoder="aac",
        subtitles=("mov_text",),
        text="mov_text",
    ),
    "mov": Holds(
        sound=(
            *("aac", "mp3", "ac3", "eac3", "alac", "pcm_u8", "pcm_s8", *_PCM, *_PCM_BIG),
            *("pcm_f32be", "pcm_f64be", "pcm_mulaw", "pcm_alaw", "adpcm_ima_qt"),
        ),
        sound_source="Apple, QuickTime File Format: sound sample descriptions",
        encoder="aac",
        subtitles=("mov_text",),
        text="mov_text",
    ),
    "matroska": Holds(
        sound=(
            *("aac", "mp3", "mp2", "ac3", "eac3", "dts", "truehd", "alac", "flac", "opus"),
            *("vorbis", "tta", "wavpack", "pcm_u8", *_PCM, *_PCM_BIG),
        ),
        sound_source="Matroska Media Container Codec Specifications (IETF CELLAR)",
        encoder="aac",
        subtitles=(
            *("subrip", "ass", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"),
        ),
        text="subrip",
    ),
    "webm": Holds(
        sound=("opus", "vorbis"),
        sound_source="WebM Container Guidelines",
        encoder="libopus",
        subtitles=("webvtt",),
        text="webvtt",
    ),
    "avi": Holds(
        sound=(
            *("mp3", "mp2", "ac3", "aac", "pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le"),
            *("pcm_f32le", "pcm_mulaw", "pcm_alaw", "adpcm_ms", "adpcm_ima_wav", "wmav1", "wmav2"),
        ),
        sound_source="RFC 2361 and Microsoft's mmreg.h: WAVE_FORMAT_*",
        encoder="libmp3lame",
        chapters=False,
        creation_time=False,
        sound_tags=False,
    ),
}

# ISO 639-2 has two codes for some languages; FFmpeg's table of QuickTime's languages knows one.
QUICKTIME_LANGUAGES = {
    **{"deu": "ger", "nld": "dut", "swe": "sve", "zho": "chi", "fre": "fra", "ell": "gre"},
    **{"cze": "ces", "rum": "ron", "slo": "slk", "isl": "ice", "fas": "per", "sqi": "alb"},
    **{"mkd": "mac", "hye": "arm", "kat": "geo", "bod": "tib", "mya": "bur", "msa": "may"},
    **{"cym": "wel", "eus": "baq"},
}

TEXT_SUBTITLES = ("subrip", "mov_text", "webvtt", "ass", "text")
