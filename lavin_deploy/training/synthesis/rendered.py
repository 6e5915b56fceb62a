"""Rendered scenes with exact depth, normals and instances: a small ray-caster in numpy.

World axes: x right, y up, z forward; the camera stands at the origin and looks along z, tilted
down a little. Spheres, boxes and upright cylinders stand on a ground plane in front of a wall, or
under a photograph of a sky. Arrays of rays are component first, (3, N) float32.

**Depth** is z along the optical axis, not the length of the ray, in units of the camera's height
over the ground; where nothing is hit it is infinite. ``depth_image`` makes it a picture of
**inverse** depth, 1/z, scaled per picture so that its least value is black and its greatest white:
near is bright, and nothing hit is 1/inf = 0, the farthest there is.

**Normals** are unit vectors in camera axes (x right, y up, z towards the camera).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lavin_deploy.arrays import F32, U8
from lavin_deploy.training.synthesis import appearance
from lavin_deploy.training.synthesis.collage import Scene
from lavin_deploy.training.synthesis.primitives import (
    EPSILON,
    FAR,
    Box,
    Cylinder,
    Plane,
    Primitive,
    Sphere,
)

TEXTURE = 96

ROW = 32_000
"""Points that OpenCV looks up in one row; its sides end at 32,766."""


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """What is rendered.

    Attributes:
        primitives: the things; ``textures[i]`` covers ``primitives[i]``.
        textures: (H, W, 3) uint8 RGB each.
        sky: (S, S, 3) uint8 RGB seen where nothing is hit.
        light: unit vector towards the light.
        ambient: share of light that comes from everywhere, in [0, 1].
        pitch: how far the camera looks down, in radians.
        view: tangent of half the field of view.
        shadows: whether things cast hard shadows.
    """

    primitives: Sequence[Primitive]
    textures: Sequence[U8]
    sky: U8
    light: F32
    ambient: float = 0.4
    pitch: float = 0.0
    view: float = 0.6
    shadows: bool = True


def render(scene_spec: SceneSpec, size: int) -> Scene:
    """Cast one ray through the centre of each pixel of a size x size frame.

    Returns:
        A ``Scene`` with depth and normals. Planes count as background in ``alpha`` and
        ``coverage`` but have numbers of their own in ``instances``; 0 is the sky.
    """
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    x, y = np.meshgrid(axis * scene_spec.view, -axis * scene_spec.view)
    camera = np.stack([x.ravel(), y.ravel(), np.ones(size * size, np.float32)])
    length = np.sqrt((camera * camera).sum(axis=0))
    rays = _tilt(camera / length, scene_spec.pitch)
    origin = np.zeros((3, 1), np.float32)

    distance = np.full(size * size, FAR)
    owner = np.zeros(size * size, np.uint8)
    for number, primitive in enumerate(scene_spec.primitives, start=1):
        t = primitive.hit(origin, rays)
        nearer = t < distance
        distance[nearer] = t[nearer]
        owner[nearer] = number

    normals = np.zeros_like(rays)
    colour = scene_spec.sky.reshape(-1, 3).astype(np.float32)
    for number, primitive in enumerate(scene_spec.primitives, start=1):
        pixels = np.flatnonzero(owner == number)
        if len(pixels) == 0:
            continue
        points = rays[:, pixels] * distance[pixels]
        facing = primitive.normal(points)
        normals[:, pixels] = facing
        bright = np.maximum(scene_spec.light @ facing, 0)
        if scene_spec.shadows:
            bright *= _lit(scene_spec, number, points + facing * np.float32(4 * EPSILON))
        paint = _paint(primitive, points, facing, scene_spec.textures[number - 1])
        colour[pixels] = paint * (scene_spec.ambient + (1 - scene_spec.ambient) * bright)[:, None]

    instances = owner.reshape(size, size)
    solid = [
        number
        for number, primitive in enumerate(scene_spec.primitives, start=1)
        if not isinstance(primitive, Plane)
    ]
    cover = np.isin(instances, solid).astype(np.float32)
    return Scene(
        image=np.clip(colour + 0.5, 0, 255).astype(np.uint8).reshape(size, size, 3),
        instances=instances,
        fine_instances=np.repeat(np.repeat(instances, 2, axis=0), 2, axis=1),
        alpha=cover,
        coverage=cover,
        background=scene_spec.sky,
        depth=(distance / length).reshape(size, size).astype(np.float32),
        normals=(_tilt(normals, -scene_spec.pitch) * np.array([[1], [1], [-1]], np.float32))
        .T.reshape(size, size, 3)
        .astype(np.float32),
    )


def depth_image(depth: F32) -> U8:
    """Turn depth (S, S), infinite for nothing, into inverse depth: (S, S) uint8, near = 255."""
    inverse = 1 / depth
    low, high = float(inverse.min()), float(inverse.max())
    scaled = (inverse - low) / max(high - low, 1e-9)
    return np.round(scaled * 255).astype(np.uint8)


def normal_image(normals: F32) -> U8:
    """Turn unit normals (S, S, 3) into RGB (n + 1) / 2: (S, S, 3) uint8; no surface is grey."""
    return np.round((normals + 1) * 127.5).astype(np.uint8)


def draw_scene_spec(rng: np.random.Generator, photos: Sequence[U8], size: int) -> SceneSpec:
    """Draw a random scene of 3-8 things whose surfaces are crops of the photos.

    Args:
        rng: every choice comes from it.
        photos: (H, W, 3) uint8 RGB each.
        size: side of the frame it will be rendered at.
    """
    ground = Plane(point=_vector(0, -1, 0), facing=_vector(0, 1, 0))
    primitives: list[Primitive] = [ground]
    if rng.random() < 0.65:
        primitives.append(
            Plane(point=_vector(0, 0, rng.uniform(6, 14)), facing=_heading(rng.uniform(-0.5, 0.5)))
        )
    if rng.random() < 0.3:
        side = float(rng.choice((-1.0, 1.0)))
        primitives.append(
            Plane(point=_vector(side * rng.uniform(2.5, 5), 0, 0), facing=_vector(-side, 0, 0))
        )
    primitives += [_draw_thing(rng) for _ in range(int(rng.integers(3, 9)))]
    textures = [_draw_texture(rng, photos) for _ in primitives]
    photo = photos[int(rng.integers(len(photos)))]
    light = np.array([rng.uniform(-1, 1), rng.uniform(0.5, 1.5), rng.uniform(-1, 0.2)], np.float32)
    return SceneSpec(
        primitives=primitives,
        textures=textures,
        sky=appearance.jitter(rng, appearance.crop(rng, photo, size, 0.45, 1.0)),
        light=light / np.linalg.norm(light),
        ambient=float(rng.uniform(0.3, 0.6)),
        pitch=float(rng.uniform(0.05, 0.4)),
        view=float(rng.uniform(0.45, 0.7)),
        shadows=bool(rng.random() < 0.7),
    )


def sample(rng: np.random.Generator, photos: Sequence[U8], size: int) -> Scene:
    """Draw a scene, render it and finish it like a camera's picture; see ``draw_scene_spec``."""
    scene = render(draw_scene_spec(rng, photos, size), size)
    image = appearance.camera(rng, scene.image.astype(np.float32))
    return Scene(**{**vars(scene), "image": image})


def _draw_thing(rng: np.random.Generator) -> Primitive:
    z = float(rng.uniform(2, 7))
    x = float(rng.uniform(-0.55, 0.55)) * z
    lift = float(rng.uniform(0, 1.2)) if rng.random() < 0.2 else 0.0
    kind = rng.random()
    if kind < 0.4:
        radius = float(rng.uniform(0.25, 0.9))
        return Sphere(centre=_vector(x, radius - 1 + lift, z), radius=radius)
    if kind < 0.8:
        half = rng.uniform(0.2, 0.8, 3).astype(np.float32)
        yaw = float(rng.uniform(-np.pi, np.pi))
        return Box(centre=_vector(x, float(half[1]) - 1 + lift, z), half=half, yaw=yaw)
    high = float(rng.uniform(0.2, 1.0))
    return Cylinder(
        centre=_vector(x, high - 1 + lift, z), radius=float(rng.uniform(0.15, 0.6)), half=high
    )


def _draw_texture(rng: np.random.Generator, photos: Sequence[U8]) -> U8:
    photo = photos[int(rng.integers(len(photos)))]
    texture = appearance.jitter(rng, appearance.crop(rng, photo, TEXTURE, 0.2, 1.0))
    if rng.random() < 0.4:  # a painted thing: little texture, a colour of its own
        colour = rng.uniform(30, 230, 3).astype(np.float32)
        plain = texture * np.float32(0.25) + colour * np.float32(0.75)
        texture = plain.astype(np.uint8)
    return texture


def _lit(scene_spec: SceneSpec, number: int, points: F32) -> F32:
    """Return 1 where points (3, M) of thing ``number`` see the light, else 0: (M,) float32."""
    rays = np.broadcast_to(scene_spec.light[:, None], points.shape)
    free = np.ones(points.shape[1], bool)
    for other, primitive in enumerate(scene_spec.primitives, start=1):
        if other != number and not isinstance(primitive, Plane):
            free &= ~np.isfinite(primitive.hit(points, rays))
    return free.astype(np.float32)


def _paint(primitive: Primitive, points: F32, facing: F32, texture: U8) -> F32:
    """Look up the texture by position: (M, 3) float32; far ground fades to the mean colour."""
    if isinstance(primitive, Plane):
        span = np.float32(3.0)
        flat = points[[0, 2]] if abs(primitive.facing[1]) > 0.5 else points[[0, 1]] + points[[2, 2]]
        u, v = flat[0] / span, flat[1] / span
    else:
        local = points - primitive.centre[:, None]
        up = np.abs(facing[1]) > 0.8
        u = np.where(up, local[0], np.arctan2(local[0], -local[2]))
        v = np.where(up, local[2], local[1])
    last = texture.shape[0] - 1
    column = np.abs((u * 0.5 + 0.25) % 2 - 1) * last  # mirrored, so that there is no seam
    row = np.abs((v * 0.5 + 0.25) % 2 - 1) * last
    x, y = column.astype(np.float32)[None], row.astype(np.float32)[None]
    parts = [
        cv2.remap(texture, x[:, at : at + ROW], y[:, at : at + ROW], cv2.INTER_LINEAR)[0]
        for at in range(0, x.size, ROW)
    ]
    colour = np.concatenate(parts).astype(np.float32)
    if isinstance(primitive, Plane):
        fade = np.clip((points[2] - 4) / 12, 0, 1)[:, None]
        colour = colour * (1 - fade) + texture.mean(axis=(0, 1), dtype=np.float32) * fade
    return np.asarray(colour, np.float32)


def _vector(x: float, y: float, z: float) -> F32:
    return np.array([x, y, z], np.float32)


def _heading(yaw: float) -> F32:
    return _vector(float(np.sin(yaw)), 0, -float(np.cos(yaw)))


def _tilt(vectors: F32, pitch: float) -> F32:
    """Turn camera axes (3, N) down by ``pitch`` into world axes."""
    cos, sin = np.float32(np.cos(pitch)), np.float32(np.sin(pitch))
    return np.stack(
        [vectors[0], cos * vectors[1] - sin * vectors[2], cos * vectors[2] + sin * vectors[1]]
    )
