"""Tasks with real labels: satellite, medical and microscopy pictures of a prepared folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.tasks.painting import Colour, paint
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis import appearance
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import FromCollage, Sample, deal


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a labelled task paints.

    Attributes:
        source: its name in ``catalogue.SOURCES``.
        kind: ``"mask"`` in two colours, ``"palette"`` in one colour per class, or ``"picture"``.
        classes: of a palette, the rest among them.
        turns: whether pictures may be mirrored up and down and turned, besides left and right;
            light in a relief comes from one side, so a picture target is not even mirrored.
        never_trained: whether the task is for evaluation only.
    """

    source: str
    kind: Literal["mask", "palette", "picture"]
    classes: int = 2
    turns: bool = False
    never_trained: bool = False


LABELLED: Mapping[str, Labels] = {
    "land_mask": Labels(source="satellite", kind="mask", turns=True),
    "relief": Labels(source="satellite", kind="picture"),
    "shaded_relief": Labels(source="satellite", kind="picture", never_trained=True),
    "brain_mask": Labels(source="mricron", kind="mask"),
    "tissue": Labels(source="nilearn", kind="palette", classes=3),
    "parcellation": Labels(source="mricron", kind="palette", classes=117, never_trained=True),
    "nuclei": Labels(source="stardist", kind="mask", turns=True),
    "scratch_assay": Labels(source="ndev", kind="mask", turns=True, never_trained=True),
}


class Labelled(FromCollage):
    """One of ``LABELLED``: square crops of its pictures and labels alike.

    Args:
        name: of the task.
        data: pictures of one split.

    Raises:
        InputError: the folder that the pictures are from has none for this task.
    """

    deterministic = True

    def __init__(self, name: str, data: Collage) -> None:
        super().__init__(data)
        self.name = name
        self.labels = LABELLED[name]
        self.pairs: Sequence[tuple[U8, U8]] = data.labelled.get(name, ())
        if not self.pairs:
            raise missing(name)

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Two colours far apart, or one colour per class; nothing where pictures are asked for."""
        if self.labels.kind == "picture":
            return Style()
        palette = draw_palette(rng, self.labels.classes)
        if self.labels.kind == "mask":
            return Style(foreground=palette[1], background=palette[0])
        return Style(palette=palette)

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Cut 65 to 100 % of the short side out of a random picture; its light varies."""
        return self._cut(rng, style, int(rng.integers(len(self.pairs))), size)

    def episode(
        self, rng: np.random.Generator, style: Style, size: int, count: int
    ) -> list[Sample]:
        """Deal out the pictures: none comes again before all have come."""
        dealt = deal(rng, len(self.pairs), count)
        return [self._cut(rng, style, number, size) for number in dealt]

    def _cut(self, rng: np.random.Generator, style: Style, number: int, size: int) -> Sample:
        image, target = self.pairs[number]
        place = appearance.window(rng, image, 0.65, 1.0)
        mirrored = self.labels.kind != "picture" and rng.random() < 0.5
        quarter = int(rng.integers(4)) if self.labels.turns else 0

        def square(picture: U8) -> U8:
            cut = picture[place][:, ::-1] if mirrored else picture[place]
            return np.ascontiguousarray(np.rot90(cut, quarter))

        query = appearance.jitter(rng, _resized(square(image), size))
        if self.labels.kind == "picture":
            painted = _resized(square(target), size)
        elif self.labels.kind == "mask":
            share = square((target > 0).astype(np.uint8) * np.uint8(255))
            painted = paint(_resized(share, size) / 255, style.foreground, style.background)
        else:
            classes = cv2.resize(square(target), (size, size), interpolation=cv2.INTER_NEAREST)
            painted = np.array(style.palette, np.uint8)[classes]
        return Sample(query, painted, number)


def missing(name: str) -> InputError:
    """The error that the pictures of a labelled task are not in the prepared folder."""
    return InputError(
        f"the prepared folder has no pictures for task {name!r}; prepare it again with source "
        f"{LABELLED[name].source!r}, or leave the task out."
    )


def draw_palette(rng: np.random.Generator, count: int) -> tuple[Colour, ...]:
    """Draw ``count`` different colours from a regular grid; up to 27 are 127 apart or more."""
    steps = 3 if count <= 27 else 5
    levels = np.round(np.linspace(0, 255, steps)).astype(int)
    chosen = rng.permutation(steps**3)[:count]
    return tuple(
        (int(levels[n // steps**2]), int(levels[n // steps % steps]), int(levels[n % steps]))
        for n in chosen
    )


def _resized(picture: U8, size: int) -> U8:
    how = cv2.INTER_AREA if picture.shape[0] >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)
