"""High dynamic range by the standards' formulas, one colour at a time, in Python's own floats."""

from __future__ import annotations

import math
from collections.abc import Sequence

WHITE = 203.0
# Linear RGB to linear BT.709: ITU-R BT.2087 for BT.2020, and for Display P3 as CSS Color 4 has it.
TO_709 = {
    9: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    12: ((1.2249, -0.2249, 0.0), (-0.0420, 1.0420, 0.0), (-0.0196, -0.0786, 1.0983)),
}
LUMA = {9: (0.2627, 0.6780, 0.0593), 12: (0.2290, 0.6917, 0.0793)}


def pq(light: float) -> float:
    """SMPTE ST 2084: cd/m2 to the signal."""
    y = (light / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def from_pq(signal: float) -> float:
    """SMPTE ST 2084: the signal to cd/m2."""
    p = signal ** (32 / 2523)
    return 10_000 * (max(p - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * p)) ** (16384 / 2610)


def hlg(light: float) -> float:
    """ITU-R BT.2100: cd/m2 of a grey on a display of 1000 cd/m2 to HLG's signal."""
    scene = (light / 1000) ** (1 / 1.2)
    if scene <= 1 / 12:
        return math.sqrt(3 * scene)
    return 0.17883277 * math.log(12 * scene - 0.28466892) + 0.55991073


def from_hlg(signal: Sequence[float], primaries: int) -> list[float]:
    """ITU-R BT.2100: HLG's signal to cd/m2 on a display of 1000 cd/m2."""
    scene = [
        s * s / 3 if s <= 0.5 else (math.exp((s - 0.55991073) / 0.17883277) + 0.28466892) / 12
        for s in signal
    ]
    luma = sum(weight * part for weight, part in zip(LUMA[primaries], scene, strict=True))
    return [1000 * part * luma**0.2 for part in scene]


def mapped(light: float, peak: float) -> float:
    """ITU-R BT.2390-11, 5.4.1: cd/m2 of a display of ``peak`` to one of ``WHITE``."""
    top = pq(peak)
    e, ceiling = min(pq(light) / top, 1), pq(WHITE) / top
    knee = 1.5 * ceiling - 0.5
    if e >= knee:
        t = (e - knee) / (1 - knee)
        e = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee)
        e += (3 * t**2 - 2 * t**3) * ceiling
    return from_pq(e * top)


def in_srgb(
    signal: Sequence[float], transfer: int, primaries: int = 9, peak: float = 1000
) -> list[float]:
    """A colour of PQ (16) or HLG (18) signals in [0, 1] as sRGB levels, 0 to 255."""
    light = [from_pq(s) for s in signal] if transfer == 16 else from_hlg(signal, primaries)
    brightest = max(light)
    share = mapped(brightest, peak) / brightest if brightest else 0.0
    light = [part * share / WHITE for part in light]
    levels = []
    for row in TO_709[primaries]:
        linear = min(max(sum(a * b for a, b in zip(row, light, strict=True)), 0), 1)
        level = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
        levels.append(255 * level)
    return levels
