"""How an answer is shown: alone, over its input, or beside it."""

from __future__ import annotations

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.names import VIEWS
from lavin_deploy.runtime.letterbox import check_image

OVERLAY_STRENGTH = 0.6  # of a pixel of full brightness; the input shines through the rest


def view_size(view: str, width: int, height: int) -> tuple[int, int]:
    """Return (width, height) in pixels of a view of an input of that size."""
    _check_view(view)
    return (2 * width, height) if view == "side-by-side" else (width, height)


def compose(view: str, image: U8, answer: U8) -> U8:
    """Draw a view.

    ``overlay`` lays the answer's colours over the input, as strongly as they are bright: the
    black background of a mask or an edge map leaves the input as it is. ``target`` is the answer
    alone, and ``side-by-side`` the input on the left and the answer on the right.

    Args:
        view: one of ``VIEWS``.
        image: (H, W, 3) uint8, the input.
        answer: (H, W, 3) uint8, the answer in the input's size.

    Returns:
        (H, W, 3) uint8, or (H, 2 W, 3) for ``side-by-side``.

    Raises:
        InputError: an unknown view, or pictures of different sizes.
    """
    _check_view(view)
    check_image(image)
    check_image(answer)
    if image.shape != answer.shape:
        raise InputError(f"the answer is {answer.shape}, but its input {image.shape}.")
    if view == "target":
        return answer
    if view == "side-by-side":
        return np.concatenate([image, answer], axis=1)
    return _overlay(image, answer)


def _overlay(image: U8, answer: U8) -> U8:
    """Blend with alpha = strength * max(answer) / 255; Pillow does it ten times faster."""
    from PIL import Image

    brightness = np.maximum(np.maximum(answer[..., 0], answer[..., 1]), answer[..., 2])
    alpha = np.rint(np.arange(256) * OVERLAY_STRENGTH).astype(np.uint8)[brightness]
    mixed = Image.composite(Image.fromarray(answer), Image.fromarray(image), Image.fromarray(alpha))
    return np.array(mixed)


def _check_view(view: str) -> None:
    if view not in VIEWS:
        raise unknown_name("view", view, VIEWS)
