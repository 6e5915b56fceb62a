"""Primaries of pictures and films: where red, green, blue and white lie, and what that makes."""

from __future__ import annotations

import numpy as np

from lavin_deploy.arrays import F64

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue, in the order of PNG's cHRM."""

_D65 = (0.3127, 0.3290)
SRGB: Chromaticities = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE: Chromaticities = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
BT2020: Chromaticities = (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)

# ITU-T H.273, "ColourPrimaries": those of television differ from sRGB's by less than is seen, and
# are taken for them, as in film.
SRGB_CODES = (1, 2, 5, 6, 7)
PRIMARIES: dict[int, Chromaticities] = {
    **dict.fromkeys(SRGB_CODES, SRGB),
    9: BT2020,
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI-P3
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}


def hdr_primaries(code: int) -> Chromaticities | None:
    """Return what a code means beside PQ or HLG, where "unspecified" is BT.2020; None: unknown."""
    return BT2020 if code == 2 else PRIMARIES.get(code)


def to_xyz(chromaticities: Chromaticities) -> F64:
    """Return the matrix (3, 3) from linear RGB to CIE XYZ, where white has Y = 1.

    Raises:
        ValueError: the primaries span no colours.
    """
    x, y = np.array(chromaticities).reshape(4, 2).T
    if (y <= 0).any():
        raise ValueError("its primaries are no colours")
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    white, primaries = xyz[:, 0], xyz[:, 1:]
    if abs(np.linalg.det(primaries)) < 1e-6:
        raise ValueError("its primaries lie on a line")
    matrix: F64 = primaries * np.linalg.solve(primaries, white)
    return matrix
