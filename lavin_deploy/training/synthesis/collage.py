"""Photo collage: real cut-outs over real photographs, with exact masks."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lavin_deploy.arrays import F32, U8
from lavin_deploy.errors import InputError
from lavin_deploy.training.data.inventory import Inventory
from lavin_deploy.training.data.readers import SHOT, SHOT_FRAMES
from lavin_deploy.training.data.shards import Shards
from lavin_deploy.training.synthesis import appearance

TRIES = 24


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One composed or rendered picture with its truth. S is the side asked for.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        instances: (S, S) uint8, 0 = background, 1.. = objects from back to front.
        fine_instances: (2S, 2S) uint8, the same at twice the size; alpha cut at 0.5.
        alpha: (S, S) float32 in [0, 1], the soft alpha of all objects together.
        coverage: (S, S) float32 in [0, 1], share of each pixel that ``fine_instances`` covers:
            the hard mask, antialiased.
        background: (S, S, 3) uint8 RGB without the objects.
        depth: (S, S) float32, or None where the scene has none; see ``rendered``.
        normals: (S, S, 3) float32 unit vectors, or None.
    """

    image: U8
    instances: U8
    fine_instances: U8
    alpha: F32
    coverage: F32
    background: U8
    depth: F32 | None = None
    normals: F32 | None = None


@dataclass(frozen=True)
class Placed:
    """A cut-out put into the frame.

    Attributes:
        level: (H, W, 4) uint8 RGBA, premultiplied.
        matrix: (2, 3) float64, from its pixels to those of a frame at zoom 1.
        flip: whether it is mirrored first.
    """

    level: U8
    matrix: NDArray[np.float64]
    flip: bool

    @property
    def alpha(self) -> U8:
        """(H, W) uint8."""
        return np.ascontiguousarray(self.level[..., 3])


class Collage:
    """The photographs and cut-outs of one split in memory, and random scenes made of them.

    Args:
        photos: (H, W, 3) uint8 RGB each.
        cutouts: (H, W, 4) uint8 RGBA each, straight alpha.
        scene: per photo, whether it is free of a main object; those that are not serve as
            backgrounds only now and then and only in close crops. None means all are.
        foreground: least and largest share of the frame that the objects cover.
        labelled: per labelled task, pictures (H, W, 3) and their targets, (H, W) or (H, W, 3).
        kinds: per cut-out, the category of what it shows; None means each is of its own.
        shots: of a film, some frames each, (T, H, W, 3) uint8.
    """

    def __init__(
        self,
        photos: Sequence[U8],
        cutouts: Sequence[U8],
        scene: Sequence[bool] | None = None,
        foreground: tuple[float, float] = (0.05, 0.40),
        labelled: Mapping[str, Sequence[tuple[U8, U8]]] | None = None,
        kinds: Sequence[str] | None = None,
        shots: Sequence[U8] = (),
    ) -> None:
        if not photos or not cutouts:
            raise InputError(
                f"a collage needs photos and cut-outs; given {len(photos)} and {len(cutouts)}."
            )
        self.photos = list(photos)
        self.foreground = foreground
        self.labelled = dict(labelled or {})
        self.shots = list(shots)
        flags = [True] * len(photos) if scene is None else list(scene)
        self.scenes = [index for index, flag in enumerate(flags) if flag] or list(
            range(len(photos))
        )
        self.subjects = [index for index, flag in enumerate(flags) if not flag] or self.scenes
        self.pyramids = [_pyramid(cutout) for cutout in cutouts]
        self.kinds = [str(n) for n in range(len(cutouts))] if kinds is None else list(kinds)

    @classmethod
    def load(
        cls, folder: Path, split: str, foreground: tuple[float, float] = (0.05, 0.40)
    ) -> Collage:
        """Decode one split of a prepared folder (see ``prepare.prepare``) into memory.

        Raises:
            InputError: the folder is not prepared or has nothing in that split.
        """
        items = [item for item in Inventory.load(folder).items if item.split == split]
        photos = [item for item in items if item.kind == "photo"]
        cutouts = [item for item in items if item.kind == "cutout"]
        shards = Shards(folder)
        labelled: dict[str, list[tuple[U8, U8]]] = defaultdict(list)
        for item in items:
            if item.target:
                pair = (_read(shards, item.path, "RGB"), _read(shards, item.target))
                labelled[item.kind].append(pair)
        return cls(
            [_read(shards, item.path, "RGB") for item in photos],
            [_read(shards, item.path, "RGBA") for item in cutouts],
            [item.scene for item in photos],
            foreground,
            labelled,
            [_kind(item.file) for item in cutouts],
            [
                np.stack(np.split(_read(shards, item.path, "RGB"), SHOT_FRAMES))
                for item in items
                if item.kind == SHOT
            ],
        )

    def photo(self, rng: np.random.Generator, size: int, jitter: bool = True) -> U8:
        """Draw a random crop of any photo, mirrored half of the time: (size, size, 3) uint8 RGB.

        Args:
            rng: source of the choice.
            size: side of the answer.
            jitter: whether colours and brightness change too.
        """
        photo = self.photos[int(rng.integers(len(self.photos)))]
        crop = appearance.crop(rng, photo, size, 0.45, 1.0)
        return appearance.jitter(rng, crop) if jitter else crop

    def sample(self, rng: np.random.Generator, size: int) -> Scene:
        """Compose a random scene of one to three cut-outs over a photo.

        Args:
            rng: every choice comes from it; the same state gives the same scene.
            size: side S of the square frame in pixels.
        """
        placed, fine = self.place(rng, size)
        background = self.background(rng, size)
        canvas: F32 = background.astype(np.float32)
        alpha: F32 = np.zeros((size, size), np.float32)
        soften = float(rng.uniform(0.3, 0.7)) * size / 128 if rng.random() < 0.4 else 0.0
        for item in placed:
            layer = warp(item, item.level, 1, size)
            if soften > 0.15:
                layer = cv2.GaussianBlur(layer, (0, 0), soften)
            opacity = layer[..., 3] / np.float32(255)
            if rng.random() < 0.25:
                canvas *= appearance.shadow(rng, opacity)[..., None]
            layer[..., :3] = appearance.recolour(rng, layer, opacity, canvas)
            canvas = layer[..., :3] + canvas * (1 - opacity[..., None])
            alpha = opacity + alpha * (1 - opacity)
        image = appearance.camera(rng, canvas)
        share = cv2.resize(
            (fine > 0).astype(np.float32), (size, size), interpolation=cv2.INTER_AREA
        )
        return Scene(
            image=image,
            instances=np.ascontiguousarray(fine[1::2, 1::2]),
            fine_instances=fine,
            alpha=alpha,
            coverage=share,
            background=background,
        )

    def background(self, rng: np.random.Generator, size: int) -> U8:
        """Draw what things are put on, a scene or a close crop: (size, size, 3) uint8 RGB."""
        if rng.random() < 0.7:
            photo = self.photos[self.scenes[int(rng.integers(len(self.scenes)))]]
            crop = appearance.crop(rng, photo, size, 0.45, 1.0)
        else:
            photo = self.photos[self.subjects[int(rng.integers(len(self.subjects)))]]
            crop = appearance.crop(rng, photo, size, 0.25, 0.5)
        picture = appearance.jitter(rng, crop)
        if rng.random() < 0.2:  # out of focus
            picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 2.5)) * size / 128)
        return picture

    def place(self, rng: np.random.Generator, size: int) -> tuple[list[Placed], U8]:
        """Draw placements until the covered share is within ``foreground``.

        Returns:
            One to three cut-outs from back to front, and their numbers (2 size, 2 size) uint8.
        """
        low, high = self.foreground
        for attempt in range(10 * TRIES):
            count = int(rng.choice((1, 1, 1, 2, 2, 3))) if attempt < TRIES else 1
            placed: list[Placed] = []
            fine = np.zeros((2 * size, 2 * size), np.uint8)
            for number in range(count):
                item = self._draw(rng, size, count, centred=attempt >= TRIES)
                mask = warp(item, item.alpha, 2, size)
                fine[mask > 127] = number + 1
                placed.append(item)
            if low <= np.count_nonzero(fine) / fine.size <= high:
                return placed, fine
        raise InputError(
            f"no cut-out covers between {low:.0%} and {high:.0%} of the frame; widen 'foreground'."
        )

    def level(self, number: int, side: float) -> U8:
        """A cut-out's smallest premultiplied copy whose long side has ``side`` pixels or more."""
        level, *smaller = self.pyramids[number]
        for each in smaller:
            if max(each.shape[:2]) >= side:
                level = each
        return level

    def _draw(self, rng: np.random.Generator, size: int, count: int, centred: bool) -> Placed:
        number = int(rng.integers(len(self.pyramids)))
        largest = (0.9, 0.7, 0.55)[count - 1]
        side = float(rng.uniform(0.3, largest)) * size
        level = self.level(number, side)
        height, width = level.shape[:2]
        scale = side / max(height, width)
        angle = float(np.clip(rng.normal(0, 12), -30, 30))
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        turn = cv2.getRotationMatrix2D((0, 0), angle, scale)[:, :2]
        stretch = float(np.exp(rng.uniform(-0.2, 0.2)))
        linear = turn @ np.diag([min(stretch, 1.0), min(1 / stretch, 1.0)])
        reach = 0.0 if centred else 0.36
        centre = (0.5 + rng.uniform(-reach, reach, 2)) * size
        matrix = np.column_stack([linear, centre - 0.5 - linear @ middle])
        return Placed(level, matrix, bool(rng.random() < 0.5))


def _kind(file: str) -> str:
    """The folder of a source file; one that lies in none is a category by itself."""
    path = PurePosixPath(file)
    return str(path.parent) if len(path.parts) > 1 else path.name


def _read(shards: Shards, path: str, mode: str | None = None) -> U8:
    with Image.open(io.BytesIO(shards.read(path))) as opened:
        return np.asarray(opened.convert(mode) if mode else opened, np.uint8)


def _pyramid(rgba: U8) -> list[U8]:
    """Return premultiplied copies, each half as large: the prefilter for shrinking warps."""
    colour = rgba.astype(np.float32)
    colour[..., :3] *= colour[..., 3:] / 255
    padded = np.pad(colour, ((2, 2), (2, 2), (0, 0)))  # so that edges fade to nothing
    levels = [padded]
    while min(levels[-1].shape[:2]) >= 16 and max(levels[-1].shape[:2]) >= 24:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return [np.clip(level + 0.5, 0, 255).astype(np.uint8) for level in levels]


def warp(item: Placed, picture: U8, zoom: int, size: int) -> F32:
    """Map a level (or its alpha) into a frame ``zoom * size`` wide: float32 in [0, 255]."""
    matrix = item.matrix.copy()
    if item.flip:
        matrix[:, 2] += matrix[:, 0] * (picture.shape[1] - 1)
        matrix[:, 0] *= -1
    matrix *= zoom
    matrix[:, 2] += (zoom - 1) / 2  # pixel centres lie at half-integers
    side = zoom * size
    warped = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.float32)
