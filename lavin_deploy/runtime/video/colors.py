"""Which YUV a video is coded in, so that its colours come out of the answer's file unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lavin_deploy.runtime.hdr import HLG, PQ
from lavin_deploy.runtime.video.constant_luminance import BT2020_CL

UNSPECIFIED = 2  # AVCOL_SPC_, AVCOL_PRI_ and AVCOL_TRC_UNSPECIFIED alike
RGB, BT709, FCC, BT470BG, SMPTE170M, SMPTE240M, BT2020 = 0, 1, 4, 5, 6, 7, 9  # AVCOL_SPC_*
BT2020_PRIMARIES = 9  # AVCOL_PRI_BT2020

# AVCOL_SPC_* -> SWS_CS_*; BT.470BG and SMPTE 170M are the two names of BT.601's matrix, and
# BT.2020's is that of non-constant luminance.
_SCALER_MATRIX = {BT709: 1, FCC: 4, BT470BG: 5, SMPTE170M: 5, SMPTE240M: 7, BT2020: 9}

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
        matrix = frame.colorspace
        if matrix not in _SCALER_MATRIX:
            wide = frame.color_primaries == BT2020_PRIMARIES or matrix == BT2020_CL
            matrix = BT2020 if wide else cls.of_size(frame.width, frame.height).matrix
        return cls(matrix=matrix, primaries=frame.color_primaries, transfer=frame.color_trc)

    @classmethod
    def of_answer(cls, frame: Any) -> Colors:
        """Return the tags of an answer to a video: those of its frames, BT.709 for HDR."""
        if is_hdr(frame):
            return cls(matrix=BT709, primaries=BT709, transfer=BT709)  # H.273 numbers them alike
        return cls.of_frame(frame)

    @staticmethod
    def guesses(frame: Any) -> bool:
        """Whether the frame names a YUV matrix that ``of_frame`` has to replace."""
        named = frame.colorspace not in (*_SCALER_MATRIX, RGB, UNSPECIFIED)
        return named and not frame.format.is_rgb and not is_constant_luminance(frame)

    @property
    def scaler_matrix(self) -> int:
        """SWS_CS_*, the same matrix in libswscale's numbering."""
        return _SCALER_MATRIX[self.matrix]


def is_constant_luminance(frame: Any) -> bool:
    """Whether a decoded frame is coded by BT.2020's system of constant luminance."""
    return frame.colorspace == BT2020_CL and not is_hdr(frame) and not frame.format.is_rgb


def is_hdr(frame: Any) -> bool:
    """Whether a decoded frame is coded for high dynamic range."""
    return frame.color_trc in (PQ, HLG)
