"""How an answer is shown: alone, over its input, or beside it."""

from __future__ import annotations

import numpy as np

from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.runtime.images import U8, check_image

VIEWS = ("overlay", "target", "side-by-side")

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
    # alpha = strength * max(answer) / 255, in 1/65280 steps so that integers suffice
    alpha = answer.max(axis=2, keepdims=True).astype(np.int32) * round(OVERLAY_STRENGTH * 256)
    difference = answer.astype(np.int32) - image
    mixed: U8 = (image + (difference * alpha + 255 * 128) // (255 * 256)).astype(np.uint8)
    return mixed


def _check_view(view: str) -> None:
    if view not in VIEWS:
        raise unknown_name("view", view, VIEWS)
