"""``region``: scenes of random shapes and textures, of which the pair marks one label or several.

Shapes are label maps, intensities and textures are drawn by label, as SynthSeg does (Billot et
al., 2023, arXiv 2107.09559): what is asked can be told from the pair's picture alone.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import F32, U8
from lavin_deploy.training.families.follow import marked
from lavin_deploy.training.synthesis import appearance
from lavin_deploy.training.tasks.base import Family, Group

Labels = NDArray[np.int64]
CANVAS = 2
"""A texture and a deformable map are so many times as large as the frame."""


def smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> F32:
    """Noise blurred over the last two axes, of standard deviation 1."""
    planes = rng.standard_normal(shape, dtype=np.float32).reshape(-1, *shape[-2:])
    blurred = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in planes])
    blurred /= blurred.std(axis=(1, 2), keepdims=True) + np.float32(1e-6)
    return blurred.reshape(shape).astype(np.float32)


def noise_labels(rng: np.random.Generator, count: int, size: int, unit: int) -> Labels:
    """The largest of ``count`` smooth noises."""
    return np.asarray(smooth(rng, (count, size, size), rng.uniform(0.06, 0.16) * unit).argmax(0))


def voronoi_labels(rng: np.random.Generator, count: int, size: int, unit: int) -> Labels:
    """Cells of random points, several to a label, warped a little."""
    points = rng.uniform(0, size, (int(rng.integers(2, 5)) * count * (size // unit), 2))
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32)
    bend = smooth(rng, (2, size, size), 0.08 * unit) * rng.uniform(0, 0.04) * unit
    squares = [(cols + bend[0] - x) ** 2 + (rows + bend[1] - y) ** 2 for x, y in points]
    return np.asarray(np.argmin(squares, axis=0) % count)


def blob_labels(rng: np.random.Generator, count: int, size: int, unit: int) -> Labels:
    """Ellipses of all labels but the first, strewn over the first."""
    labels = np.zeros((size, size), np.uint8)
    for number in range(int(rng.integers(4, 9)) * (size // unit) ** 2):
        centre = [int(v) for v in rng.integers(0, size, 2)]
        axes = [int(v) for v in rng.uniform(0.06, 0.2, 2) * unit]
        colour = 1 + number % (count - 1)
        cv2.ellipse(labels, centre, axes, rng.uniform(0, 180), 0, 360, colour, -1)
    return np.asarray(labels, np.int64)


def grid_labels(rng: np.random.Generator, count: int, size: int, unit: int) -> Labels:
    """A warped checkerboard."""
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32)
    bend = smooth(rng, (2, size, size), 0.15 * unit) * rng.uniform(0.02, 0.1) * unit
    step = rng.uniform(0.18, 0.4) * unit
    across, down = ((axis + b) // step for axis, b in ((cols, bend[0]), (rows, bend[1])))
    table = rng.integers(0, count, (64, 64))
    return np.asarray(table[down.astype(int) % 64, across.astype(int) % 64])


def band_labels(rng: np.random.Generator, count: int, size: int, unit: int) -> Labels:
    """Warped bands in one direction; held out."""
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32)
    angle, step = rng.uniform(0, np.pi), rng.uniform(0.12, 0.3) * unit
    bend = smooth(rng, (size, size), 0.15 * unit) * rng.uniform(0.03, 0.12) * unit
    along = cols * np.cos(angle) + rows * np.sin(angle) + bend
    return np.asarray(rng.permutation(256)[(along // step).astype(int) % 256] % count)


SHAPES = (noise_labels, voronoi_labels, blob_labels, grid_labels)


class Region(Family):
    """Labels with a texture and a colour each; the pair marks one of them, or two.

    Half of the groups show one large map, deformed anew in each picture; the others draw a new map
    for each.
    """

    name = "region"
    answers = 4
    flat = False

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        """Draw textures of three to eight labels and ``count`` pictures of them."""
        labels = int(rng.integers(3, 5) if self.flat else rng.integers(3, 9))
        colours = apart(rng, labels, 120.0 if self.flat else 60.0)
        kinds = (band_labels,) if self.held_out else (noise_labels,) if self.flat else SHAPES
        shape = kinds[int(rng.integers(len(kinds)))]
        textures = None if self.flat else [self._texture(rng, size, c) for c in colours]
        large = None
        if not self.flat and rng.random() < 0.5:
            large = shape(rng, labels, CANVAS * size, size)
        pictures, maps = [], []
        for _ in range(count):
            own = shape(rng, labels, size, size) if large is None else deformed(rng, large, size)
            pictures.append(self._picture(rng, own, colours, textures))
            maps.append(own)
        asked = rng.permutation(labels)
        stacked = np.stack(maps)
        masks = [stacked == asked[k % labels] for k in range(self.answers)]
        if not self.flat:  # two labels at once
            masks[-1] = (stacked == asked[0]) | (stacked == asked[-1])
        shares = np.stack(masks, axis=1).astype(np.float32)
        return marked(rng, pictures, shares, plain=self.plain or self.flat)

    def _texture(self, rng: np.random.Generator, size: int, colour: F32) -> F32:
        """(2S, 2S, 3) float32: a photograph's grain, oriented noise, or flat, around a colour."""
        side, kind = CANVAS * size, rng.random()
        if kind < 0.4:
            photo = self.data.photo(rng, side, jitter=False).astype(np.float32)
            photo = photo - cv2.GaussianBlur(photo, (0, 0), 0.2 * size)
            return np.asarray(colour + photo * float(rng.uniform(0.3, 1.0)), np.float32)
        if kind < 0.7:
            wave = smooth(rng, (side, side), rng.uniform(0.006, 0.02) * size)
            long = cv2.GaussianBlur(
                wave, (0, 0), sigmaX=0.1, sigmaY=float(rng.uniform(0.01, 0.08)) * size
            )
            turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 180), 1.42)
            wave = cv2.warpAffine(long, turn, (side, side))
            tint = rng.normal(0, 1, 3).astype(np.float32) * 0.4 + 1
            return np.asarray(
                colour + wave[..., None] * tint * float(rng.uniform(10, 45)), np.float32
            )
        grain = rng.standard_normal((side, side, 1), dtype=np.float32)
        return np.asarray(colour + grain * float(rng.uniform(1, 12)), np.float32)

    def _picture(
        self, rng: np.random.Generator, labels: Labels, colours: F32, textures: list[F32] | None
    ) -> U8:
        size = labels.shape[0]
        if textures is None:
            picture = colours[labels]
            grain = rng.standard_normal((size, size, 1), dtype=np.float32)
            picture = picture + grain * float(rng.uniform(2, 14))
        else:
            picture = np.zeros((size, size, 3), np.float32)
            for label, texture in enumerate(textures):
                y, x = rng.integers(0, texture.shape[0] - size + 1, 2)
                where = labels == label
                picture[where] = texture[y : y + size, x : x + size][where]
            if rng.random() < 0.5:
                picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1.0)))
        light = smooth(rng, (size, size), 0.2 * size)[..., None]
        return appearance.camera(rng, picture + light * float(rng.uniform(0, 14)))


class FlatRegion(Region):
    """Three or four flat colours with grain: where reading a pair is easiest."""

    name = "region_flat"
    answers = 3
    flat = True


def apart(rng: np.random.Generator, count: int, least: float) -> F32:
    """Draw colours (count, 3) that differ by ``least`` grey levels in sum over the channels.

    The bound falls by a tenth where a draw does not meet it.
    """
    while True:
        colours = rng.integers(20, 236, (count, 3)).astype(np.float32)
        far = np.abs(colours[:, None] - colours).sum(-1) + 1e3 * np.eye(count)
        if far.min() >= least:
            return colours
        least *= 0.9


def deformed(rng: np.random.Generator, labels: Labels, size: int) -> Labels:
    """A window of a label map, turned, zoomed and bent: (S, S)."""
    large = labels.shape[0]
    matrix = cv2.getRotationMatrix2D((0, 0), rng.uniform(-25, 25), np.exp(rng.uniform(-0.15, 0.3)))
    reach = (large - size) / 4
    middle = large / 2 + rng.uniform(-reach, reach, 2)
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32) - size / 2
    bend = smooth(rng, (2, size, size), 0.15 * size) * float(rng.uniform(0, 0.05)) * size
    x = matrix[0, 0] * cols + matrix[0, 1] * rows + middle[0] + bend[0]
    y = matrix[1, 0] * cols + matrix[1, 1] * rows + middle[1] + bend[1]
    taken = cv2.remap(
        labels.astype(np.uint8),
        x.astype(np.float32),
        y.astype(np.float32),
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(taken, np.int64)
