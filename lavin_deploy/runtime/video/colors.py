"""Which YUV a video is coded in, so that its colours come out of the answer's file unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

UNSPECIFIED = 2  # AVCOL_SPC_, AVCOL_PRI_ and AVCOL_TRC_UNSPECIFIED alike
BT709, BT470BG, SMPTE170M, SMPTE240M, BT2020 = 1, 5, 6, 7, 9  # AVCOL_SPC_*

# AVCOL_SPC_* -> SWS_CS_*; BT.470BG and SMPTE 170M are the two names of BT.601's matrix.
_SCALER_MATRIX = {BT709: 1, BT470BG: 5, SMPTE170M: 5, SMPTE240M: 7, BT2020: 9}

# libswscale's flags BICUBIC | ACCURATE_RND | FULL_CHR_H_INT | FULL_CHR_H_INP. The usual faster
# ones cost a few grey levels.
SCALER_FLAGS = 4 | 0x40000 | 0x2000 | 0x4000

LIMITED, FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG


@dataclass(frozen=True, kw_only=True)
class Colors:
    """How RGB and YUV relate in one video, as FFmpeg's numbers.

    Attributes:
        matrix: AVCOL_SPC_*, one that the scaler knows.
        primaries: AVCOL_PRI_*, carried over from the input.
        transfer: AVCOL_TRC_*, carried over from the input.
    """

    matrix: int
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @classmethod
    def of_size(cls, width: int, height: int) -> Colors:
        """Return what players assume of an untagged video: BT.709 if HD or larger, else BT.601."""
        return cls(matrix=BT709 if width >= 1280 or height > 576 else SMPTE170M)

    @classmethod
    def of_frame(cls, frame: Any) -> Colors:
        """Return the tags of a decoded ``av.VideoFrame``, by its size where it has none."""
        guess = cls.of_size(frame.width, frame.height)
        return cls(
            matrix=frame.colorspace if frame.colorspace in _SCALER_MATRIX else guess.matrix,
            primaries=frame.color_primaries,
            transfer=frame.color_trc,
        )

    @property
    def scaler_matrix(self) -> int:
        """SWS_CS_*, the same matrix in libswscale's numbering."""
        return _SCALER_MATRIX[self.matrix]
