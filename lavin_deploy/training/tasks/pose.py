"""Figures like people, drawn over pictures, whose joints are known.

Body parts are round bars (capsules) shaded like cylinders, in cloth cut from photographs and in
plain skin. A figure faces the viewer, so its right is on the picture's left, and lies within the
frame. Lengths are shares of the standing height, after usual proportions of adults (Winter,
Biomechanics, 2009, fig. 4.1), and vary by a sixth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import F32, U8
from lavin_deploy.tasks.decoding import LIMB_COLOURS, LIMBS
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis import appearance
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import FromCollage, Sample, picture

Point = NDArray[np.float64]
Joints = dict[str, Point]

SIDES = (("right", -1), ("left", 1))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A round bar from one point to another; ``radii`` in pixels at its two ends."""

    ends: tuple[Point, Point]
    radii: tuple[float, float]
    cloth: F32


class Pose(FromCollage):
    """Draw the skeleton of one or two figures: ``decoding.LIMBS`` in their colours on black.

    Lines are 3 px wide at 128 px. Limbs that are hidden are drawn too.
    """

    name = "pose"
    deterministic = True

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a picture, figures over it, and their skeletons."""
        canvas = picture(rng, self.data, size).astype(np.float32)
        target = np.zeros((size, size, 3), np.uint8)
        count = 1 if rng.random() < 0.7 else 2
        for number in range(count):
            joints = place(rng, draw_joints(rng), size, number, count)
            for part in dress(rng, self.data, joints, size):
                paint_part(canvas, part)
            draw_skeleton(target, joints)
        return Sample(appearance.camera(rng, canvas), target)


def draw_joints(rng: np.random.Generator) -> Joints:
    """Draw a pose: (2,) x and y of each joint of ``LIMBS``, y down, standing height about 1."""

    def length(share: float) -> float:
        return float(share * rng.uniform(5 / 6, 7 / 6))

    turn = float(rng.uniform(0.55, 1.0))  # how much of the width is seen
    lean = float(np.clip(rng.normal(0, 0.15), -0.5, 0.5))
    up, across = np.array([np.sin(lean), -np.cos(lean)]), np.array([np.cos(lean), np.sin(lean)])
    middle = np.zeros(2)
    joints: Joints = {"neck": middle + length(0.29) * up}
    nod = lean + float(rng.normal(0, 0.2))
    joints["nose"] = joints["neck"] + length(0.11) * np.array([np.sin(nod), -np.cos(nod)])
    shoulder, hip = length(0.11) * turn, length(0.07) * turn
    upper_arm, forearm, thigh, shin = (length(share) for share in (0.17, 0.16, 0.24, 0.24))
    for side, sign in SIDES:
        joints[f"{side}_shoulder"] = joints["neck"] + shoulder * sign * across + 0.01 * -up
        raised = float(rng.uniform(0.1, 2.6) if rng.random() < 0.5 else rng.uniform(-0.2, 0.7))
        bent = raised + float(rng.uniform(-0.3, 2.2))
        joints[f"{side}_elbow"] = joints[f"{side}_shoulder"] + upper_arm * _hang(raised, sign)
        joints[f"{side}_wrist"] = joints[f"{side}_elbow"] + forearm * _hang(bent, sign)
        joints[f"{side}_hip"] = middle + hip * sign * across
        spread = float(rng.uniform(-0.15, 0.9) if rng.random() < 0.4 else rng.uniform(-0.1, 0.3))
        back = spread - float(rng.uniform(0, 1.3) if rng.random() < 0.4 else rng.uniform(-0.1, 0.3))
        joints[f"{side}_knee"] = joints[f"{side}_hip"] + thigh * _hang(spread, sign)
        joints[f"{side}_ankle"] = joints[f"{side}_knee"] + shin * _hang(back, sign)
    return joints


def place(rng: np.random.Generator, joints: Joints, size: int, number: int, count: int) -> Joints:
    """Scale and move a pose into its share of the frame: one figure anywhere, two side by side.

    Args:
        rng: source of size and place.
        joints: standing height about 1.
        size: side of the frame in pixels.
        number: of the figure, from 0.
        count: of figures.

    Returns:
        Joints in pixels, ``size`` / 12 or more from the frame's edges for head, hands and feet.
    """
    points = np.stack(list(joints.values()))
    low, high = points.min(axis=0), points.max(axis=0)
    margin = size / 12
    width = (size - 2 * margin) * (1 if count == 1 else 0.6)
    room = np.array([width, size - 2 * margin])
    scale = float((room / np.maximum(high - low, 0.1)).min() * rng.uniform(0.6, 1.0))
    start = margin + np.array([number * (size - 2 * margin - width), 0.0])
    corner = start + rng.uniform(0, 1, 2) * (room - scale * (high - low))
    return {name: (point - low) * scale + corner for name, point in joints.items()}


def dress(rng: np.random.Generator, data: Collage, joints: Joints, size: int) -> list[Part]:
    """Return the parts of a body on these joints, from back to front."""
    trunk = (joints["left_hip"] + joints["right_hip"]) / 2
    unit = float(np.linalg.norm(joints["neck"] - trunk)) / 0.29
    build = unit * float(rng.uniform(0.8, 1.25))
    shirt, trousers = (data.photo(rng, size).astype(np.float32) for _ in range(2))
    tone = np.array([225, 180, 150], np.float32) * np.float32(rng.uniform(0.3, 1.1))
    skin = np.broadcast_to(tone, shirt.shape)
    sleeve = shirt if rng.random() < 0.5 else skin

    def part(a: Point, b: Point, wide: float, thin: float, cloth: F32) -> Part:
        return Part(ends=(a, b), radii=(wide * build, thin * build), cloth=cloth)

    legs = [
        bar
        for side, _ in SIDES
        for bar in (
            part(joints[f"{side}_knee"], joints[f"{side}_ankle"], 0.036, 0.022, trousers),
            part(joints[f"{side}_hip"], joints[f"{side}_knee"], 0.055, 0.038, trousers),
        )
    ]
    body = [
        part(joints[f"{side}_shoulder"], joints[f"{side}_hip"], 0.05, 0.055, shirt)
        for side, _ in SIDES
    ]
    body.append(part(joints["neck"] * 0.85 + trunk * 0.15, trunk, 0.06, 0.06, shirt))
    body.append(part(joints["neck"], joints["nose"], 0.032, 0.03, skin))
    arms = [
        [
            part(joints[f"{side}_shoulder"], joints[f"{side}_elbow"], 0.034, 0.027, shirt),
            part(joints[f"{side}_elbow"], joints[f"{side}_wrist"], 0.026, 0.019, sleeve),
            part(joints[f"{side}_wrist"], joints[f"{side}_wrist"], 0.024, 0.024, skin),
        ]
        for side, _ in SIDES
    ]
    up = (joints["nose"] - joints["neck"]) / np.linalg.norm(joints["nose"] - joints["neck"])
    crown = joints["nose"] + 0.045 * unit * up
    hair = np.broadcast_to(rng.uniform(10, 160) * np.array([1, 0.8, 0.6], np.float32), shirt.shape)
    head = [
        part(joints["nose"] + 0.05 * unit * up, crown, 0.066, 0.066, hair.astype(np.float32)),
        part(joints["nose"], joints["nose"] + 0.02 * unit * up, 0.05, 0.056, skin),
    ]
    behind: list[Part] = []
    before: list[Part] = []
    for arm in arms:
        (behind if rng.random() < 0.3 else before).extend(arm)
    return [*behind, *legs, *body, *head, *before]


def paint_part(canvas: F32, part: Part) -> None:
    """Paint a round bar over (S, S, 3) float32 in [0, 255]; light comes from the upper left."""
    size = canvas.shape[0]
    (a, b), (wide, thin) = part.ends, part.radii
    reach = max(wide, thin) + 2
    low = np.clip(np.floor(np.minimum(a, b) - reach), 0, size).astype(int)
    high = np.clip(np.ceil(np.maximum(a, b) + reach), 0, size).astype(int)
    if (high <= low).any():
        return
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    y, x = np.mgrid[window].astype(np.float32)
    along = b - a
    square = max(float(along @ along), 1e-6)
    share = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / square, 0, 1)
    dx, dy = x - (a[0] + share * along[0]), y - (a[1] + share * along[1])
    radius = np.maximum(wide + share * (thin - wide), 0.5)
    distance = np.hypot(dx, dy)
    cover = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    height = np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1))
    light = np.clip(0.45 + 0.5 * height - 0.25 * (dx + dy) / radius, 0.2, 1.15)[..., None]
    colour = np.clip(part.cloth[window] * light, 0, 255)
    canvas[window] += ((colour - canvas[window]) * cover).astype(np.float32)


def draw_skeleton(canvas: U8, joints: Joints) -> None:
    """Draw ``LIMBS`` in ``LIMB_COLOURS``, antialiased, into (S, S, 3) uint8."""
    width = max(1, round(3 * canvas.shape[0] / 128))
    for (first, second), colour in zip(LIMBS, LIMB_COLOURS, strict=True):
        ends = [[round(float(v) * 16) for v in joints[name]] for name in (first, second)]
        cv2.line(canvas, ends[0], ends[1], colour, width, cv2.LINE_AA, 4)


def _hang(angle: float, sign: int) -> Point:
    """Return the unit vector that hangs down, turned outwards on the side of ``sign``."""
    return np.array([sign * np.sin(angle), np.cos(angle)])
