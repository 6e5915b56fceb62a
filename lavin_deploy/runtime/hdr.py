"""High dynamic range into the 8 bits that models see and answers are drawn on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import F32, U8
from lavin_deploy.runtime.primaries import BT2020, SRGB, Chromaticities, to_xyz

PQ, HLG = 16, 18  # AVCOL_TRC_SMPTE2084 and AVCOL_TRC_ARIB_STD_B67

WHITE = 203.0  # cd/m2 of a white surface in HDR, ITU-R BT.2408; the brightest of the result
USUAL_PEAK = 1000.0  # cd/m2 that HDR is mastered for where a file does not say


def tone_map(
    codes: NDArray[np.uint16],
    transfer: int,
    peak: float = USUAL_PEAK,
    *,
    primaries: Chromaticities = BT2020,
    srgb: bool = False,
) -> U8:
    """Tone-map a PQ or HLG picture.

    ITU-R BT.2390's curve (5.4.1, a Hermite spline above a knee) maps the brightest channel of
    each pixel from ``peak`` to ``WHITE``; the other two keep their ratios to it.

    Args:
        codes: (H, W, 3) uint16, full-range R'G'B'.
        transfer: ``PQ`` or ``HLG``.
        peak: cd/m2 of the brightest that the picture was made for, at least ``WHITE``.
        primaries: of the picture, with a white of D65.
        srgb: whether the result is of sRGB's curve, for pictures.

    Returns:
        (H, W, 3) uint8 of BT.709's primaries, as a BT.1886 display shows it, or sRGB.
    """
    to_709, luma = _to_709(primaries)
    light = _pq_light()[codes] if transfer == PQ else _hlg_light(codes, luma)
    brightest = light.max(axis=2)
    place = (np.sqrt(brightest * np.float32(1e-4)) * 4095).astype(np.uint16)  # finer where dark
    light *= _gains(float(np.clip(peak, WHITE, 10_000)))[place][..., None]
    light = (light.reshape(-1, 3) @ (to_709.T / np.float32(WHITE))).reshape(light.shape)
    np.clip(light, 0, 1, out=light)
    np.sqrt(light, out=light)
    return _display(srgb)[np.rint(light * 4095).astype(np.uint16)]


@lru_cache(maxsize=4)
def _to_709(primaries: Chromaticities) -> tuple[F32, F32]:
    """The matrix (3, 3) to linear BT.709, neutral colours kept, and luminance's weights (3,)."""
    xyz = to_xyz(primaries)
    matrix = np.linalg.inv(to_xyz(SRGB)) @ xyz
    matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix.astype(np.float32), xyz[1].astype(np.float32)


def _pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084: cd/m2 to the signal in [0, 1]."""
    y = (light / 10_000) ** (2610 / 4096 / 4)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def _from_pq(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084: the signal in [0, 1] to cd/m2."""
    p = signal ** (32 / 2523)
    y = np.maximum(p - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * p)
    return 10_000 * y ** (4 * 4096 / 2610)


@lru_cache(maxsize=1)
def _pq_light() -> F32:
    return _from_pq(np.arange(65536) / 65535).astype(np.float32)


@lru_cache(maxsize=1)
def _hlg_scene() -> F32:
    """ITU-R BT.2100, HLG's inverse OETF: signal to scene light in [0, 1]."""
    e = np.arange(65536) / 65535
    high = (np.exp((e - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(e <= 0.5, e * e / 3, high).astype(np.float32)


def _hlg_light(codes: NDArray[np.uint16], luma: F32) -> F32:
    """ITU-R BT.2100, HLG's OOTF for a display of 1000 cd/m2, whose system gamma is 1.2."""
    scene = _hlg_scene()[codes]
    seen = np.maximum(scene @ luma, 1e-6)
    light: F32 = scene * (USUAL_PEAK * seen ** np.float32(0.2))[..., None]
    return light


@lru_cache(maxsize=4)
def _gains(peak: float) -> F32:
    """Factor on light by the root of its share of 10,000 cd/m2, in 4096 steps."""
    light = ((np.arange(4096) + 0.5) / 4095) ** 2 * 10_000
    top = _pq(np.array(peak))
    e = np.minimum(_pq(light) / top, 1)
    ceiling = float(_pq(np.array(WHITE)) / top)
    knee = 1.5 * ceiling - 0.5
    t = np.clip((e - knee) / max(1 - knee, 1e-9), 0, 1)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * ceiling
    )
    mapped = _from_pq(np.where(e < knee, e, spline) * top)
    return np.where(e < knee, 1, mapped / light).astype(np.float32)


@lru_cache(maxsize=2)
def _display(srgb: bool) -> U8:
    """ITU-R BT.1886's inverse by the root of light: gamma 2.4; or that of IEC 61966-2-1."""
    light = (np.arange(4096) / 4095) ** 2
    signal = light ** (1 / 2.4)
    if srgb:
        signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * signal - 0.055)
    return np.rint(255 * signal).astype(np.uint8)
