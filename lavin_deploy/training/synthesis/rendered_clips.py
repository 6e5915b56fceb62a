"""Rendered clips with exact depth and normals: things of a scene move before a standing camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import U8
from lavin_deploy.training.synthesis.collage import Scene
from lavin_deploy.training.synthesis.primitives import Box, Plane, Primitive
from lavin_deploy.training.synthesis.rendered import draw_scene_spec, render


def film(rng: np.random.Generator, photos: Sequence[U8], frames: int, size: int) -> list[Scene]:
    """Render a random scene of which each thing moves evenly over the ground, and boxes turn.

    Args:
        rng: every choice comes from it.
        photos: (H, W, 3) uint8 RGB each.
        frames: T.
        size: side S in pixels.

    Returns:
        T scenes with depth and normals, see ``rendered``.
    """
    scene_spec = draw_scene_spec(rng, photos, size)
    steps = rng.uniform(-0.12, 0.12, (len(scene_spec.primitives), 2))
    spins = rng.uniform(-0.1, 0.1, len(scene_spec.primitives))
    shots = []
    for turn in range(frames):
        passed = turn - (frames - 1) / 2
        things = [
            _moved(thing, step * passed, spin * passed)
            for thing, step, spin in zip(scene_spec.primitives, steps, spins, strict=True)
        ]
        shots.append(render(replace(scene_spec, primitives=things), size))
    return shots


def _moved(thing: Primitive, way: NDArray[np.float64], turned: float) -> Primitive:
    """A thing somewhere else on the ground, ``way`` to the right and away; planes stay."""
    if isinstance(thing, Plane):
        return thing
    centre = (thing.centre + np.array([way[0], 0, way[1]])).astype(np.float32)
    if isinstance(thing, Box):
        return replace(thing, centre=centre, yaw=thing.yaw + turned)
    return replace(thing, centre=centre)
