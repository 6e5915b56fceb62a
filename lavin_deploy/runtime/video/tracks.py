"""What a video holds besides its picture, carried over to its answer."""

from __future__ import annotations

import errno
import io
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from lavin_deploy.runtime.video.container import (
    ATTACHED_PIC,
    DEFAULT,
    import_av,
    open_input,
    pick_video,
)
from lavin_deploy.runtime.video.holds import HOLDS, TEXT_SUBTITLES
from lavin_deploy.runtime.video.track import (
    Copied,
    Encoded,
    Rewritten,
    Track,
    add_copy,
    add_text,
    called,
    describe,
    loses_language,
    tags_of,
)

_TRIAL = 32  # packets that must go into a file of the output's format before a copy is promised
_OF_THE_FILE = ("encoder", "duration", "major_brand", "minor_version", "compatible_brands")
_CHAPTERS_TEXT = 48  # AVDISCARD_ALL, of tracks that hold the titles of MP4's chapters
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
        self._tracks: dict[int, Track] = {}
        lost = [*self._carry_titles(), *self._carry_chapters()]
        for stream in self._container.streams.audio:
            self._add_sound(stream)
        for stream in self._container.streams.subtitles:
            lost += self._add_subtitles(stream)
        sounds = self._container.streams.audio
        marked = len(sounds) > 1 and any(int(s.disposition) & DEFAULT for s in sounds)
        named = any(tags_of(s).keys() - {"handler_name"} for s in sounds)
        if (named or marked) and not self._holds.sound_tags:
            lost.append("the languages, titles and default track of the sound")
        told = [*sounds, *self._container.streams.subtitles]
        languages = [loses_language(stream, output.format.name) for stream in told]
        lost += [f"the language {language!r}" for language in languages if language]
        if lost:
            self.notices.append(
                f"{output.format.name} cannot hold {', '.join(dict.fromkeys(lost))} "
                "of the input: left out."
            )
        if others := _others(self._container, pick_video(self._container, source)):
            self.notices.append(f"what else the input holds is left out: {others}.")
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
            middle = start + (packet.duration or 0) * packet.time_base / 2
            if middle < 0 and not self._lead_in:
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
        kept = []
        for chapter in chapters:
            moved = round(self._start / chapter["time_base"])
            start, end = max(0, chapter["start"] - moved), chapter["end"] - moved
            if end > start:  # Matroska refuses others
                kept.append({**chapter, "start": start, "end": end})
        self._output.set_chapters(kept)
        return []

    def _add_sound(self, stream: Any) -> None:
        if stream.codec_context is None:
            self._leave_out(called(stream), "this build of PyAV knows no decoder for it")
            return
        name = stream.codec_context.codec.canonical_name
        if name in self._holds.sound and self._can_copy(stream):
            self._tracks[stream.index] = Copied(add_copy(self._output, stream, self._source))
            return
        encoder = self._holds.encoder
        try:
            added = self._add_encoder(encoder, stream)
        except (self._av.FFmpegError, ValueError) as error:
            self._leave_out(called(stream), f"it cannot be encoded as {encoder} ({error})")
            return
        reason = f"its packets of {name}" if name in self._holds.sound else name
        stereo = ", in stereo" if stream.layout.nb_channels > 2 else ""
        self.notices.append(
            f"{called(stream)} is encoded anew as {encoder}{stereo}: "
            f"{self._output.format.name} cannot hold {reason}."
        )
        self._tracks[stream.index] = Encoded(added, stream, lead_in=self._lead_in)

    def _add_subtitles(self, stream: Any) -> list[str]:
        """Add a track of subtitles; return what is left out."""
        known = stream.codec_context is not None
        name = stream.codec_context.codec.canonical_name if known else "unknown"
        if name in self._holds.subtitles and self._can_copy(stream):
            self._tracks[stream.index] = Copied(add_copy(self._output, stream, self._source))
        elif name in TEXT_SUBTITLES and self._holds.text is not None:
            self._tracks[stream.index] = Rewritten(
                add_text(self._output, self._holds.text, stream), stream
            )
            self.notices.append(
                f"{called(stream)} is rewritten as plain {self._holds.text}: "
                f"{self._output.format.name} cannot hold {name}."
            )
        else:
            return [f"subtitle track {stream.index} ({name})"]
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
        describe(added, stream, self._output.format.name)
        return added

    def _can_copy(self, stream: Any) -> bool:
        """Whether a file of the output's format takes the track's first packets."""
        try:
            with (
                open_input(self._source) as again,
                self._av.open(io.BytesIO(), "w", format=self._output.format.name) as trial,
            ):
                source = again.streams[stream.index]
                track = Copied(add_copy(trial, source, self._source))
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
                    what = called(self._container.streams[index])
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
            self._leave_out(called(self._container.streams[index]) + where, str(reason))

    def _leave_out(self, what: str, reason: str) -> None:
        self.notices.append(f"{what} is left out: {reason.rstrip('.')}.")


def _others(container: Any, picture: Any) -> str:
    """Name the tracks that are neither the picture nor sound nor subtitles, with their number."""
    kinds = Counter(
        "cover picture"
        if int(stream.disposition) & ATTACHED_PIC
        else {"video": "further video track", "data": "data track"}.get(stream.type, "attachment")
        for stream in container.streams
        if stream.index != picture.index
        and stream.type not in ("audio", "subtitle")
        and int(stream.discard) < _CHAPTERS_TEXT
    )
    return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())
