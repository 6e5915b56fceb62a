"""One track besides the picture on its way into an output: copied, or encoded anew."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from lavin_deploy.runtime.video.container import import_av, open_input
from lavin_deploy.runtime.video.holds import QUICKTIME_LANGUAGES

# What FFmpeg's encoders of subtitles want to know of styles: there are none.
_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
_TIMES_MAY_REPEAT = 0x20000  # AVFMT_TS_NONSTRICT: packets shorter than the clock's unit
_KEPT = ("language", "title", "handler_name")


class Copied:
    """One output track that takes packets of one input track as they are.

    Args:
        stream: the output's ``av`` stream.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._last: int | None = None
        self._step = 0 if int(stream.container.format.flags) & _TIMES_MAY_REPEAT else 1
        self.damaged = 0  # a copy does not look inside

    def write(self, packet: Any, shift: Fraction, output: Any) -> None:
        """Write a packet, ``shift`` seconds later."""
        ratio = packet.time_base / self._stream.time_base
        offset = shift / packet.time_base
        dts, length = round((packet.dts + offset) * ratio), round((packet.duration or 0) * ratio)
        pts = None if packet.pts is None else round((packet.pts + offset) * ratio)
        if self._stream.type == "audio":  # rounding, or the file itself, may repeat a time
            dts = dts if self._last is None else max(dts, self._last + self._step)
            pts = dts if pts is None else max(pts, dts)
            self._last = dts
        packet.pts, packet.dts, packet.duration = pts, dts, length
        packet.time_base, packet.stream = self._stream.time_base, self._stream
        output.mux(packet)

    def finish(self, shift: Fraction, output: Any) -> None:
        """Do nothing: a copy holds nothing back."""


class Encoded:
    """One output track of sound that is decoded and encoded anew; damaged packets are skipped.

    Args:
        stream: the output's ``av`` stream.
        source: the input's.
        lead_in: whether the output can hold packets before time zero, where encoders begin. Where
            not, those that lie there for the most part are dropped.

    Attributes:
        damaged: packets that could not be decoded.
    """

    def __init__(self, stream: Any, source: Any, *, lead_in: bool) -> None:
        self._stream, self._source, self._av = stream, source, import_av()
        self._lead_in = lead_in
        self.damaged = 0

    def write(self, packet: Any, shift: Fraction, output: Any) -> None:
        """Decode a packet, or with None what the decoder kept, and write it."""
        try:
            frames = self._source.decode(packet)
        except self._av.error.InvalidDataError:
            self.damaged += 1
            return
        for frame in frames:
            if frame.pts is not None:
                frame.pts += round(shift / frame.time_base)
            self._mux(self._stream.encode(frame), output)

    def _mux(self, packets: Any, output: Any) -> None:
        for packet in packets:
            middle = (packet.pts or 0) + (packet.duration or 0) / 2
            if middle >= 0 or self._lead_in:
                output.mux(packet)

    def finish(self, shift: Fraction, output: Any) -> None:
        """Write what decoder and encoder kept."""
        self.write(None, shift, output)
        self._mux(self._stream.encode(None), output)


class Rewritten:
    """One output track of subtitles as plain text, without the styles of the input's.

    Args:
        stream: the output's ``av`` stream.
        source: the input's.
    """

    def __init__(self, stream: Any, source: Any) -> None:
        self._stream, self._source, self._av = stream, source, import_av()
        self.damaged = 0

    def write(self, packet: Any, shift: Fraction, output: Any) -> None:
        """Write the lines of a packet, ``shift`` seconds later."""
        try:
            parts = self._source.decode(packet)
        except self._av.error.InvalidDataError:
            self.damaged += 1
            return
        kind = self._av.subtitles.subtitle.AssSubtitle
        lines = [part.dialogue for part in parts if isinstance(part, kind)]
        text = re.sub(rb"\{\\[^}]*\}", b"", b"\n".join(lines)).replace(b"\r\n", b"\n").strip()
        if not text:
            return
        if self._stream.codec_context.name == "mov_text":  # 3GPP TS 26.245: its length comes first
            text = len(text).to_bytes(2, "big") + text
        written = self._av.Packet(text)
        written.stream, written.time_base = self._stream, packet.time_base
        written.pts = written.dts = packet.pts + round(shift / packet.time_base)
        written.duration = packet.duration or 0
        output.mux(written)

    def finish(self, shift: Fraction, output: Any) -> None:
        """Do nothing: each packet is written as it comes."""


Track = Copied | Encoded | Rewritten


def called(stream: Any) -> str:
    """Return the words for an input track, for notices."""
    context = stream.codec_context
    name = context.codec.canonical_name if context is not None else "unknown coding"
    return f"{stream.type} track {stream.index} ({name})"


def tags_of(stream: Any) -> dict[str, str]:
    """Return what a track says about itself; MP4's name of a track is its title."""
    known = {key.lower(): text for key, text in stream.metadata.items()}
    tags = {key: known[key] for key in _KEPT if key in known}
    if "title" not in tags and "name" in known:
        tags["title"] = known["name"]
    if tags.get("language") == "und":  # undetermined: nothing is said
        del tags["language"]
    return tags


def describe(added: Any, stream: Any, muxer: str) -> None:
    """Give an output track the language, title and disposition of an input track."""
    tags = tags_of(stream)
    if muxer == "mov" and "language" in tags:
        tags["language"] = _in_quicktime(tags["language"])
    added.metadata.update(tags)
    added.disposition = int(stream.disposition)


def loses_language(stream: Any, muxer: str) -> str:
    """Return the language of an input track where a file of a format cannot say it, else ''."""
    language = tags_of(stream).get("language", "")
    coded = language and muxer in ("mov", "mp4")
    return language if coded and not _says(muxer, _in_quicktime(language)) else ""


def _in_quicktime(language: str) -> str:
    return QUICKTIME_LANGUAGES.get(language, language)


@cache
def _says(muxer: str, language: str) -> bool:
    """Whether FFmpeg has a code for a language: MP4's are three letters, QuickTime's a list."""
    av, held = import_av(), io.BytesIO()
    with av.open(held, "w", format=muxer) as output:
        track = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        track.metadata["language"] = language
        silence = av.AudioFrame(format="s16", layout="mono", samples=80)
        silence.sample_rate, silence.pts = 8000, 0
        output.mux(track.encode(silence))
    held.seek(0)
    with av.open(held) as written:
        return bool(written.streams[0].metadata.get("language") == language)


def add_copy(output: Any, stream: Any, source: Path) -> Any:
    """Add a track to an output that takes a stream's packets."""
    added = output.add_stream_from_template(stream)
    describe(added, stream, output.format.name)
    name = stream.codec_context.codec.canonical_name
    if output.format.name == "avi" and name.startswith("adpcm"):
        added.codec_context.bit_rate = _bits_a_second(source, stream.index)
    return added


def _bits_a_second(source: Path, index: int) -> int:
    """Measure blocks of constant size: AVI times them by their rate, which headers get wrong."""
    with open_input(source) as again:
        stream = again.streams[index]
        for packet in again.demux(stream):
            samples = sum(frame.samples for frame in packet.decode())
            if samples:
                return round(Fraction(packet.size * 8 * stream.rate, samples))
    return int(stream.codec_context.bit_rate or 0)


def add_text(output: Any, coding: str, stream: Any) -> Any:
    """Add a track of plain text subtitles to an output."""
    added = output.add_stream(coding)
    added.codec_context.subtitle_header = _ASS_HEADER
    added.codec_context.time_base = Fraction(1, 1000)
    describe(added, stream, output.format.name)
    return added
