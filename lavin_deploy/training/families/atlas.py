"""``atlas``: real slices whose every structure is known; some of them, merged, are asked for."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.training.families.follow import marked
from lavin_deploy.training.synthesis import appearance
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Family, Group

LEAST, MOST = 0.01, 0.8
"""Shares of a frame from which on a structure is there, and is not everything."""
NEAR = 12
"""Slices of a group are at most so many of their volume apart."""
TRIES = 40


def held_out(structure: int) -> bool:
    """Whether a structure is marked in tests alone."""
    return structure % 5 == 0


class Atlas(Family):
    """Slices of one volume that lie near each other; each answer marks one to four structures."""

    name = "atlas"
    of_pictures = True
    answers = 3
    needs = tuple(
        f"atlas_{head}_{view}" for head in ("macaque", "mni") for view in ("sagittal", "coronal")
    )

    def __init__(self, data: Collage, *, held_out: bool = False, plain: bool = False) -> None:
        super().__init__(data, held_out=held_out, plain=plain)
        self.volumes = [data.labelled[kind] for kind in self.needs if data.labelled.get(kind)]
        if not self.volumes:
            raise InputError(
                "the prepared folder has no labelled volumes for family 'atlas'; prepare it again "
                "with sources nilearn and mricron, or leave it out."
            )

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        """Draw slices, and structures that most of them show."""
        for attempt in range(TRIES):
            slices = self.volumes[int(rng.integers(len(self.volumes)))]
            start = int(rng.integers(max(1, len(slices) - NEAR)))
            near = slices[start : start + NEAR]
            chosen = rng.integers(0, len(near), count)
            cut = [self._cut(rng, near[number], size) for number in chosen]
            labels = np.stack([parts for _, parts in cut])
            masks = [self._mask(rng, labels) for _ in range(self.answers)]
            cover = [mask.mean(axis=(1, 2)) for mask in masks]
            shown = [np.count_nonzero((c >= LEAST) & (c < MOST)) for c in cover]
            if min(shown) >= count // 2 or attempt == TRIES - 1:
                break
        shares = np.stack(masks, axis=1).astype(np.float32)
        pictures = [picture for picture, _ in cut]
        group = marked(rng, pictures, shares, plain=self.plain, least=LEAST)
        return replace(group, sources=chosen)

    def _mask(self, rng: np.random.Generator, labels: U8) -> U8:
        found = [
            int(each)
            for each in np.unique(labels)
            if each and (held_out(int(each)) == self.held_out or labels.max() < 5)
        ]
        if not found:
            return np.zeros_like(labels)
        number = int(rng.integers(1, 5))
        return np.isin(labels, rng.permutation(found)[:number]).astype(np.uint8)

    def _cut(self, rng: np.random.Generator, pair: tuple[U8, U8], size: int) -> tuple[U8, U8]:
        image, target = pair
        place = appearance.window(rng, image, 0.75, 1.0)
        mirrored = -1 if rng.random() < 0.25 else 1
        square = appearance.resized(np.ascontiguousarray(image[place][:, ::mirrored]), size)
        parts = np.ascontiguousarray(target[place][:, ::mirrored])
        parts = np.asarray(
            cv2.resize(parts, (size, size), interpolation=cv2.INTER_NEAREST), np.uint8
        )
        return appearance.jitter(rng, square), parts
