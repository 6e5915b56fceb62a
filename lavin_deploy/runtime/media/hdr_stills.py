"""Pictures of high dynamic range: how bright they are, and their pixels at full depth."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.runtime.hdr import USUAL_PEAK, tone_map
from lavin_deploy.runtime.primaries import hdr_primaries

# Where numbers may stand: before a PNG's pixels, in the first box of the others.
_HEAD_BYTES = 1 << 20


def still_to_srgb(image: Any, opened: Any, path: Path, primaries: int, transfer: int) -> Any:
    """Return a picture of PQ or HLG in sRGB.

    Args:
        image: a loaded ``PIL.Image`` of mode L, I;16 or RGB.
        opened: the picture that it was made of, as Pillow opened the file.
        path: its file, which is asked for the bits that Pillow drops. An AVIF is read by Pillow
            alone, in 8 bits.
        primaries: H.273's code.
        transfer: ``PQ`` or ``HLG``.

    Returns:
        A ``PIL.Image`` of mode RGB.

    Raises:
        ValueError: the primaries are unknown.
    """
    from PIL import Image

    space = hdr_primaries(primaries)
    if space is None:
        raise ValueError(f"H.273 primaries {primaries} are unknown")
    codes = _deep(opened, path) if image.mode == "RGB" else None
    if codes is None:
        codes = np.asarray(image).astype(np.uint16)
        codes = codes if image.mode == "I;16" else codes * np.uint16(257)
    if codes.ndim == 2:
        codes = np.repeat(codes[..., None], 3, axis=2)
    peak = _brightest(opened.format, path) or USUAL_PEAK
    shown = tone_map(codes, transfer, peak, primaries=space, srgb=True)
    return Image.fromarray(shown)


def head_of(path: Path) -> bytes:
    """Return the part of a file in which it says how its pixels are meant."""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def wide_png(image: Any, path: Path) -> NDArray[np.uint16] | None:
    """Return the 16 bits of a PNG of RGB, (H, W, 3) uint16, of which Pillow keeps the upper 8.

    Args:
        image: the loaded ``PIL.Image`` of mode RGB.
        path: its file.

    Returns:
        None for a PNG of 8 bits, and for an animation.
    """
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as low:
        if low.tile[0].args != "RGB;16B" or getattr(low, "is_animated", False):
            return None
        low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]  # the other byte
        upper, lower = np.asarray(image), np.asarray(low)
    wide: NDArray[np.uint16] = upper.astype(np.uint16) << np.uint16(8) | lower
    return wide


def _deep(opened: Any, path: Path) -> NDArray[np.uint16] | None:
    """Return (H, W, 3) uint16 full-range codes of a picture deeper than 8 bits, else None."""
    if opened.format == "PNG":
        return wide_png(opened.convert("RGB"), path)
    if opened.format == "HEIF" and opened.n_frames == 1:
        import pillow_heif

        deep = np.asarray(pillow_heif.open_heif(path, convert_hdr_to_8bit=False))
        if deep.dtype == np.uint16 and deep.ndim == 3:
            return deep[..., :3]
    return None


def _brightest(form: str, path: Path) -> float:
    """Return the cd/m2 of the brightest pixel (MaxCLL) where a file says it, else 0."""
    head = head_of(path)
    if form == "PNG":
        at = head.find(b"\0\0\0\10cLLI", 0, max(head.find(b"IDAT"), 0)) + 8
        return struct.unpack_from(">I", head, at)[0] / 10_000 if at >= 8 else 0.0
    at = head.find(b"clli") + 4
    return float(struct.unpack_from(">H", head, at)[0]) if 4 <= at <= len(head) - 2 else 0.0
