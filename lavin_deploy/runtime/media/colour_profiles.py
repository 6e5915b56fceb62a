"""A picture's colours to sRGB, by its ICC profile or by what PNG, HEIF and AVIF say in numbers."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lavin_deploy.runtime.hdr import HLG, PQ
from lavin_deploy.runtime.media.hdr_stills import head_of, still_to_srgb
from lavin_deploy.runtime.primaries import (
    ADOBE,
    PRIMARIES,
    SRGB,
    SRGB_CODES,
    Chromaticities,
    to_xyz,
)

# H.273, "TransferCharacteristics": a power, or None for sRGB's curve. Cameras' curves are taken
# for sRGB's, as screens take them.
TRANSFERS: dict[int, float | None] = {
    **dict.fromkeys((1, 2, 6, 13, 14, 15)),
    4: 2.2,
    5: 2.8,
    8: 1.0,
}
# The gAMA of sRGB files from before PNG had a chunk for it (libpng takes it for sRGB's curve too).
_SRGB_GAMMA = 0.45455
_ADOBE_GAMMA = 2.19921875  # Adobe RGB (1998) Color Image Encoding, 4.3.4
_HDR_MODES = ("L", "I;16", "RGB")
_SPACE_OF_MODE = {"L": "GRAY", "I;16": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}


def to_srgb(image: Any, opened: Any, path: Path, notice: Callable[[str], None]) -> Any:
    """Return a picture without transparency in sRGB.

    LittleCMS converts, by the profile's perceptual table where it has several. PQ and HLG are
    tone-mapped.

    Args:
        image: a loaded ``PIL.Image`` of mode L, I;16, RGB, CMYK or LAB.
        opened: the picture that it was made of, as Pillow opened the file.
        path: its file, which is asked for what Pillow does not hand on.
        notice: told a sentence of HDR, and where a profile is there but cannot be used; the colours
            are then taken as sRGB, and CMYK as the plain complement.

    Returns:
        A ``PIL.Image`` of mode RGB.
    """
    from PIL import ImageCms

    try:
        codes = _codes(opened, path)
        if codes is not None and codes[1] in (PQ, HLG) and image.mode in _HDR_MODES:
            shown = still_to_srgb(image, opened, path, *codes)
            notice(f"{path} is HDR; it is tone-mapped to sRGB for the model, and so is the answer.")
            return shown
        profile = _profile_of(image.mode, opened, codes)
        if profile is not None:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = source.profile.xcolor_space.strip()
            if space != _SPACE_OF_MODE[image.mode]:
                raise ValueError(f"it is for {space}, the picture is {_SPACE_OF_MODE[image.mode]}")
            target = ImageCms.createProfile("sRGB")
            if space == "GRAY":
                return _grey_to_srgb(image, source, target)
            transform = ImageCms.buildTransform(source, target, image.mode, "RGB")
            return ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, ValueError, OSError) as error:
        taken = "the plain complement of RGB" if image.mode == "CMYK" else "sRGB"
        notice(f"{path}: its colours are taken as {taken}; the profile is of no use ({error}).")
    if image.mode == "I;16":
        image = _narrow(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_to_srgb(image: Any, source: Any, target: Any) -> Any:
    """Look every pixel up in the colours of all values.

    Unoptimised: LittleCMS's faster way with curves loses up to ten levels near black.
    """
    from PIL import Image, ImageCms

    exact = ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(source, target, image.mode, "RGB", flags=exact)
    pixels = np.asarray(image)
    ramp = np.arange(np.iinfo(pixels.dtype).max + 1).astype(pixels.dtype)[None]
    colours = np.asarray(ImageCms.applyTransform(Image.fromarray(ramp), transform))[0]
    return Image.fromarray(colours[pixels])


def _profile_of(mode: str, image: Any, codes: tuple[int, int] | None) -> bytes | None:
    """Return an ICC profile of an opened picture's colours for a mode; None for sRGB.

    Args:
        mode: of the pixels.
        image: the opened picture.
        codes: as :func:`_codes` gives them.

    Raises:
        ValueError: the file says something that is not supported.
    """
    icc: bytes | None = image.info.get("icc_profile") or None
    if codes is not None:
        primaries, transfer = codes
        if primaries not in PRIMARIES or transfer not in TRANSFERS:
            raise ValueError(f"H.273 primaries {primaries} and transfer {transfer} are unknown")
        power = TRANSFERS[transfer]
        if primaries in SRGB_CODES and power is None:
            return None
        return _built(mode, PRIMARIES[primaries], power)
    if icc is None and mode == "RGB" and _says_adobe_rgb(image):
        return _built(mode, ADOBE, _ADOBE_GAMMA)
    if icc is not None or image.format != "PNG" or "srgb" in image.info:
        return icc
    gamma = image.info.get("gamma") or _SRGB_GAMMA
    chromaticities = image.info.get("chromaticity", SRGB)
    like_srgb = np.allclose(chromaticities, SRGB, rtol=0, atol=2e-3)
    if like_srgb and abs(gamma - _SRGB_GAMMA) < 1e-4:
        return None
    return _built(mode, chromaticities, 1 / gamma if "gamma" in image.info else None)


def _says_adobe_rgb(image: Any) -> bool:
    """Whether EXIF says that a JPEG is of Adobe RGB (1998), as cameras do without a profile.

    By DCF 2.0 the space is "uncalibrated" and the interoperability index R03; some write 2.
    """
    if image.format not in ("JPEG", "MPO"):
        return False
    exif = image.getexif()
    space = exif.get_ifd(0x8769).get(0xA001)
    return space == 2 or (space == 0xFFFF and str(exif.get_ifd(0xA005).get(1)).startswith("R03"))


def _codes(opened: Any, path: Path) -> tuple[int, int] | None:
    """Return H.273's codes of primaries and transfer of a PNG's cICP or a HEIF's or AVIF's nclx.

    PNG's go before an ICC profile, those of the others behind it.
    """
    form = opened.format
    if form not in ("PNG", "HEIF", "AVIF") or (form != "PNG" and opened.info.get("icc_profile")):
        return None
    head = head_of(path)
    if form == "PNG":
        at = head.find(b"\0\0\0\4cICP", 0, max(head.find(b"IDAT"), 0)) + 8
        found = head[at : at + 2] if at >= 8 else b""
        return (found[0], found[1]) if len(found) == 2 else None
    at = head.find(b"colrnclx") + 8
    return struct.unpack_from(">HH", head, at) if 8 <= at <= len(head) - 4 else None


def _built(mode: str, chromaticities: Chromaticities, power: float | None) -> bytes:
    """Return an ICC profile (ICC.1:2010) of primaries and a curve.

    Args:
        mode: L and I;16 get a grey one.
        chromaticities: of white and primaries.
        power: linear = value ** power; None for sRGB's curve.

    Raises:
        ValueError: the primaries span no colours.
    """
    if power is None:
        curve = _curve(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    else:
        curve = _curve(0, power)
    if mode in ("L", "I;16"):
        space, tags = b"GRAY", {b"wtpt": _xyz(_D50), b"kTRC": curve}
    else:
        space, tags = b"RGB ", {b"wtpt": _xyz(_D50)}
        for letter, column in zip(b"rgb", _to_d50(chromaticities).T, strict=True):
            tags[bytes([letter]) + b"XYZ"] = _xyz(column)
            tags[bytes([letter]) + b"TRC"] = curve
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s", start + len(body), 0x04200000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return header.ljust(128, b"\0") + table + body


_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def _to_d50(chromaticities: Chromaticities) -> Any:
    """Return the matrix (3, 3) from linear RGB to XYZ under D50, adapted by Bradford's method."""
    matrix = to_xyz(chromaticities)
    white = matrix.sum(axis=1)
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD @ matrix


def _curve(kind: int, *numbers: float) -> bytes:
    return b"para" + struct.pack(">4xHH", kind, 0) + _fixed(numbers)


def _xyz(values: Any) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _fixed(values: Any) -> bytes:
    fixed = [round(float(value) * 65536) for value in values]
    if any(abs(value) >= 1 << 31 for value in fixed):
        raise ValueError("its numbers are out of range")
    return struct.pack(f">{len(fixed)}i", *fixed)


def _narrow(image: Any) -> Any:
    from PIL import Image

    return Image.fromarray(np.rint(np.asarray(image) * (255 / 65535)).astype(np.uint8))
