"""Published test sets as the user has them on disk, for the suite ``paper``.

Every picture is resized as a whole to the square it is measured at (bicubic, antialiased), so that
nothing of the truth is cut off. Objects and boxes are painted in one random colour on black, which
the pairs of an episode share: the paper draws a colour for each pair, but then no rule could say
which colour the answer should have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from lavin_deploy.arrays import F32, U8
from lavin_deploy.errors import InputError
from lavin_deploy.evaluation.paper_metrics import BOX_LINE, box_of, box_outline, near_share
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Style

Key = tuple[str, int]
"""Names a sample: a picture, and the class that is asked for (0 where there are none)."""

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
MOST_OF_FRAME = 0.5


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """An input and its target, (S, S, 3) uint8, and for depth (S, S) float32 metres, 0 unknown."""

    input: U8
    target: U8
    depth: F32 | None = None


class PublishedSet(Protocol):
    """A test set: which samples each of its tasks has, and how they are painted."""

    def samples(self, task: str) -> Sequence[Key]:
        """Return the samples of a task, always in the same order; none if it is not its task."""
        ...

    def draw_style(self, task: str, rng: np.random.Generator) -> Style:
        """Draw what pairs and query of an episode share."""
        ...

    def draw(self, task: str, key: Key, style: Style, rng: np.random.Generator, size: int) -> Drawn:
        """Read a sample as pictures of ``size`` x ``size`` pixels."""
        ...


class Pascal5i:
    """Pascal-5i (Shaban et al., 2017): the 20 classes of VOC 2012 in four folds of five.

    Fold i, from 0, has the classes 5i + 1 .. 5i + 5; its tasks end in ``s1`` .. ``s4``. A sample
    is a picture of ``val.txt`` and one of the fold's classes in it; void pixels are background.
    Detection asks for the box round the class, painted as an outline on black, where the picture
    has no other class of the fold, one object of this class (as far as ``SegmentationObject``
    tells) and a box of less than half the frame.

    Args:
        folder: with ``JPEGImages``, ``SegmentationClassAug`` or ``SegmentationClass``, and
            ``ImageSets/Segmentation/val.txt``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        labels = [folder / name for name in ("SegmentationClassAug", "SegmentationClass")]
        self._labels = next((each for each in labels if each.is_dir()), labels[1])

    def samples(self, task: str) -> Sequence[Key]:
        """Return picture and class of every sample of the fold."""
        kind, _, fold = task.rpartition("_s")
        if kind not in ("pascal_segmentation", "pascal_detection"):
            return ()
        classes = set(range(5 * int(fold) - 4, 5 * int(fold) + 1))
        samples = []
        for name, present in self._classes.items():
            own = sorted(classes & present)
            if kind == "pascal_detection":
                own = own if len(own) == 1 and self._single(name, own[0]) else []
            samples += [(name, label) for label in own]
        return samples

    def draw_style(self, task: str, rng: np.random.Generator) -> Style:
        """Draw a colour far from black."""
        red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
        strong = max(red, green, blue) >= 128
        return Style(foreground=(red, green, blue)) if strong else self.draw_style(task, rng)

    def draw(self, task: str, key: Key, style: Style, rng: np.random.Generator, size: int) -> Drawn:
        """Paint the class, or the outline of the box round it."""
        name, label = key
        mask = self._label(name) == label
        square = Image.fromarray(mask.astype(np.uint8) * 255).resize((size, size), _BILINEAR)
        small = np.asarray(square) > 127
        if not small.any():
            small = np.asarray(square) == np.asarray(square).max()  # thinner than half a pixel
        if task.startswith("pascal_detection"):
            small = box_outline(box_of(small), (size, size), BOX_LINE)
        return Drawn(
            input=read_square(self._folder / "JPEGImages" / f"{name}.jpg", size),
            target=paint(small.astype(np.float32), style.foreground, style.background),
        )

    @cached_property
    def _classes(self) -> dict[str, set[int]]:
        """The classes, 1 to 20, of each picture."""
        file = self._folder / "ImageSets" / "Segmentation" / "val.txt"
        try:
            names = file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(
                f"{file} cannot be read ({reason}); pascal-5i/ has to be laid out as VOC "
                "2012, with JPEGImages, SegmentationClass and ImageSets/Segmentation/val.txt."
            ) from error
        return {name: set(np.unique(self._label(name)).tolist()) - {0, 255} for name in names}

    def _label(self, name: str) -> U8:
        file = self._labels / f"{name}.png"
        label = np.asarray(_open(file), np.uint8)
        if label.ndim != 2:
            raise InputError(f"{file} is in colours; a label picture holds one class per pixel.")
        return label

    def _single(self, name: str, label: int) -> bool:
        mask = self._label(name) == label
        top, left, bottom, right = box_of(mask)
        if (bottom - top) * (right - left) >= MOST_OF_FRAME * mask.size:
            return False
        file = self._folder / "SegmentationObject" / f"{name}.png"
        if not file.is_file():
            return True
        objects = np.unique(np.asarray(_open(file))[mask])
        return len(set(objects.tolist()) - {0, 255}) == 1


class NyuV2:
    """NYU Depth V2 (Silberman et al., 2012) as a folder of exported pictures.

    ``<id>_rgb.png`` and ``<id>_depth.png`` (uint16, millimetres, 0 unknown), and, where wanted,
    ``<id>_normal.png`` ((n + 1) / 2 as RGB, mid-grey unknown). The list of the 654 test pictures
    (Eigen et al., 2014) is not shipped: all pictures of the folder count, and no border is cut off.
    Depth is painted as inverse depth, near bright.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def samples(self, task: str) -> Sequence[Key]:
        """Return the ids that have a picture and what the task asks for."""
        kind = {"nyu_depth": "depth", "nyu_normals": "normal"}.get(task)
        names = sorted(
            file.name.removesuffix("_rgb.png") for file in self._folder.glob("[!.]*_rgb.png")
        )
        return [(name, 0) for name in names if (self._folder / f"{name}_{kind}.png").is_file()]

    def draw_style(self, task: str, rng: np.random.Generator) -> Style:
        """Near is white, far is black."""
        return Style()

    def draw(self, task: str, key: Key, style: Style, rng: np.random.Generator, size: int) -> Drawn:
        """Read a picture and its depth or normals; depth is resized to the nearest pixel."""
        name, _ = key
        photo = read_square(self._folder / f"{name}_rgb.png", size)
        if task == "nyu_normals":
            return Drawn(input=photo, target=read_square(self._folder / f"{name}_normal.png", size))
        file = self._folder / f"{name}_depth.png"
        stored = _open(file)
        if not stored.mode.startswith("I"):
            raise InputError(
                f"{file} has mode {stored.mode}; a depth picture is a 16-bit grey PNG in "
                "millimetres."
            )
        whole = Image.fromarray(np.asarray(stored, np.float32) / 1000)
        depth = np.asarray(whole.resize((size, size), Image.Resampling.NEAREST), np.float32)
        if not depth.any():
            raise InputError(f"{file} has no known depth; take it out of the folder.")
        target = paint(near_share(depth), style.foreground, style.background)
        return Drawn(input=photo, target=target, depth=depth)


class Photos:
    """Any folder of pictures, such as ImageNet's validation set, below it at any depth.

    Colourization: grey (ITU-R 601) in three channels. Inpainting: one grey (127) square of a
    quarter of the side at a random place.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def samples(self, task: str) -> Sequence[Key]:
        """Return every picture."""
        return self._files if task.startswith("imagenet_") else ()

    def draw_style(self, task: str, rng: np.random.Generator) -> Style:
        """There is nothing to draw."""
        return Style()

    def draw(self, task: str, key: Key, style: Style, rng: np.random.Generator, size: int) -> Drawn:
        """Take the colours, or a square, out of a picture."""
        target = read_square(self._folder / key[0], size)
        if task == "imagenet_colorization":
            grey = np.asarray(Image.fromarray(target).convert("L"), np.uint8)
            return Drawn(input=np.repeat(grey[..., None], 3, axis=2), target=target)
        side = round(size / 4)
        y, x = (int(place) for place in rng.integers(0, size - side + 1, 2))
        holed = target.copy()
        holed[y : y + side, x : x + side] = 127
        return Drawn(input=holed, target=target)

    @cached_property
    def _files(self) -> list[Key]:
        files = (f for f in self._folder.rglob("[!.]*") if f.suffix.lower() in PICTURES)
        return sorted((str(file.relative_to(self._folder)), 0) for file in files)


_BILINEAR = Image.Resampling.BILINEAR


def read_square(file: Path, size: int) -> U8:
    """Read a picture, resized as a whole to (size, size, 3) uint8 RGB.

    Raises:
        InputError: it is not there or no picture.
    """
    picture = _open(file).convert("RGB")
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC), np.uint8)


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as picture:
            picture.load()
            return picture
    except OSError as error:
        raise InputError(f"{file} cannot be read as a picture ({error}).") from error
