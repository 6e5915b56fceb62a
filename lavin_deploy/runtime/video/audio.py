"""The sound of a video, carried over to its answer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.video.container import import_av, open_input


class AudioCopy:
    """Copies all audio tracks of a file into an output container, in step with its frames.

    Packets are copied as they are. A track whose coding the output's format cannot hold is
    encoded anew, which ``notices`` then says. Memory stays constant: the file is read a second
    time, only as far as the frames have come.

    Args:
        source: the video file.
        output: an ``av`` output container that has not started.
        encoder: name of the audio encoder for tracks that cannot be copied.
        lead_in: whether the output can hold packets before time zero.

    Attributes:
        notices: sentences for the user about tracks that were not simply copied.
    """

    def __init__(self, source: Path, output: Any, *, encoder: str, lead_in: bool) -> None:
        self._lead_in = lead_in
        self._av = import_av()
        self._source, self._output = source, output
        self.notices: list[str] = []
        self._container = open_input(source)
        self._tracks: dict[int, _Track] = {}
        for stream in self._container.streams.audio:
            track = self._add(stream, encoder)
            if track is not None:
                self._tracks[stream.index] = track
        self._packets = self._demux()
        self._ahead: Any = None

    def _add(self, stream: Any, encoder: str) -> _Track | None:
        name = stream.name or "unknown coding"
        if stream.codec_context is None:
            self.notices.append(
                f"audio track {stream.index} ({name}) is left out: "
                "this build of PyAV knows no decoder for it."
            )
            return None
        if not _can_hold(self._output.format.name, stream):
            added = _add_encoded(self._output, stream, encoder)
            self.notices.append(
                f"audio track {stream.index} is encoded anew as {encoder}: "
                f"{self._output.format.name} cannot hold {name}."
            )
            return _Track(added, encode=True)
        added = self._output.add_stream_from_template(stream)
        added.metadata.update(stream.metadata)
        return _Track(added, encode=False)

    def feed(self, until: Fraction | None, shift: Fraction = Fraction(0)) -> None:
        """Write the packets that start before ``until`` seconds, or all that are left.

        Args:
            until: time on the output's clock; None for everything.
            shift: seconds to add to the source's clock.

        Raises:
            InputError: the sound is damaged.
        """
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
            self._tracks[packet.stream_index].write(packet, shift, self._output)
        for track in self._tracks.values():
            track.finish(self._output)

    def _demux(self) -> Iterator[Any]:
        streams = [self._container.streams[index] for index in self._tracks]
        if not streams:
            return
        try:
            for packet in self._container.demux(streams):
                if packet.dts is not None:
                    yield packet
        except self._av.FFmpegError as error:
            raise InputError(
                f"the sound of {self._source} cannot be read ({error.strerror}); "
                "the file is damaged, so repair or re-encode it first."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._container.close()


class _Track:
    """One output track that is fed with packets of one input track."""

    def __init__(self, stream: Any, *, encode: bool) -> None:
        self._stream, self._encode, self._done = stream, encode, False

    def write(self, packet: Any, shift: Fraction, output: Any) -> None:
        if self._encode:
            for frame in packet.decode():
                if frame.pts is not None:
                    frame.pts += round(shift / frame.time_base)
                output.mux(self._stream.encode(frame))
            return
        offset = round(shift / packet.time_base)
        packet.dts += offset
        if packet.pts is not None:
            packet.pts += offset
        packet.stream = self._stream
        output.mux(packet)

    def finish(self, output: Any) -> None:
        if self._encode and not self._done:
            self._done = True
            output.mux(self._stream.encode(None))


def _can_hold(muxer: str, stream: Any) -> bool:
    """Whether a format takes a track as it is: some say so only when the header is written."""
    av = import_av()
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _add_encoded(output: Any, stream: Any, encoder: str) -> Any:
    av = import_av()
    rates = av.codec.Codec(encoder, "w").audio_rates
    rate = stream.rate if not rates or stream.rate in rates else 48000
    added = output.add_stream(encoder, rate=rate)
    added.layout = stream.layout.name if stream.layout.nb_channels <= 2 else "stereo"
    added.metadata.update(stream.metadata)
    return added
