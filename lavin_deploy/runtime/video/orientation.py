"""Which way up the frames of a video are meant to be seen, and their other side data."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.runtime.video.container import import_av

# (a, b, c, d) of a display matrix: x' = a x + c y, y' = b x + d y, in FFmpeg's 16.16 units.
Matrix = tuple[int, int, int, int]
UPRIGHT: Matrix = (1, 0, 0, 1)

_DISPLAYMATRIX = 6  # AV_FRAME_DATA_DISPLAYMATRIX
_LAST_SIDE_DATA = 63  # AV_FRAME_DATA_*: FFmpeg 8.1 has 32 of them, of which PyAV 18 names 28


def side_data(frame: Any) -> dict[int, bytes]:
    """Return what a decoded ``av.VideoFrame`` carries besides pixels, by AV_FRAME_DATA_* number.

    Ask it of one frame only: PyAV's side data and their frame refer to each other, so that the
    frame's memory is only freed when Python looks for such cycles.
    """
    try:
        found = list(frame.side_data)
    except ValueError:  # a kind that PyAV has no name for hides all the others
        found = list(_without_unnamed(frame).side_data)
    return {data.type.value: bytes(data) for data in found}


def display_matrix(extra: dict[int, bytes]) -> Matrix:
    """Return the quarter turns and mirrorings that a frame's ``side_data`` says."""
    m = np.frombuffer(extra.get(_DISPLAYMATRIX, b""), dtype=np.int32)
    if m.size == 9 and m[:5].any():
        return int(m[0]), int(m[1]), int(m[3]), int(m[4])
    return UPRIGHT


def is_turned(matrix: Matrix) -> bool:
    """Whether rows and columns change places."""
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def upright(image: U8, matrix: Matrix) -> U8:
    """Turn and mirror (H, W, 3) uint8 as a display matrix says; (W, H, 3) if it is turned."""
    a, b, c, d = matrix
    x, y = a, d
    if is_turned(matrix):
        image = image.transpose(1, 0, 2)
        x, y = c, b
    return np.ascontiguousarray(image[:: -1 if y < 0 else 1, :: -1 if x < 0 else 1])


def _without_unnamed(frame: Any) -> Any:
    """Return the frame without the side data that PyAV's table does not name.

    libavfilter deletes by number; PyAV itself can only hand out all or nothing.
    """
    av = import_av()
    named = {kind.value for kind in av.sidedata.sidedata.Type}
    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
        ),
        *(
            graph.add("sidedata", f"mode=delete:type={number}")
            for number in range(_LAST_SIDE_DATA + 1)
            if number not in named
        ),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    graph.push(frame)
    return graph.pull()
