"""Make the pairs that show a task on the spot: ``examples/pairs``.

    python examples/make_pairs.py

``bowl``: one frame of ``sample.mp4`` with the bowl painted over by hand. ``duotone``: four photos
of ``examples/material``, and what a filter that no model is trained on makes of them.
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from make_examples import save
from PIL import Image, ImageDraw

from lavin_deploy.arrays import U8
from lavin_deploy.training.families.held_out_filters import duotone

HERE = Path(__file__).parent
MARKED_FRAME = 9
BOWL = ((262, 56), (300, 95), (303, 145), (268, 183), (232, 183), (206, 143), (210, 92))
"""Corners clicked around the bowl, (x, y) in pixels of the frame."""
PAINT = (255, 60, 60)
PHOTOS = ("lake", "tulips", "pavilion", "meadow")
SIZE = 192


def frame(number: int) -> U8:
    """Read a frame of the sample video, (288, 384, 3) uint8."""
    with av.open(str(HERE / "sample.mp4")) as video:
        for index, each in enumerate(video.decode(video=0)):
            if index == number:
                return np.asarray(each.to_ndarray(format="rgb24"), np.uint8)
    raise SystemExit(f"sample.mp4 has no frame {number}.")


def smaller(picture: U8) -> U8:
    """Shrink a frame to (192, 256, 3) uint8; the model works at 128."""
    return np.asarray(cv2.resize(picture, (256, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def photo(name: str) -> U8:
    """Read the middle square of a photo, (SIZE, SIZE, 3) uint8."""
    with Image.open(HERE / "material" / "photos" / f"{name}.jpg") as opened:
        image = np.asarray(opened.convert("RGB"), np.uint8)
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def main() -> None:
    """Write ``examples/pairs``."""
    shown = frame(MARKED_FRAME)
    painted = Image.new("RGB", shown.shape[1::-1])
    ImageDraw.Draw(painted).polygon(BOWL, fill=PAINT)
    pairs = {
        "bowl": [(smaller(shown), smaller(np.asarray(painted, np.uint8)))],
        "duotone": [(photo(name), duotone(photo(name))) for name in PHOTOS],
    }
    for task, images in pairs.items():
        folder = HERE / "pairs" / task
        folder.mkdir(parents=True, exist_ok=True)
        for number, (given, wanted) in enumerate(images, start=1):
            save(given, folder / f"{number:02d}_input.png")
            save(wanted, folder / f"{number:02d}_target.png")


if __name__ == "__main__":
    main()
