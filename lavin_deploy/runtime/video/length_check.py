"""Whether a video file is all there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavin_deploy.runtime.video.structure import is_cut_off


class LengthCheck:
    """Compares what the demuxer listed with what came out, and looks for a missing end.

    MP4 and MOV list every packet; for the others see ``is_cut_off``.
    """

    def __init__(self, container: Any, stream: Any, path: Path) -> None:
        self._container, self._stream, self._path = container, stream, path
        self._packets, self._last_is_corrupt = 0, False

    def saw(self, packet: Any) -> None:
        """Note a packet, of any track, as it comes out of the file."""
        if packet.size and packet.stream is self._stream:
            self._packets += 1
            self._last_is_corrupt = packet.is_corrupt

    def broken_off(self) -> bool:
        """Whether parts are missing at the end."""
        if self._last_is_corrupt:  # a part of it is missing
            return True
        demuxer = self._container.format.name
        if "mov" in demuxer.split(","):
            listed: int = len(self._stream.index_entries)  # what the edit list leaves
            return self._packets < listed
        return is_cut_off(self._path, demuxer)
