"""Decoded frames of any kind as the RGB pictures that a viewer would see."""

from __future__ import annotations

from typing import Any

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.runtime.hdr import USUAL_PEAK, tone_map
from lavin_deploy.runtime.primaries import BT2020, hdr_primaries
from lavin_deploy.runtime.video.colors import (
    FULL,
    LIMITED,
    SCALER_FLAGS,
    Colors,
    is_constant_luminance,
    is_hdr,
)
from lavin_deploy.runtime.video.constant_luminance import constant_luminance_to_rgb, planes
from lavin_deploy.runtime.video.container import import_av
from lavin_deploy.runtime.video.orientation import Matrix, display_matrix, side_data, upright

_ICTCP = 14  # AVCOL_SPC_ICTCP
_MASTERING, _LIGHT_LEVEL = 11, 14  # AV_FRAME_DATA_MASTERING_DISPLAY_METADATA, _CONTENT_LIGHT_LEVEL


class RgbConverter:
    """Makes 8-bit RGB of a video's frames, all of the first one's size and orientation.

    Transparent parts lie on white, as they do in pictures. PQ and HLG are tone-mapped.

    Args:
        first: the first decoded ``av.VideoFrame``.

    Attributes:
        matrix: the display matrix of all frames.
        notices: sentences for the user, more as frames come.
    """

    def __init__(self, first: Any) -> None:
        self.notices: list[str] = []
        extra = side_data(first)
        self.matrix: Matrix = display_matrix(extra)
        self._peak = _peak(extra)
        self._size = (first.width, first.height)
        self._resized = False
        self._reformatter = import_av().video.reformatter.VideoReformatter()
        if is_hdr(first):
            self.notices.append(
                "the video is HDR; it is tone-mapped to BT.709 for the model, and so is the answer."
            )
        if first.colorspace == _ICTCP and not first.format.is_rgb:
            raise InputError(
                "the video's colours are ICtCp (matrix 14 of ITU-T H.273), which is not read here; "
                "re-encode it, e.g. with ffmpeg -vf zscale=matrix=2020_ncl."
            )
        if Colors.guesses(first):
            self.notices.append(
                f"the video's colour matrix (number {first.colorspace} of ITU-T H.273) is not "
                f"known here; it is read as {Colors.of_frame(first).matrix}."
            )

    def __call__(self, frame: Any) -> U8:
        """Return (H, W, 3) uint8 RGB, upright."""
        if (frame.width, frame.height) != self._size and not self._resized:
            self._resized = True
            self.notices.append(
                f"the video changes its size from {self._size[0]}x{self._size[1]} to "
                f"{frame.width}x{frame.height}; all is scaled to the first size."
            )
        if is_hdr(frame):
            codes = self._reformat(frame, "rgb48le")
            primaries = hdr_primaries(frame.color_primaries) or BT2020
            image = tone_map(codes, frame.color_trc, self._peak, primaries=primaries)
        elif is_constant_luminance(frame):
            image = self._of_constant_luminance(frame)
        elif _has_alpha(frame.format):
            image = _on_white(self._reformat(frame, "rgba"))
        else:
            image = self._reformat(frame, "rgb24")
        return upright(image, self.matrix)

    def _of_constant_luminance(self, frame: Any) -> U8:
        span = FULL if frame.color_range == FULL else LIMITED
        whole = self._reformatter.reformat(
            frame,
            width=self._size[0],
            height=self._size[1],
            format="yuv444p16le",
            src_colorspace=Colors.of_frame(frame).scaler_matrix,  # one to the other: left alone
            dst_colorspace=Colors.of_frame(frame).scaler_matrix,
            src_color_range=span,
            dst_color_range=span,
            interpolation=SCALER_FLAGS,
            threads=1,
        )
        return constant_luminance_to_rgb(*planes(whole, full=span == FULL))

    def _reformat(self, frame: Any, layout: str) -> Any:
        return self._reformatter.reformat(
            frame,
            width=self._size[0],
            height=self._size[1],
            format=layout,
            src_colorspace=Colors.of_frame(frame).scaler_matrix,
            dst_color_range=FULL,
            interpolation=SCALER_FLAGS,
            threads=1,
        ).to_ndarray()


def _has_alpha(layout: Any) -> bool:
    return layout.has_palette or any(part.is_alpha for part in layout.components)


def _on_white(rgba: U8) -> U8:
    """Lay (H, W, 4) straight alpha over white, rounded to the nearest."""
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _peak(extra: dict[int, bytes]) -> float:
    """Return the cd/m2 that a film is made for: its brightest pixel, or its mastering display."""
    if _LIGHT_LEVEL in extra:  # AVContentLightMetadata: MaxCLL, MaxFALL
        brightest = int(np.frombuffer(extra[_LIGHT_LEVEL], dtype=np.uint32)[0])
        if brightest:
            return float(brightest)
    if _MASTERING in extra:  # AVMasteringDisplayMetadata: 20 int32 of rationals, two flags
        fields = np.frombuffer(extra[_MASTERING], dtype=np.int32)
        if fields.size >= 22 and fields[21] and fields[18] > 0 and fields[19] > 0:
            return float(fields[18] / fields[19])
    return USUAL_PEAK
