"""PNG files chunk by chunk, of kinds that Pillow cannot write."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

GREY, RGB = 0, 2


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: Any, *chunks: bytes, bits: int = 8) -> bytes:
    """A PNG of (H, W) grey or (H, W, 3) RGB values of ``bits`` bits, chunks before its data."""
    values = np.asarray(pixels)
    height, width = values.shape[:2]
    if bits < 8:
        planes = values.astype(np.uint8)[..., None] >> np.arange(bits)[::-1] & 1
        rows = np.packbits(planes.reshape(height, -1), axis=1)
    else:
        rows = values.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    kind = RGB if values.ndim == 3 else GREY
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(data))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IEND", b"")])


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100000)))


def chrm(*xy: float) -> bytes:
    """x and y of white, red, green and blue."""
    return chunk(b"cHRM", struct.pack(">8I", *(round(v * 100000) for v in xy)))


def trns(*key: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
