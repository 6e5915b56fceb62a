"""What rays hit in rendered scenes: spheres, boxes, upright cylinders, planes.

Points and rays are component first, (3, N) float32, in the axes of :mod:`rendered`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lavin_deploy.arrays import F32

FAR = np.float32(np.inf)
EPSILON = 1e-3


@dataclass(frozen=True, kw_only=True)
class Sphere:
    """A ball."""

    centre: F32
    radius: float

    def hit(self, origin: F32, rays: F32) -> F32:
        """Return how far along each ray (N,) the ball begins; infinite where it is missed."""
        offset = origin - self.centre[:, None]
        b = (offset * rays).sum(axis=0)
        inside = b * b - (offset * offset).sum(axis=0) + self.radius**2
        t = -b - np.sqrt(np.maximum(inside, 0))
        return np.where((inside > 0) & (t > EPSILON), t, FAR).astype(np.float32)

    def normal(self, points: F32) -> F32:
        """Return the outward unit normals (3, M) at points (3, M) of the surface."""
        return (points - self.centre[:, None]) / np.float32(self.radius)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box turned about the vertical by ``yaw`` radians; ``half`` are its half sizes."""

    centre: F32
    half: F32
    yaw: float

    def hit(self, origin: F32, rays: F32) -> F32:
        """Return how far along each ray (N,) the box begins; infinite where it is missed."""
        start = _turn(origin - self.centre[:, None], -self.yaw)
        along = _turn(rays, -self.yaw)
        inverse = 1 / np.where(np.abs(along) < 1e-6, np.float32(1e-6), along)
        middle, reach = -start * inverse, np.abs(inverse) * self.half[:, None]
        near, far = (middle - reach).max(axis=0), (middle + reach).min(axis=0)
        return np.where((near < far) & (near > EPSILON), near, FAR).astype(np.float32)

    def normal(self, points: F32) -> F32:
        """Return the outward unit normals (3, M) at points (3, M) of the surface."""
        local = _turn(points - self.centre[:, None], -self.yaw) / self.half[:, None]
        axis = np.abs(local).argmax(axis=0)
        index = np.arange(local.shape[1])
        normal = np.zeros_like(local)
        normal[axis, index] = np.sign(local[axis, index])
        return _turn(normal, self.yaw)


@dataclass(frozen=True, kw_only=True)
class Cylinder:
    """An upright cylinder with flat ends; ``half`` is half its height."""

    centre: F32
    radius: float
    half: float

    def hit(self, origin: F32, rays: F32) -> F32:
        """Return how far along each ray (N,) the cylinder begins; infinite where it is missed."""
        start = origin - self.centre[:, None]
        a = np.maximum(rays[0] ** 2 + rays[2] ** 2, 1e-9)
        b = start[0] * rays[0] + start[2] * rays[2]
        c = start[0] ** 2 + start[2] ** 2 - self.radius**2
        root = b * b - a * c
        wide = np.sqrt(np.maximum(root, 0))
        inverse = 1 / np.where(np.abs(rays[1]) < 1e-6, np.float32(1e-6), rays[1])
        middle, reach = -start[1] * inverse, np.abs(inverse) * self.half
        near = np.maximum((-b - wide) / a, middle - reach)
        far = np.minimum((-b + wide) / a, middle + reach)
        met = (root > 0) & (near < far) & (near > EPSILON)
        return np.where(met, near, FAR).astype(np.float32)

    def normal(self, points: F32) -> F32:
        """Return the outward unit normals (3, M) at points (3, M) of the surface."""
        local = points - self.centre[:, None]
        side = np.hypot(local[0], local[2]) / self.radius
        cap = np.abs(local[1]) / self.half > side
        normal = np.where(cap, 0, local / np.float32(self.radius))
        normal[1] = np.where(cap, np.sign(local[1]), 0)
        return normal.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Plane:
    """An endless plane through ``point`` that faces along ``facing`` (a unit vector)."""

    point: F32
    facing: F32

    def hit(self, origin: F32, rays: F32) -> F32:
        """Return how far along each ray (N,) the plane is; infinite where it is missed."""
        fall = self.facing @ rays
        height = self.facing @ (origin - self.point[:, None])
        t = -height / np.where(np.abs(fall) < 1e-6, np.float32(1e-6), fall)
        return np.where((fall < -1e-6) & (t > EPSILON), t, FAR).astype(np.float32)

    def normal(self, points: F32) -> F32:
        """Return the unit normal at each of the points (3, M)."""
        return np.broadcast_to(self.facing[:, None], points.shape)


Primitive = Sphere | Box | Cylinder | Plane


def _turn(vectors: F32, yaw: float) -> F32:
    """Turn (3, N) about the vertical."""
    cos, sin = np.float32(np.cos(yaw)), np.float32(np.sin(yaw))
    return np.stack(
        [cos * vectors[0] + sin * vectors[2], vectors[1], cos * vectors[2] - sin * vectors[0]]
    )
