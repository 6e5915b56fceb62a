"""Make ``examples/sample.mp4``: things that move over a concrete floor, seen from above.

    python examples/make_sample_video.py

A ball rolls in, strikes a bowl, which slides off, and rolls back against a tape measure. All are
photographs (``examples/material``) that training has not seen. The sun stands low at the lower
left, as it does in the photograph of the floor and the bowl.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lavin_deploy.arrays import F32, U8

Floats = NDArray[np.float64]

HERE = Path(__file__).parent
WIDTH, HEIGHT, RATE, SECONDS = 384, 288, 20, 5.0
ZOOM = 2  # frames are drawn this much larger, then shrunk
SUN = np.array([0.75, -0.55])  # where shadows fall to, x right and y down, per height of a thing


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A picture lying on the floor.

    Attributes:
        picture: (H, W, 4) float32, premultiplied RGBA in [0, 255].
        size: its long side in floor units (1 unit = 1 pixel of the video before the camera moves).
        height: how high it stands over the floor, in floor units.
    """

    picture: F32
    size: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where a thing is: centre (x, y) in floor units and turn in degrees, clockwise."""

    x: float
    y: float
    turn: float = 0.0


def slide(start: float, time: float, speed: float, slowing: float) -> float:
    """Return how far a thing has slid that got ``speed`` at ``start`` and slows down evenly."""
    passed = np.clip(time - start, 0, speed / slowing)
    return float(speed * passed - slowing * passed**2 / 2)


def load(name: str, turn: int = 0) -> F32:
    """Read a cut-out, turned by ``turn`` quarter turns to the right, with premultiplied colour."""
    with Image.open(HERE / "material" / "cutouts" / f"{name}.png") as opened:
        rgba = np.rot90(np.asarray(opened.convert("RGBA"), np.float32), -turn).copy()
    rgba[..., :3] *= rgba[..., 3:] / 255
    return np.pad(rgba, ((2, 2), (2, 2), (0, 0)))


def rolled(heading: float, angle: float) -> Floats:
    """Return the 3x3 rotation of a ball that rolled by ``angle``; both in radians."""
    axis = np.array([-np.sin(heading), np.cos(heading), 0.0])
    cross = np.cross(np.eye(3), axis)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def ball(picture: F32, turned: Floats) -> F32:
    """Show a photographed ball after a rotation.

    Args:
        picture: (N, N, 4) premultiplied; the ball fills it.
        turned: 3x3 rotation, axes x right, y down, z to the camera.

    Returns:
        (N, N, 4) premultiplied; the unseen back of the ball mirrors its front.
    """
    side = picture.shape[0]
    y, x = (np.mgrid[0:side, 0:side] + 0.5) * (2 / side) - 1
    inside = x * x + y * y
    z = np.sqrt(np.maximum(1 - inside, 0))
    first = np.tensordot(turned.T, np.stack([x, y, z]), axes=1)
    reach = 0.93  # the rim of the photo is left out
    column = ((first[0] * reach + 1) * side / 2 - 0.5).astype(np.float32)
    row = ((first[1] * reach + 1) * side / 2 - 0.5).astype(np.float32)
    colour = cv2.remap(picture[..., :3], column, row, cv2.INTER_LINEAR)
    # Light from the lower left and from the sky; the photo's own is nearly flat.
    bright = 0.62 + 0.42 * np.clip(-0.55 * x + 0.42 * y + 0.72 * z, 0, 1)
    alpha = np.clip((1 - np.sqrt(inside)) * side / 2 - 0.5, 0, 1)[..., None]
    return np.dstack([colour * bright[..., None] * alpha, alpha * 255]).astype(np.float32)


def place(thing: Thing, pose: Pose, camera: Floats, shift: Floats, size: tuple[int, int]) -> F32:
    """Draw a thing into a frame (height, width): (height, width, 4) premultiplied float32."""
    height, width = thing.picture.shape[:2]
    scale = thing.size / max(height, width)
    turn = cv2.getRotationMatrix2D((0, 0), -pose.turn, scale)[:, :2]
    centre = np.array([pose.x, pose.y]) + shift
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    floor = np.column_stack([turn, centre - turn @ middle])
    matrix = camera[:, :2] @ floor
    matrix[:, 2] += camera[:, 2]
    shrink = scale * float(camera[0, 0])
    picture = thing.picture
    if shrink < 1:  # keep what is above the new sampling rate out
        picture = cv2.GaussianBlur(picture, (0, 0), 0.45 / shrink)
    return np.asarray(cv2.warpAffine(picture, matrix, size[::-1], flags=cv2.INTER_LINEAR))


def light(
    things: list[tuple[Thing, Pose]], camera: Floats, level: float, size: tuple[int, int]
) -> F32:
    """Return the share of light (height, width, 3) that things let fall on what is at a height."""
    half = (size[0] // 2, size[1] // 2)  # shadows are soft
    dark = np.zeros(half, np.float32)
    for thing, pose in things:
        for above in np.linspace(0, thing.height - level, 9):  # a solid, not a sheet of paper
            layer = place(thing, pose, camera / 2, SUN * above, half)
            dark = np.maximum(dark, layer[..., 3] / 255)
    dark = cv2.GaussianBlur(dark, (0, 0), 1.1 * ZOOM)
    dark = cv2.resize(dark, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 - 0.55 * dark[..., None] * np.array([1.0, 0.97, 0.92], np.float32))


def draw(floor: U8, things: list[tuple[Thing, Pose]], camera: Floats) -> U8:
    """Draw one frame (HEIGHT, WIDTH, 3) uint8.

    Args:
        floor: the ground, (H, W, 3) uint8, ``ZOOM`` pixels a floor unit.
        things: what lies on it, from below to above.
        camera: 2x3 map from floor units to pixels of the large frame.
    """
    size = (HEIGHT * ZOOM, WIDTH * ZOOM)
    ground = camera.copy()
    ground[:, :2] /= ZOOM
    canvas = cv2.warpAffine(floor, ground, size[::-1], flags=cv2.INTER_LINEAR).astype(np.float32)
    canvas *= light(things, camera, 0.0, size)
    for thing, pose in things:
        layer = place(thing, pose, camera, np.zeros(2), size)
        taller = [each for each in things if each[0].height > thing.height]
        lit = layer[..., :3] * light(taller, camera, thing.height, size)
        canvas = canvas * (1 - layer[..., 3:] / 255) + lit
    small = cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(small + 0.5, 0, 255), np.uint8)


def scene(floor: U8, time: float) -> U8:
    """Draw the frame at ``time`` seconds."""
    strike, nudge = 1.9, 3.2
    toward, away = np.deg2rad(-16), np.deg2rad(92)
    came = slide(0, min(time, strike), 95, 13)
    went = slide(strike, min(time, nudge), 30, 5) + slide(nudge, time, 9, 6)
    x = 30 + came * np.cos(toward) + went * np.cos(away)
    y = 205 + came * np.sin(toward) + went * np.sin(away)
    turned = rolled(away, went / 28) @ rolled(toward, came / 28)
    pushed = slide(strike, time, 34, 12.5)
    bowl = Pose(x=247 + pushed * 0.9, y=122 - pushed * 0.4, turn=-slide(strike, time, 16, 6))
    shoved = slide(nudge, time, 17, 10)
    tape = Pose(x=147 + shoved * 0.2, y=242 + shoved * 0.7, turn=8 + slide(nudge, time, 14, 8))
    things = [
        (Thing(picture=TAPE, size=118, height=9), tape),
        (Thing(picture=BOWL, size=128, height=20), bowl),
        (Thing(picture=ball(BALL, turned), size=58, height=42), Pose(x=x, y=y)),
    ]
    eased = (1 - np.cos(np.pi * time / SECONDS)) / 2
    zoom = ZOOM * (1.03 + 0.05 * eased)
    left, top = 2 + 22 * eased, 5 + 12 * eased
    camera = np.array([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]])
    return draw(floor, things, camera)


def write(frames: list[U8], path: Path) -> None:
    """Encode frames as H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "22", "preset": "slow"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


BALL, BOWL, TAPE = load("baseball"), load("bowl", 1), load("tape-measure")


def main() -> None:
    """Write ``examples/sample.mp4``."""
    cv2.setNumThreads(1)
    with Image.open(HERE / "material" / "photos" / "concrete.jpg") as opened:
        floor = np.rot90(np.asarray(opened.convert("RGB"), np.uint8), -1).copy()
    scale = 2 * 430 / floor.shape[1]
    floor = np.asarray(cv2.resize(floor, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
    times = np.arange(round(RATE * SECONDS)) / RATE
    write([scene(floor, float(time)) for time in times], HERE / "sample.mp4")


if __name__ == "__main__":
    main()
