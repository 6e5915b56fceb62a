"""ICC profiles and their colours, from published numbers and not from the code under test."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

# Colorants (XYZ under D50, a column each) and gamma as the profiles of that name have them.
_COLORANTS: dict[str, list[float]] = {
    "sRGB": [0.43607, 0.38515, 0.14307, 0.22249, 0.71687, 0.06061, 0.01392, 0.09708, 0.71410],
    "Display P3": [0.51512, 0.29198, 0.1571, 0.2412, 0.69225, 0.06657, -0.00105, 0.04189, 0.78407],
    "Adobe RGB": [0.60974, 0.20528, 0.14919, 0.31111, 0.62567, 0.06322, 0.01947, 0.06087, 0.74457],
    "ProPhoto": [0.79768, 0.13519, 0.03134, 0.28804, 0.71188, 0.00009, 0.0, 0.0, 0.82491],
}  # fmt: skip
_GAMMAS = {"Adobe RGB": 563 / 256, "ProPhoto": 1.8}
RGB_SPACES = tuple(_COLORANTS)


def srgb_to_linear(values: Any) -> Any:
    values = np.asarray(values, np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: Any) -> Any:
    values = np.clip(values, 0, 1)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def linear(name: str) -> Callable[[Any], Any]:
    gamma = _GAMMAS.get(name)
    return srgb_to_linear if gamma is None else lambda values: np.asarray(values) ** gamma


def in_srgb(pixels: Any, name: str, curve: Callable[[Any], Any] | None = None) -> Any:
    """(..., 3) uint8 of an RGB space -> float64 levels of sRGB, clipped."""
    xyz = _matrix(name) @ (curve or linear(name))(pixels / 255.0)[..., None]
    return 255 * linear_to_srgb((np.linalg.inv(_matrix("sRGB")) @ xyz)[..., 0])


def rgb_profile(name: str) -> bytes:
    curve = _sampled(linear(name))
    tags = {b"wtpt": _xyz((0.9642, 1, 0.8249))}
    for letter, column in zip("rgb", _matrix(name).T, strict=True):
        tags[f"{letter}XYZ".encode()] = _xyz(column)
        tags[f"{letter}TRC".encode()] = curve
    return _profile(b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    tags = {b"wtpt": _xyz((0.9642, 1, 0.8249)), b"kTRC": _sampled(lambda x: x**gamma)}
    return _profile(b"GRAY", b"XYZ ", tags)


def cmyk_profile(lab_of: Callable[[Any], Any]) -> bytes:
    """A printer whose inks at 0 or 1 give the colours ``lab_of((c, m, y, k))`` -> (L, a, b)."""
    head = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *(np.eye(3).ravel() * 65536).astype(int))
    ramp = bytes(range(256))
    nodes = b"".join(
        bytes(round(v) for v in (lab[0] * 2.55, lab[1] + 128, lab[2] + 128))
        for lab in (lab_of(inks) for inks in product((0, 1), repeat=4))
    )
    data = head + 4 * ramp + nodes + 3 * ramp
    tags = {b"wtpt": _xyz((0.9642, 1, 0.8249)), b"A2B0": data}
    return _profile(b"CMYK", b"Lab ", tags, kind=b"prtr")


def lab_in_srgb(lab: Any) -> Any:
    """(L, a, b) under D50 -> float64 levels of sRGB, clipped."""
    y = (lab[0] + 16) / 116
    f = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.9642, 1, 0.8249)
    return 255 * linear_to_srgb(np.linalg.inv(_matrix("sRGB")) @ xyz)


def _matrix(name: str) -> Any:
    return np.array(_COLORANTS[name]).reshape(3, 3)


def _sampled(curve: Callable[[Any], Any], count: int = 4096) -> bytes:
    values = np.rint(curve(np.linspace(0, 1, count)) * 65535).astype(">u2")
    return struct.pack(">4s4xI", b"curv", count) + values.tobytes()


def _xyz(values: Any) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(float(v) * 65536) for v in values))


def _profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    text = b"test\0"
    tags = {b"desc": struct.pack(">4s4xI", b"desc", len(text)) + text + bytes(78), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    start = 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s", start + len(body), 0x02400000, kind, space, pcs)
    header += bytes(12) + b"acsp" + bytes(28) + _xyz((0.9642, 1, 0.8249))[8:]
    return header.ljust(128, b"\0") + table + body
