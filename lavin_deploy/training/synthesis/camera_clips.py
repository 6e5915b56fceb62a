"""Clips from still pictures: a camera that moves over a photo, and cut-outs that move in front."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from lavin_deploy.arrays import F32, F64, U8
from lavin_deploy.training.synthesis.collage import Collage, Placed, warp

MARGIN = 1.5
"""The still behind a clip is so many times as large as the frame, so that no border is seen."""
REACH = 0.12
"""How far, in sides, a centred window may go when it is turned and zoomed by the most."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A clip with its truth. T frames, S the side.

    Attributes:
        images: (T, S, S, 3) uint8 RGB.
        instances: (T, S, S) uint8, 0 = background, 1.. = objects from back to front.
        flow: (T, S, S, 2) float32, where each pixel goes until the next frame: px right, px down.
    """

    images: U8
    instances: U8
    flow: F32


def pan(rng: np.random.Generator, data: Collage, frames: int, size: int) -> U8:
    """A camera moves, turns and zooms a little over a photo or a collage.

    Args:
        rng: source of every choice.
        data: pictures of one split.
        frames: T.
        size: side S in pixels.

    Returns:
        (T, S, S, 3) uint8 RGB.
    """
    large = round(MARGIN * size)
    still = data.sample(rng, large).image if rng.random() < 0.5 else data.photo(rng, large)
    views = _camera(rng, frames, size)[:frames]
    return np.stack([_seen(still, view, size) for view in views])


def animate(
    rng: np.random.Generator, data: Collage, frames: int, size: int, speed: float = 0.03
) -> Motion:
    """One to three cut-outs move evenly, each its own way, over a photo that the camera pans.

    Args:
        rng: source of every choice.
        data: pictures of one split.
        frames: T.
        size: side S in pixels.
        speed: largest way of a cut-out between frames, in sides.
    """
    still = data.photo(rng, round(MARGIN * size))
    views = _camera(rng, frames, size)
    placed, _ = data.place(rng, size)
    ways = [_way(rng, item, frames, size, speed) for item in placed]
    gains = [rng.uniform(0.7, 1.25) * rng.uniform(0.9, 1.1, 3) for _ in placed]
    images, instances, flows = [], [], []
    for turn in range(frames):
        canvas = _seen(still, views[turn], size).astype(np.float32)
        instance = np.zeros((size, size), np.uint8)
        flow = _displacement(views[turn], views[turn + 1], size)
        for number, (item, way, gain) in enumerate(zip(placed, ways, gains, strict=True), start=1):
            layer = warp(replace(item, matrix=_after(way[turn], item.matrix)), item.level, 1, size)
            opacity = layer[..., 3:] / np.float32(255)
            colour = np.minimum(layer[..., :3] * gain.astype(np.float32), 255 * opacity)
            canvas = colour + canvas * (1 - opacity)
            covered = opacity[..., 0] > 0.5
            instance[covered] = number
            flow[covered] = _displacement(way[turn], way[turn + 1], size)[covered]
        images.append(np.clip(canvas + 0.5, 0, 255).astype(np.uint8))
        instances.append(instance)
        flows.append(flow)
    return Motion(images=np.stack(images), instances=np.stack(instances), flow=np.stack(flows))


def _camera(rng: np.random.Generator, frames: int, size: int) -> list[F64]:
    """Maps (2, 3) from the still's pixels to the frame's, of ``frames`` + 1 moments."""
    large = round(MARGIN * size)
    middle = np.array([(large - 1) / 2, (large - 1) / 2])
    places = rng.uniform(-REACH, REACH, (2, 2)) * size
    angles = rng.uniform(-4, 4, 2)
    zooms = np.exp(rng.uniform(-0.06, 0.06, 2))
    views = []
    for share in np.linspace(0, 1, frames + 1):
        angle, zoom = (1 - share) * np.array([angles[0], zooms[0]]) + share * np.array(
            [angles[1], zooms[1]]
        )
        centre = middle + (1 - share) * places[0] + share * places[1]
        matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, zoom)
        matrix[:, 2] += (size - 1) / 2 - centre
        views.append(matrix)
    return views


def _seen(still: U8, view: F64, size: int) -> U8:
    return np.asarray(cv2.warpAffine(still, view, (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def _way(rng: np.random.Generator, item: Placed, frames: int, size: int, speed: float) -> list[F64]:
    """Maps (2, 3) of frame pixels by which a cut-out has moved, of ``frames`` + 1 moments.

    It moves, turns and grows evenly about its middle, and stands where it was placed at half time.
    """
    height, width = item.level.shape[:2]
    middle = item.matrix @ np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
    heading, swift = rng.uniform(0, 2 * np.pi), rng.uniform(0, speed) * size
    step = swift * np.array([np.cos(heading), np.sin(heading)])
    spin, growth = rng.uniform(-2, 2), rng.uniform(-0.01, 0.01)
    way = []
    for turn in range(frames + 1):
        passed = turn - (frames - 1) / 2
        centre = (float(middle[0]), float(middle[1]))
        matrix = cv2.getRotationMatrix2D(centre, spin * passed, float(np.exp(growth * passed)))
        matrix[:, 2] += step * passed
        way.append(matrix)
    return way


def _after(second: F64, first: F64) -> F64:
    """One affine map behind another, (2, 3) each."""
    return np.asarray(second @ np.vstack([first, [0, 0, 1]]), np.float64)


def _displacement(now: F64, then: F64, size: int) -> F32:
    """Where pixels of a thing at ``now`` go until ``then``: (S, S, 2) float32 px."""
    change = _after(then, cv2.invertAffineTransform(now)) - np.eye(2, 3)
    rows, cols = np.mgrid[0:size, 0:size]
    points = np.stack([cols, rows, np.ones_like(rows)], axis=-1)
    return (points @ change.T).astype(np.float32)
