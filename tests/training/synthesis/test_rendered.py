"""Rendered scenes: geometry, depth, normals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lavin_deploy.training.synthesis import rendered
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.synthesis.primitives import Box, Cylinder, Plane, Primitive, Sphere

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def prepared(data: Path) -> Path:
    """A folder of generated pictures: no network, no package."""
    return data


@pytest.fixture(scope="module")
def collage(prepared: Path) -> Collage:
    return Collage.load(prepared, "train")


def _spec(*primitives: Primitive, size: int = 65) -> rendered.SceneSpec:
    grey = np.full((8, 8, 3), 128, np.uint8)
    return rendered.SceneSpec(
        primitives=primitives,
        textures=[grey] * len(primitives),
        sky=np.zeros((size, size, 3), np.uint8),
        light=np.array([0, 0, -1], np.float32),
        view=0.5,
    )


def test_a_sphere_is_where_geometry_puts_it() -> None:
    ball = Sphere(centre=np.array([0, 0, 4], np.float32), radius=1.0)
    scene = rendered.render(_spec(ball), 65)
    assert scene.depth is not None
    assert scene.normals is not None
    assert scene.depth[32, 32] == pytest.approx(3.0, abs=1e-4)
    np.testing.assert_allclose(scene.normals[32, 32], [0, 0, 1], atol=1e-3)
    assert np.isinf(scene.depth[0, 0])
    # Silhouette: the tangent cone has tan(a) = r / sqrt(d^2 - r^2).
    radius = 1 / np.sqrt(15) / 0.5 * 65 / 2
    assert scene.coverage.sum() == pytest.approx(np.pi * radius**2, rel=0.02)
    # Every hit point lies on the sphere, and its normal points away from the centre.
    axis = ((np.arange(65) + 0.5) * (2 / 65) - 1) * 0.5
    rows, columns = np.nonzero(np.isfinite(scene.depth))
    z = scene.depth[rows, columns]
    points = np.stack([axis[columns] * z, -axis[rows] * z, z], axis=1)
    away = points - [0, 0, 4]
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(scene.normals[rows, columns], away * [1, 1, -1], atol=1e-3)


def test_box_cylinder_and_plane_are_where_geometry_puts_them() -> None:
    centre = np.array([0, 0, 5], np.float32)
    box = Box(centre=centre, half=np.array([1, 1, 2], np.float32), yaw=0.0)
    tall = Cylinder(centre=centre, radius=1.5, half=1.0)
    wall = Plane(point=np.array([0, 0, 7], np.float32), facing=np.array([0, 0, -1], np.float32))
    for thing, expected in ((box, 3.0), (tall, 3.5), (wall, 7.0)):
        scene = rendered.render(_spec(thing), 65)
        assert scene.depth is not None
        assert scene.normals is not None
        assert scene.depth[32, 32] == pytest.approx(expected, abs=1e-3)
        np.testing.assert_allclose(scene.normals[32, 32], [0, 0, 1], atol=2e-2)
    both = rendered.render(_spec(wall, box), 65)
    assert both.instances[32, 32] == 2
    assert both.instances[0, 0] == 1


def test_depth_picture_is_inverse_and_near_is_bright() -> None:
    depth = np.array([[1, 2], [4, np.inf]], np.float32)
    np.testing.assert_array_equal(rendered.depth_image(depth), [[255, 128], [64, 0]])


def test_drawn_scenes_have_objects_and_unit_normals(collage: Collage) -> None:
    rng = np.random.default_rng(6)
    for _ in range(5):
        scene = rendered.sample(rng, collage.photos, 48)
        assert scene.normals is not None
        length = np.linalg.norm(scene.normals, axis=2)
        hit = scene.instances > 0
        np.testing.assert_allclose(length[hit], 1, atol=1e-3)
        assert (length[~hit] == 0).all()
        assert scene.normals[hit][:, 2].min() > -1 + 1e-3


def test_a_scene_of_256_pixels(collage: Collage) -> None:
    """One surface can fill more than OpenCV looks up in one row."""
    largest = 0
    for seed in range(3):
        scene = rendered.sample(np.random.default_rng(seed), collage.photos, 256)
        largest = max(largest, int(np.bincount(scene.instances.ravel()).max()))
    assert largest > 32_766
