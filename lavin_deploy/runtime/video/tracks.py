"""What a video holds besides its picture, carried over to its answer."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from lavin_deploy.runtime.video.container import DEFAULT, import_av, open_input
from lavin_deploy.runtime.video.holds import HOLDS, QUICKTIME_LANGUAGES

_TRIAL = 32  # packets that must go into a file of the output's format before a copy is promised
_KEPT_OF_TRACKS = ("language", "title", "handler_name")
_OF_THE_FILE = ("encoder", "duration", "major_brand", "minor_version", "compatible_brands")
_DISK = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EROFS)


class TrackCopy:
    """Copies sound, subtitles, chapters and titles of a file into an output, in step with frames.

    Packets are copied as they are where the output's format defines their coding; other sound is
    encoded anew, other subtitles are left out. What fails is left out too: the picture never
    fails because of it. ``notices`` says all that. Memory stays constant: the file is read a
    second time, only as far as the frames have come.

    Args:
        source: the video file.
        output: an ``av`` output container that has its picture track and has not started.
        start: seconds of the source's clock that are zero of the output's.
        lead_in: whether the output can hold packets before time zero.

    Attributes:
        notices: sentences for the user, more as packets come.
    """

    def __init__(self, source: Path, output: Any, *, start: Fraction, lead_in: bool) -> None:
        self._av = import_av()
        self._source, self._output = source, output
        self._start, self._lead_in = start, lead_in
        self._holds = HOLDS[output.format.name]
        self.notices: list[str] = []
        self._container = open_input(source)
        self._tracks: dict[int, _Track] = {}
        lost = [*self._carry_titles(), *self._carry_chapters()]
        for stream in self._container.streams.audio:
            self._add_sound(stream)
        for stream in self._container.streams.subtitles:
            lost += self._add_subtitles(stream)
        sounds = self._container.streams.audio
        marked = len(sounds) > 1 and any(int(s.disposition) & DEFAULT for s in sounds)
        named = any(_tags(s).keys() - {"handler_name"} for s in sounds)
        if (named or marked) and not self._holds.sound_tags:
            lost.append("the languages, titles and default track of the sound")
        if lost:
            self.notices.append(
                f"{output.format.name} cannot hold {', '.join(dict.fromkeys(lost))} "
                "of the input: left out."
            )
        self._packets = self._demux()
        self._ahead: Any = None

    def feed(self, until: Fraction | None, shift: Fraction = Fraction(0)) -> None:
        """Write the packets that start before ``until`` seconds, or all that are left.

        Args:
            until: time on the output's clock; None for everything.
            shift: seconds to add to the output's clock.

        Raises:
            av.FFmpegError: the disk is full or broken.
        """
        shift -= self._start
        while True:
            packet = self._ahead or next(self._packets, None)
            self._ahead = None
            if packet is None:
                break
            start = packet.dts * packet.time_base + shift
            if until is not None and start >= until:
                self._ahead = packet
                return
            if start < 0 and not self._lead_in:
                continue
            self._write(packet.stream_index, packet, shift)
        for index in list(self._tracks):
            self._write(index, None, shift)
        self._tracks.clear()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _carry_titles(self) -> list[str]:
        """Take over what the file says about itself; return what cannot be."""
        kept = {k: v for k, v in self._container.metadata.items() if k.lower() not in _OF_THE_FILE}
        lost = []
        if not self._holds.creation_time and kept.pop("creation_time", None):
            lost.append("the creation time")
        self._output.metadata.update(kept)
        return lost

    def _carry_chapters(self) -> list[str]:
        chapters = self._container.chapters()
        if chapters and not self._holds.chapters:
            return ["the chapters"]
        for chapter in chapters:
            moved = round(self._start / chapter["time_base"])
            chapter["start"], chapter["end"] = chapter["start"] - moved, chapter["end"] - moved
        self._output.set_chapters([chapter for chapter in chapters if chapter["start"] >= 0])
        return []

    def _add_sound(self, stream: Any) -> None:
        if stream.codec_context is None:
            self._leave_out(_called(stream), "this build of PyAV knows no decoder for it")
            return
        name = stream.codec_context.codec.canonical_name
        if name in self._holds.sound and self._can_copy(stream):
            self._tracks[stream.index] = _Copied(_like(self._output, stream, self._source))
            return
        encoder = self._holds.encoder
        try:
            added = self._add_encoder(encoder, stream)
        except (self._av.FFmpegError, ValueError) as error:
            self._leave_out(_called(stream), f"it cannot be encoded as {encoder} ({error})")
            return
        stereo = ", in stereo" if stream.layout.nb_channels > 2 else ""
        self.notices.append(
            f"{_called(stream)} is encoded anew as {encoder}{stereo}: "
            f"{self._output.format.name} cannot hold {name}."
        )
        self._tracks[stream.index] = _Encoded(added, stream)

    def _add_subtitles(self, stream: Any) -> list[str]:
        """Add a track of subtitles; return what is left out."""
        known = stream.codec_context is not None
        name = stream.codec_context.codec.canonical_name if known else "unknown"
        if name not in self._holds.subtitles or not self._can_copy(stream):
            return [f"subtitle track {stream.index} ({name})"]
        self._tracks[stream.index] = _Copied(_like(self._output, stream, self._source))
        return []

    def _add_encoder(self, encoder: str, stream: Any) -> Any:
        rates = self._av.codec.Codec(encoder, "w").audio_rates
        rate = stream.rate if not rates or stream.rate in rates else 48000
        layout = "mono" if stream.layout.nb_channels == 1 else "stereo"
        trial = self._av.CodecContext.create(encoder, "w")  # a track cannot be taken back
        trial.sample_rate, trial.layout = rate, layout
        trial.format = trial.codec.audio_formats[0]
        trial.open()
        added = self._output.add_stream(encoder, rate=rate)
        added.layout = layout
        _describe(added, stream, self._output.format.name)
        return added

    def _can_copy(self, stream: Any) -> bool:
        """Whether a file of the output's format takes the track's first packets."""
        try:
            with (
                open_input(self._source) as again,
                self._av.open(io.BytesIO(), "w", format=self._output.format.name) as trial,
            ):
                source = again.streams[stream.index]
                track = _Copied(_like(trial, source, self._source))
                trial.start_encoding()
                for count, packet in enumerate(again.demux(source)):
                    if count >= _TRIAL:
                        break
                    if packet.dts is not None:
                        track.write(packet, Fraction(0), trial)
        except (self._av.FFmpegError, ValueError):
            return False
        return True

    def _demux(self) -> Iterator[Any]:
        streams = [self._container.streams[index] for index in self._tracks]
        if not streams:
            return
        try:
            for packet in self._container.demux(streams):
                if packet.dts is not None and packet.stream_index in self._tracks:
                    yield packet
        except self._av.FFmpegError as error:
            self.notices.append(
                f"the sound of {self._source} cannot be read to its end ({error.strerror}): "
                "the rest is left out."
            )

    def _write(self, index: int, packet: Any, shift: Fraction) -> None:
        track = self._tracks[index]
        try:
            if packet is None:
                track.finish(shift, self._output)
                if track.damaged:
                    what = _called(self._container.streams[index])
                    self._leave_out(f"a part of {what}", f"{track.damaged} packets are damaged")
            else:
                track.write(packet, shift, self._output)
        except (self._av.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) in _DISK:
                raise
            del self._tracks[index]
            reason = getattr(error, "strerror", None) or error
            where = (
                f" from {float(packet.dts * packet.time_base + shift):.2f} s on" if packet else ""
            )
            self._leave_out(_called(self._container.streams[index]) + where, str(reason))

    def _leave_out(self, what: str, reason: str) -> None:
        self.notices.append(f"{what} is left out: {reason.rstrip('.')}.")


class _Copied:
    """One output track that takes packets of one input track as they are."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._last: int | None = None
        self.damaged = 0  # a copy does not look inside

    def write(self, packet: Any, shift: Fraction, output: Any) -> None:
        ratio = packet.time_base / self._stream.time_base
        offset = shift / packet.time_base
        dts, length = round((packet.dts + offset) * ratio), round((packet.duration or 0) * ratio)
        pts = None if packet.pts is None else round((packet.pts + offset) * ratio)
        if self._stream.type == "audio":  # rounding, or the file itself, may repeat a time
            dts = dts if self._last is None else max(dts, self._last + 1)
            pts = dts if pts is None else max(pts, dts)
            self._last = dts
        packet.pts, packet.dts, packet.duration = pts, dts, length
        packet.time_base, packet.stream = self._stream.time_base, self._stream
        output.mux(packet)

    def finish(self, shift: Fraction, output: Any) -> None:
        pass


class _Encoded:
    """One output track of sound that is decoded and encoded anew; damaged packets are skipped."""

    def __init__(self, stream: Any, source: Any) -> None:
        self._stream, self._source, self._av = stream, source, import_av()
        self.damaged = 0

    def write(self, packet: Any, shift: Fraction, output: Any) -> None:
        try:
            frames = self._source.decode(packet)
        except self._av.error.InvalidDataError:
            self.damaged += 1
            return
        for frame in frames:
            if frame.pts is not None:
                frame.pts += round(shift / frame.time_base)
            output.mux(self._stream.encode(frame))

    def finish(self, shift: Fraction, output: Any) -> None:
        self.write(None, shift, output)
        output.mux(self._stream.encode(None))


_Track = _Copied | _Encoded


def _called(stream: Any) -> str:
    context = stream.codec_context
    name = context.codec.canonical_name if context is not None else "unknown coding"
    return f"{stream.type} track {stream.index} ({name})"


def _tags(stream: Any) -> dict[str, str]:
    """Return what a track says about itself; MP4's name of a track is its title."""
    known = {key.lower(): text for key, text in stream.metadata.items()}
    tags = {key: known[key] for key in _KEPT_OF_TRACKS if key in known}
    if "title" not in tags and "name" in known:
        tags["title"] = known["name"]
    if tags.get("language") == "und":  # undetermined: nothing is said
        del tags["language"]
    return tags


def _describe(added: Any, stream: Any, muxer: str) -> None:
    tags = _tags(stream)
    if muxer == "mov" and "language" in tags:
        tags["language"] = QUICKTIME_LANGUAGES.get(tags["language"], tags["language"])
    added.metadata.update(tags)
    added.disposition = int(stream.disposition)


def _like(output: Any, stream: Any, source: Path) -> Any:
    """Add a track to an output that takes a stream's packets."""
    added = output.add_stream_from_template(stream)
    _describe(added, stream, output.format.name)
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
