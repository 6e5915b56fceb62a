"""What a runtime computes on the host, as vectors that the C++ runtime is held to as well.

``python -m tests.helpers.host_vectors`` writes ``tests/golden/host.json``. Pictures of the vectors
are made by ``picture``; results are given by the sha256 of their bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.flow import noise
from lavin_deploy.flow.grids import grid_for
from lavin_deploy.runtime.letterbox import Letterbox, resize, to_pixels, to_u8
from lavin_deploy.runtime.request import choose_size

FILE = Path(__file__).parents[1] / "golden" / "host.json"

_RESIZES = [
    *((height, width, rows, columns) for height, width in ((1, 1), (7, 5), (128, 128), (333, 517))
      for rows, columns in ((1, 1), (5, 7), (128, 128), (200, 96), (1000, 3))),
    *((480, 640, 96, 128), (720, 1280, 72, 128), (1080, 1920, 128, 228), (128, 96, 4000, 3000)),
    *((640, 1, 128, 128), (1, 640, 128, 128), (127, 129, 128, 128), (128, 300, 128, 128)),
]  # fmt: skip
_FITS = [
    *((source, bucket) for source in ((480, 640), (640, 480), (128, 128), (3, 1000), (1000, 3),
      (1, 1), (127, 129), (1080, 1920)) for bucket in ((128, 128), (32, 32), (64, 96))),
]  # fmt: skip
_STEPS = [("uniform", 1), ("uniform", 4), ("uniform", 7), *(
    ("linear-quadratic", steps) for steps in (3, 5, 7, 9, 19, 21, 29, 39, 99))]  # fmt: skip
_SIZES = [[128, 128], [96, 160], [160, 96], [64, 64]]
_FRAMES = [[480, 640], [640, 480], [100, 100], [1080, 1920], [1920, 1080], [1, 1000], [5, 4]]


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Noise without a generator: the top byte of (i * 2654435761 + seed * 40503) mod 2^32."""
    index = np.arange(height * width * 3, dtype=np.uint64)
    words = (index * np.uint64(2654435761) + np.uint64(seed * 40503)) & np.uint64(0xFFFFFFFF)
    return (words >> np.uint64(24)).astype(np.uint8).reshape(height, width, 3)


def host_vectors() -> dict[str, Any]:
    """Compute all vectors."""
    numbers = np.concatenate([np.linspace(-1.3, 1.3, 4099), [-1, 0, 1, 1e30, -1e30]])
    numbers = numbers.astype(np.float32)[: 3 * (len(numbers) // 3)]
    ramp = np.arange(768, dtype=np.uint64).astype(np.uint8).reshape(16, 16, 3)
    return {
        "noise": [
            {"seed": str(seed), "values": noise.normal(seed, (count,)).tolist()}
            for seed, count in ((0, 64), (1, 7), (42, 32), (2**64 - 1, 16))
        ],
        "grids": [
            {"kind": kind, "steps": steps, "values": grid_for(steps, kind).tolist()}
            for kind, steps in _STEPS
        ],
        "resizes": [
            {"from": [height, width], "to": [rows, columns], "seed": seed,
             "sha256": _digest(resize(picture(height, width, seed), rows, columns))}
            for seed, (height, width, rows, columns) in enumerate(_RESIZES)
        ],
        "letterboxes": [_fit(*fit, seed) for seed, fit in enumerate(_FITS)],
        "pixels": {"seed": 7, "size": [24, 16],
                   "sha256": _digest(to_pixels(picture(24, 16, 7))),
                   "ramp": _digest(to_pixels(ramp))},
        "pictures": {"values": numbers.tolist(),
                     "sha256": _digest(to_u8(numbers.reshape(1, 3, 1, 1, -1)))},
        "sizes": [
            {"frame": frame, "size": list(choose_size([(h, w) for h, w in _SIZES], tuple(frame)))}
            for frame in _FRAMES
        ],
        "accepted_sizes": _SIZES,
    }  # fmt: skip


def _fit(source: tuple[int, int], bucket: tuple[int, int], seed: int) -> dict[str, Any]:
    box = Letterbox(source, bucket)
    forward = box.forward(picture(*source, seed))
    return {
        "source": source,
        "bucket": bucket,
        "seed": seed,
        "inner": box.inner,
        "offset": box.offset,
        "forward": _digest(forward),
        "backward": _digest(box.backward(forward)),
    }


def _digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def to_text() -> str:
    """The text of the file."""
    return json.dumps(host_vectors()) + "\n"


if __name__ == "__main__":
    FILE.write_text(to_text())
