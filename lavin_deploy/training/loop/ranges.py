"""What the numbers of a recipe may be."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lavin_deploy.errors import InputError
from lavin_deploy.limits import LIMITS

_COUNT, _ANY, _SHARE = (1, 10**9), (0, 10**9), (0.0, 1.0)
_WEIGHT = (0.0, 1e6)

RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("steps", "groups", "validate_every", "teacher_steps"), _COUNT),
    **dict.fromkeys(("warmup", "held_out", "segments"), _ANY),
    **dict.fromkeys(("batch", "accumulate", "queries"), (1, 1 << 20)),
    **{"seed": (0, (1 << 63) - 1), "max_pairs": (1, 1024), "lora": (0, 4096), "frames": (1, 1025)},
    **dict.fromkeys(("size", "first_size"), (1, LIMITS.pixels_a_side)),
    **dict.fromkeys(("decay", "ema", "stills", "labels", "disc_start", "distillation"), _SHARE),
    **dict.fromkeys(("one_pair", "at_noise", "drop", "small_steps"), _SHARE),
    **{"first_reading": (-1e6, 1.0)},  # what is read wrongly is below 0
    **dict.fromkeys(("learning_rate", "weight_decay", "clip", "save_minutes"), _WEIGHT),
    **dict.fromkeys(("l1", "mse", "perceptual_weight", "disc_weight", "kl"), _WEIGHT),
    **dict.fromkeys(("foreground", "pixel_l1", "pixel_perceptual", "velocity"), _WEIGHT),
}
"""Smallest and largest value of every number, by its name, both taken."""


def check_range(name: str, value: float) -> None:
    """Refuse a number of a recipe that no run can have.

    Raises:
        InputError: it is not finite, or outside of :data:`RANGES`.
    """
    low, high = RANGES[name]
    if not math.isfinite(value) or not low <= value <= high:
        raise InputError(f"{name} is {value}; it is a number from {low:g} to {high:g}.")


def check_side(name: str, value: int, multiple: int) -> None:
    """Refuse a side of pictures, in pixels, that is no multiple of what the model cuts them into.

    Raises:
        InputError: with the nearest sides that it has.
    """
    if value % multiple:
        below = value // multiple * multiple
        near = f"{below} or {below + multiple}" if below else f"{multiple}"
        raise InputError(
            f"{name} is {value}, but this model has sides that are multiples of {multiple}; the "
            f"nearest is {near}."
        )
