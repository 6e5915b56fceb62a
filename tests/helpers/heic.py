"""HEIC files as telephones write them: one picture of several tiles, turned by a property."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

SIDE = 64


def grid(tiles: Any, *, quarter_turns: int = 0, colours: bytes = b"") -> bytes:
    """A HEIC (ISO/IEC 23008-12) whose picture is a grid.

    Args:
        tiles: (rows, columns, 64, 64, 3) uint8.
        quarter_turns: to show it right, against the clock (irot).
        colours: content of a ``colr`` property of the grid, or nothing.
    """
    rows, columns = tiles.shape[:2]
    coded = [_coded(tile) for tile in tiles.reshape(-1, *tiles.shape[2:])]
    assert len({config for config, _ in coded}) == 1
    number = len(coded)
    size = (columns * SIDE, rows * SIDE)
    what = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *size)
    payloads = [*(data for _, data in coded), what]
    properties = [
        coded[0][0],
        _full(b"ispe", struct.pack(">II", SIDE, SIDE)),
        _full(b"ispe", struct.pack(">II", *size)),
        _box(b"irot", bytes([quarter_turns])),
        *([_box(b"colr", colours)] if colours else []),
    ]
    uses = b"".join(struct.pack(">HB2B", item, 2, 0x81, 2) for item in range(1, number + 1))
    own = [3, 0x84, *([5] if colours else [])]
    uses += struct.pack(f">HB{len(own)}B", number + 1, len(own), *own)
    infos = b"".join(
        _full(b"infe", struct.pack(">HH4s", item, 0, kind) + b"\0", 2, flags)
        for item, kind, flags in [
            *((item, b"hvc1", 1) for item in range(1, number + 1)),
            (number + 1, b"grid", 0),
        ]
    )
    parts = struct.pack(f">HH{number}H", number + 1, number, *range(1, number + 1))

    def meta(start: int) -> bytes:
        places, at = b"", start
        for item, data in enumerate(payloads, 1):
            places += struct.pack(">HHHII", item, 0, 1, at, len(data))
            at += len(data)
        return _full(
            b"meta",
            _full(b"hdlr", b"\0\0\0\0pict" + bytes(13))
            + _full(b"pitm", struct.pack(">H", number + 1))
            + _full(b"iloc", struct.pack(">BBH", 0x44, 0, number + 1) + places)
            + _full(b"iinf", struct.pack(">H", number + 1) + infos)
            + _full(b"iref", _box(b"dimg", parts))
            + _box(
                b"iprp",
                _box(b"ipco", b"".join(properties))
                + _full(b"ipma", struct.pack(">I", number + 1) + uses),
            ),
        )

    kind = _box(b"ftyp", b"heic\0\0\0\0mif1heic")
    start = len(kind) + len(meta(0)) + 8
    return kind + meta(start) + _box(b"mdat", b"".join(payloads))


def _coded(tile: Any) -> tuple[bytes, bytes]:
    """The decoder's configuration (box hvcC) and the data of one picture."""
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(np.ascontiguousarray(tile))).save(
        stream, format="HEIF", quality=90, chroma=444
    )
    file = stream.getvalue()
    at = file.index(b"hvcC") - 4
    config = file[at : at + int.from_bytes(file[at : at + 4])]
    at = file.index(b"mdat") - 4
    return config, file[at + 8 : at + int.from_bytes(file[at : at + 4])]


def _box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + name + data


def _full(name: bytes, data: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(name, struct.pack(">I", version << 24 | flags) + data)
