"""Clips from still pictures: a camera that moves over a photo or a collage."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lavin_deploy.training.collage import Collage

UInt8 = NDArray[np.uint8]


def pan(rng: np.random.Generator, data: Collage, frames: int, size: int) -> UInt8:
    """A camera moves, turns and zooms a little over a photo or a collage.

    Args:
        rng: source of every choice.
        data: pictures of one split.
        frames: T.
        size: side S in pixels.

    Returns:
        (T, S, S, 3) uint8 RGB. The still is drawn at 1.5 S, so that no border comes into view.
    """
    large = round(1.5 * size)
    still = data.sample(rng, large).image if rng.random() < 0.5 else data.photo(rng, large)
    middle = np.array([(large - 1) / 2, (large - 1) / 2])
    # Between its ends the camera moves evenly; 0.12 S is how far a centred window may go when
    # it is turned and zoomed by the most.
    places = rng.uniform(-0.12, 0.12, (2, 2)) * size
    angles = rng.uniform(-4, 4, 2)
    zooms = np.exp(rng.uniform(-0.06, 0.06, 2))
    shown = []
    for share in np.linspace(0, 1, frames) if frames > 1 else [0.0]:
        angle = (1 - share) * angles[0] + share * angles[1]
        zoom = (1 - share) * zooms[0] + share * zooms[1]
        centre = middle + (1 - share) * places[0] + share * places[1]
        matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, zoom)
        matrix[:, 2] += (size - 1) / 2 - centre
        shown.append(cv2.warpAffine(still, matrix, (size, size), flags=cv2.INTER_LINEAR))
    return np.stack(shown).astype(np.uint8)
