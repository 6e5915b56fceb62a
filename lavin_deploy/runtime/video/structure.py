"""Whether a container's own structure reaches beyond the end of its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675  # Matroska element IDs, RFC 9559
_TS_SYNC = 0x47
_OGG_PAGE = 27 + 255 + 255 * 255  # bytes, at most
_FLV_TAGS = (8, 9, 18)  # sound, video, script data: FLV specification 10.1, E.4.1


def is_cut_off(path: Path, demuxer: str) -> bool:
    """Tell whether the last part of a file is missing: what it began does not end within it.

    Matroska, WebM, AVI and FLV say how long their parts are, Ogg how long a page is, and packets of
    MPEG-TS are of one size; durations that files only state, in tags or headers, prove nothing.
    Parts that cannot follow each other count as missing. Of other formats this says False.

    Args:
        path: the file.
        demuxer: FFmpeg's name of its format.
    """
    names = demuxer.split(",")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if "matroska" in names:
            return _matroska(file, size)
        if "avi" in names:
            return _riff(file, size)
        if "mpegts" in names:
            return _mpegts(file, size)
        if "ogg" in names:
            return _ogg(file, size)
        return "flv" in names and _flv(file, size)


def _matroska(file: BinaryIO, size: int) -> bool:
    """Walk the elements of the segment and of its clusters, down to each block."""
    end = size
    while file.tell() < end:
        identity = _vint(file, keep_marker=True)
        length = _vint(file, keep_marker=False)
        if identity is None or length is None:
            return True
        descend = identity in (_SEGMENT, _CLUSTER)
        if length == -1:  # unknown, as live streams have it
            if not descend:
                return True
            continue
        if file.tell() + length > end:
            return True
        if identity == _SEGMENT:
            end = file.tell() + length  # what follows it is none of ours
        if not descend:
            file.seek(length, os.SEEK_CUR)
    return False


def _vint(file: BinaryIO, *, keep_marker: bool) -> int | None:
    """Read a variable-size integer of EBML, RFC 8794; None at the end, -1 for an unknown size."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    extra = 8 - first[0].bit_length()
    rest = file.read(extra)
    if len(rest) < extra:
        return None
    value = int.from_bytes(first + rest, "big")
    if keep_marker:
        return value
    ones = (1 << 7 * (extra + 1)) - 1
    return -1 if value & ones == ones else value & ones


def _riff(file: BinaryIO, size: int) -> bool:
    """Walk the RIFF chunks, of which OpenDML has several; a size of 0 was never filled in."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            return False
        place += 8 + length + length % 2
    return place > size + 8  # the last may lack its padding, or count its own head


def _flv(file: BinaryIO, size: int) -> bool:
    """Walk the tags, each of a head of 11 bytes, its data, and 4 that repeat its size."""
    place = 9 + 4  # the file's header, and the size of no tag
    while place + 11 <= size:
        file.seek(place)
        head = file.read(4)
        if head[0] & 0x1F not in _FLV_TAGS:
            return False  # something else follows the tags: nothing is proved
        place += 11 + int.from_bytes(head[1:], "big")
        if place > size:
            return True
        place += 4
    return place < size  # a part of a head


def _mpegts(file: BinaryIO, size: int) -> bool:
    """Look for a last packet that begins and does not end: ISO/IEC 13818-1, 2.4.3.2."""
    head = file.read(4 * 208)
    for packet in (188, 192, 204):  # plain, of Blu-ray with a time before it, with parity behind it
        first = 4 if packet == 192 else 0
        if len(head) >= 4 * packet and set(head[first : 4 * packet : packet]) == {_TS_SYNC}:
            file.seek(size - size % packet + first)
            return size % packet > first and file.read(1) == bytes([_TS_SYNC])
    return False


def _ogg(file: BinaryIO, size: int) -> bool:
    """Look for a last page that does not end: RFC 3533, 6."""
    file.seek(max(0, size - 2 * _OGG_PAGE))
    tail = file.read()
    start = tail.rfind(b"OggS\0")
    if start < 0:
        return False
    segments = tail[start + 26] if len(tail) > start + 26 else 0
    table = tail[start + 27 : start + 27 + segments]
    whole = start + 27 + segments + sum(table)
    return len(tail) <= start + 26 or len(table) < segments or whole > len(tail)
