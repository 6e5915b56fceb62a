"""The bounds that Python, C++ and ``bundle.schema.json`` share: ``limits.json``, typed.

C++ has the same numbers by CMake (``cpp/src/base/limits.h.in``), the schema by a test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is taken at most. Bounds on a bundle keep it from asking for any amount of memory."""

    pixels_a_side: int
    """Of a bucket."""
    picture_pixels: int
    """Of one picture: Pillow's limit (a quarter GiB of RGB); beyond lie decompression bombs."""
    channels: int
    """Of latents."""
    validation_samples: int
    """Held-out samples that a bundle stores of one task."""
    steps: int
    """Model evaluations of the Euler solver."""
    guidance: int
    """Weight of guidance, to either side of 0."""
    threads: int
    """Of ONNX Runtime."""
    manifest_bytes: int
    path_letters: int
    """Of a file's path in a bundle."""
    task_name_letters: int


LIMITS = Limits(**json.loads(Path(__file__).with_name("limits.json").read_text()))
