"""JPEG files that lack their end marker and nothing else."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

_END = b"\xff\xd9"


def decode_without_end(path: Path) -> Any:
    """Decode a JPEG that lacks its end marker, if no pixel depends on what is missing.

    The file is decoded with several ways to go on. Where its data are whole, the decoder has all
    pixels before it comes to them; else they differ, and so do the pixels.

    Returns:
        A loaded ``PIL.Image``, or None if more than the end marker is missing.
    """
    from PIL import Image

    data = path.read_bytes().removesuffix(b"\xff")
    if data.endswith(_END) or not _all_scans(data):
        return None
    restarts = re.findall(rb"\xff([\xd0-\xd7])", data)
    restart = bytes([0xFF, 0xD0 + (restarts[-1][0] - 0xD0 + 1) % 8 if restarts else 0xD0])
    ways = (b"", b"\x55" * 64, b"\xaa" * 64, restart + b"\x55" * 64)
    first = pixels = None
    for way in ways:
        picture = Image.open(io.BytesIO(data + way + _END), formats=("JPEG",))
        try:
            picture.load()
        except OSError:
            return None
        if first is None:
            first, pixels = picture, picture.tobytes()
        elif picture.tobytes() != pixels:
            return None
    return first


def _all_scans(data: bytes) -> bool:
    """Tell whether every coefficient of every component has a scan for its last bit."""
    progressive, components = False, b""
    missing: dict[int, set[int]] = {}
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        code = data[at + 1]
        if code in (0x00, 0xFF) or 0xD0 <= code <= 0xD9 or code == 0x01:
            at += 1 if code == 0xFF else 2
            continue
        part = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4])]
        at += 4 + len(part)
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC) and len(part) > 6:
            progressive = code in (0xC2, 0xC6, 0xCA, 0xCE)
            components = part[6::3]
            missing = {component: set(range(64)) for component in components}
        if code == 0xDA and part and len(part) >= 4 + 2 * part[0]:
            first, last, bits = part[-3:]
            done = range(first, last + 1) if progressive else range(64)
            for component in part[1 : 1 + 2 * part[0] : 2]:
                if not progressive or bits & 15 == 0:
                    missing.get(component, set()).difference_update(done)
    return bool(components) and not any(missing.values())
