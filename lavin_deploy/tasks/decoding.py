"""Reading painted answers back: boxes from outlines, segments from colours, limbs from a skeleton.

Truth and answer are read by the same rules. These bear colours that are not quite right and lines
blurred by about a pixel, as an autoencoder leaves them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import F64, U8, Mask
from lavin_deploy.tasks.painting import Colour

Labels = NDArray[np.int32]
Boxes = NDArray[np.float64]

DARK = 64
"""Pixels whose brightest channel is below this are black."""

LIMBS: tuple[tuple[str, str], ...] = (
    ("neck", "right_shoulder"),
    ("neck", "left_shoulder"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("neck", "right_hip"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
    ("neck", "left_hip"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("neck", "nose"),
)
"""Limbs in OpenPose's order (Cao et al., 2019) without eyes and ears; left is the figure's."""


def _rainbow(count: int) -> tuple[Colour, ...]:
    hue = np.arange(count)[:, None] * 6 / count + np.array([0.0, 4.0, 2.0])
    rgb = np.round(255 * np.clip(np.abs(hue % 6 - 3) - 1, 0, 1)).astype(int)
    return tuple((r, g, b) for r, g, b in rgb.tolist())


LIMB_COLOURS = _rainbow(len(LIMBS))
"""Of ``LIMBS``: pure hues at equal steps from red on, so that limbs that meet are near in hue."""


def line_width(size: int) -> int:
    """Return how wide box outlines are in pixels: 2 at 128, in proportion elsewhere, at least 1."""
    return max(1, round(2 * size / 128))


def boxes(image: U8) -> Boxes:
    """Read boxes from outlines on black.

    Pixels that are not black are grouped by hue (colour over its brightest channel, since blur on
    black changes brightness alone); of a group count those brighter than half of its bright ones.
    Components of one group whose extents come within three line widths of each other are one
    outline, because outlines hide parts of others that they cross; its extents are a box if most of
    its pixels lie along their border and fill half of it. What is no outline, such as a photograph,
    gives no box.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (N, 4) float64 left, top, right, bottom in pixels, right and bottom exclusive.
    """
    width = line_width(image.shape[0])
    bright = image.max(axis=-1).astype(np.float64)
    lit = bright >= DARK
    hues = image / np.maximum(bright, 1)[..., None]
    labels = _grouped(hues, lit, radius=0.25, least=8 * width)
    outlines: list[tuple[int, int, int, int]] = []
    for number in range(1, int(labels.max(initial=0)) + 1):
        group = labels == number
        group &= bright > 0.5 * np.quantile(bright[group], 0.9)
        components = [each for each in _components(group) if len(each) >= 4 * width]
        extents = _joined([_extent(each) for each in components], reach=3 * width)
        outlines += [box for box in extents if _is_outline(group, box, width)]
    return np.array(outlines, np.float64).reshape(-1, 4)


def segments(image: U8, least: float = 0.002) -> Labels:
    """Read segments from colours: pixels of about one colour are a segment, black ones void.

    Colours are taken where the picture is flat (no channel differs by 24 from a neighbour's), most
    frequent first, each with all that lies within 36 of it (Euclidean RGB). The remaining pixels
    go to the nearest colour within 60, or are void. A segment need not be connected, because a
    thing in front may cut it in two.

    Args:
        image: (H, W, 3) uint8.
        least: share of the frame that a segment's flat part must cover.

    Returns:
        (H, W) int32, 0 = void, 1.. = segments.
    """
    pixels = image.astype(np.float64)
    bright = image.max(axis=-1) >= DARK
    seeds = _grouped(pixels, bright & _flat(image), radius=36.0, least=max(2, least * bright.size))
    count = int(seeds.max(initial=0))
    if not count:
        return seeds
    centres = np.stack([pixels[seeds == number].mean(axis=0) for number in range(1, count + 1)])
    distance = np.linalg.norm(pixels[:, :, None] - centres, axis=-1)
    near = (distance.min(axis=-1) < 60) & bright
    return np.where(near, distance.argmin(axis=-1) + 1, 0).astype(np.int32)


def limbs(image: U8) -> list[Mask]:
    """Read a skeleton on black: for each of ``LIMBS``, the pixels (H, W) nearest to its hue.

    Black are pixels below half of full brightness; grey ones (least channel over half of the
    brightest) belong to no limb.
    """
    bright = image.max(axis=-1).astype(np.float64)
    hues = image / np.maximum(bright, 1)[..., None]
    distance = np.linalg.norm(hues[:, :, None] - np.array(LIMB_COLOURS) / 255, axis=-1)
    nearest = np.where((bright > 127) & (hues.min(axis=-1) < 0.5), distance.argmin(axis=-1), -1)
    return [nearest == number for number in range(len(LIMBS))]


def _grouped(values: F64, where: Mask, radius: float, least: float) -> Labels:
    """Group colours (H, W, 3) around their most frequent ones: (H, W) int32, 0 = in no group."""
    labels = np.zeros(where.shape, np.int32)
    left = np.flatnonzero(where)
    flat = values.reshape(-1, 3)
    number = 0
    while len(left) >= least:
        own = flat[left]
        _, inverse, counts = np.unique(
            np.floor(own / radius).astype(np.int64) @ np.array([1 << 20, 1 << 10, 1]),
            return_inverse=True,
            return_counts=True,
        )
        centre = own[inverse == counts.argmax()].mean(axis=0)
        near = np.linalg.norm(own - centre, axis=1) < radius
        near = np.linalg.norm(own - own[near].mean(axis=0), axis=1) < radius
        if np.count_nonzero(near) < least:
            break
        number += 1
        labels.ravel()[left[near]] = number
        left = left[~near]
    return labels


def _flat(image: U8, step: int = 24) -> Mask:
    """Return the pixels (H, W) that differ from none of four neighbours by ``step`` or more."""
    values = np.pad(image.astype(np.int16), ((1, 1), (1, 1), (0, 0)), mode="edge")
    inner = values[1:-1, 1:-1]
    around = (values[:-2, 1:-1], values[2:, 1:-1], values[1:-1, :-2], values[1:-1, 2:])
    steps = np.max([np.abs(inner - each).max(axis=-1) for each in around], axis=0)
    return np.asarray(steps < step)


def _components(mask: Mask) -> list[NDArray[np.int64]]:
    """Return the 8-connected components of a mask, (N, 2) rows and columns each."""
    left = set(map(tuple, np.argwhere(mask).tolist()))
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    components = []
    while left:
        component = [left.pop()]
        for y, x in component:  # grows while it is walked
            near = {(y + dy, x + dx) for dy, dx in steps} & left
            left -= near
            component.extend(near)
        components.append(np.array(component, np.int64))
    return components


def _extent(component: NDArray[np.int64]) -> tuple[int, int, int, int]:
    (top, left), (bottom, right) = component.min(axis=0).tolist(), component.max(axis=0).tolist()
    return left, top, right + 1, bottom + 1


def _joined(
    extents: list[tuple[int, int, int, int]], reach: int
) -> list[tuple[int, int, int, int]]:
    """Unite extents that come within ``reach`` of each other until none do."""
    done: list[tuple[int, int, int, int]] = []
    waiting = list(extents)
    while waiting:
        left, top, right, bottom = waiting.pop()
        near = [
            each
            for each in done
            if max(left, each[0]) - min(right, each[2]) <= reach
            and max(top, each[1]) - min(bottom, each[3]) <= reach
        ]
        if not near:
            done.append((left, top, right, bottom))
            continue
        done = [each for each in done if each not in near]
        edges = np.array([(left, top, right, bottom), *near])
        low, high = edges.min(axis=0).tolist(), edges.max(axis=0).tolist()
        waiting.append((low[0], low[1], high[2], high[3]))
    return done


def _is_outline(mask: Mask, box: tuple[int, int, int, int], width: int) -> bool:
    """Whether 60 % of what the mask has in a box is border, and half of the border is filled.

    A box narrower than three lines is the seam of two that run beside each other.
    """
    left, top, right, bottom = box
    if min(right - left, bottom - top) < 3 * width:
        return False
    part, band = mask[top:bottom, left:right], 2 * width
    inner = part[band:-band, band:-band]
    on_border = np.count_nonzero(part) - np.count_nonzero(inner)
    sides = (part[:band].any(0), part[-band:].any(0), part[:, :band].any(1), part[:, -band:].any(1))
    filled = np.concatenate(sides).mean()
    return bool(on_border >= 0.6 * np.count_nonzero(part) and filled >= 0.5)
