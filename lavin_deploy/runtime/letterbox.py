"""The fit of a picture into a model's bucket and back, and the model's pixel range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import F32, U8
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.limits import LIMITS

MAX_PIXELS = LIMITS.picture_pixels


@dataclass(frozen=True)
class Letterbox:
    """The fit of a picture of any size into a model's bucket, and the way back.

    The picture keeps its aspect ratio and sits in the middle. The rest is filled with the picture
    mirrored at its edge: a grey or black border would be an edge to find and an object to segment,
    a repeated edge pixel draws streaks, while a mirrored picture looks like more of the same to
    the model and leaves the statistics of its norms alone. ``backward`` cuts the filling off.

    Attributes:
        source: (H, W) of the picture in pixels.
        bucket: (h, w) of the model in pixels.
    """

    source: tuple[int, int]
    bucket: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.source) < 1 or min(self.bucket) < 1:
            raise InputError(
                f"cannot fit {self.source} into {self.bucket}: every side must be 1 or more."
            )

    @property
    def inner(self) -> tuple[int, int]:
        """(rows, columns) of the picture inside the bucket; integers only, rounded half up."""
        (H, W), (h, w) = self.source, self.bucket
        if W * h >= H * w:  # wider than the bucket
            return max(1, (2 * H * w + W) // (2 * W)), w
        return h, max(1, (2 * W * h + H) // (2 * H))

    @property
    def offset(self) -> tuple[int, int]:
        """(rows above, columns to the left) of the picture inside the bucket."""
        rows, columns = self.inner
        return (self.bucket[0] - rows) // 2, (self.bucket[1] - columns) // 2

    def forward(self, image: U8) -> U8:
        """Resize and pad.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (h, w, 3) uint8: Pillow's antialiased bicubic, padded by mirroring.

        Raises:
            InputError: ``image`` is not (H, W, 3) uint8 of the source size.
        """
        _require_size(image, self.source)
        rows, columns = self.inner
        top, left = self.offset
        below, right = self.bucket[0] - rows - top, self.bucket[1] - columns - left
        return np.pad(
            resize(image, rows, columns), ((top, below), (left, right), (0, 0)), "symmetric"
        )

    def backward(self, target: U8) -> U8:
        """Cut the padding off and resize to the source size.

        Args:
            target: (h, w, 3) uint8.

        Returns:
            (H, W, 3) uint8, Pillow's antialiased bicubic.

        Raises:
            InputError: ``target`` is not (h, w, 3) uint8 of the bucket size.
        """
        _require_size(target, self.bucket)
        rows, columns = self.inner
        top, left = self.offset
        return resize(target[top : top + rows, left : left + columns], *self.source)


def to_pixels(image: U8) -> F32:
    """Turn (H, W, 3) uint8 into the encoder's input, (1, 3, 1, H, W) float32 in [-1, 1]."""
    check_image(image)
    pixels = image.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None, :, None])


def to_u8(pixels: NDArray[np.floating[Any]]) -> U8:
    """Turn the decoder's output into a picture: ``floor(255 * clip(x / 2 + 0.5, 0, 1))``.

    Args:
        pixels: (1, 3, 1, H, W) floating point, nominally in [-1, 1].

    Returns:
        (H, W, 3) uint8.

    Raises:
        WorkError: a value is infinite or not a number.
    """
    assert pixels.shape[:3] == (1, 3, 1), pixels.shape
    if not np.isfinite(pixels).all():
        raise WorkError(
            "the model's answer holds infinite or undefined values; "
            "run it at a higher precision, e.g. --precision fp32."
        )
    unit = np.clip(pixels[0, :, 0].astype(np.float32) / 2 + np.float32(0.5), 0, 1)
    return np.ascontiguousarray(np.floor(unit * 255).astype(np.uint8).transpose(1, 2, 0))


def check_image(image: U8) -> None:
    """Refuse what is not a picture (H, W, 3) uint8 with at least one pixel.

    Raises:
        InputError: saying what was given.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"a picture is (H, W, 3) uint8; given: {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"a picture is (H, W, 3) uint8 RGB; given: {image.shape} {image.dtype}.")


def resize(image: U8, rows: int, columns: int) -> U8:
    """Resize in two passes, each Pillow's antialiased bicubic rounded to 8 bits.

    Rows come first where that leaves less to do by the rule of Pillow 13; said here, because Pillow
    before that always took columns first, and the C++ runtime does the same.
    """
    from PIL import Image

    height, width = image.shape[:2]
    if (height, width) == (rows, columns):
        return np.array(image)
    rows_first = rows < height and height - rows > 2 * (width - columns)
    half = (width, rows) if rows_first else (columns, height)
    resized = Image.fromarray(np.ascontiguousarray(image))
    for size in (half, (columns, rows)):
        resized = resized.resize(size, Image.Resampling.BICUBIC)
    return np.array(resized)


def _require_size(image: U8, size: tuple[int, int]) -> None:
    check_image(image)
    if image.shape[:2] != size:
        raise InputError(f"expected a picture of {size} (rows, columns), got {image.shape[:2]}.")
