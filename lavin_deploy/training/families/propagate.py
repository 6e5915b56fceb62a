"""``propagate``: regions of a real film frame, carried to others by optical flow."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import F32, U8
from lavin_deploy.errors import InputError
from lavin_deploy.training.data.readers import SHOT
from lavin_deploy.training.families.follow import marked
from lavin_deploy.training.synthesis import appearance
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Family, Group

CLUSTERS = 14
"""Superpixels of a frame, by colour and place."""
WRONG = 1.0
"""Pixels by which going forth and back may miss its start."""


class Propagate(Family):
    """One shot; the pair marks a region of a frame, which is asked for in the others.

    Regions are superpixels of the first frame, one to three of them. Where flow forth and back does
    not meet, the target is not known and does not count.
    """

    name = "propagate"
    of_pictures = True
    answers = 3
    needs = (SHOT,)

    def __init__(self, data: Collage, *, held_out: bool = False, plain: bool = False) -> None:
        super().__init__(data, held_out=held_out, plain=plain)
        if not data.shots:
            raise InputError(
                "the prepared folder has no film shots for family 'propagate'; prepare it again "
                "with source film, or leave it out."
            )

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        """Draw a shot, its regions and ``count`` crops of its frames."""
        shot = self.data.shots[int(rng.integers(len(self.data.shots)))]
        first = superpixels(rng, shot[0])
        carried = [
            (first, np.ones(first.shape, bool)),
            *(self._carry(shot, first, k) for k in range(1, len(shot))),
        ]
        regions = [
            np.isin(first, rng.permutation(CLUSTERS)[: int(rng.integers(1, 4))])
            for _ in range(self.answers)
        ]
        chosen = [set(np.unique(first[region]).tolist()) for region in regions]
        mirrored = -1 if rng.random() < 0.5 else 1
        pictures, masks, known = [], [], []
        for turn in range(count):
            frame = turn % len(shot)
            place = appearance.window(rng, shot[frame], 0.8, 1.0)

            def square(picture: U8, where: tuple[slice, slice] = place) -> U8:
                cut = np.ascontiguousarray(picture[where][:, ::mirrored])
                return np.asarray(
                    cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA), np.uint8
                )

            labels, sure = carried[frame]
            pictures.append(appearance.camera(rng, square(shot[frame]).astype(np.float32)))
            masks.append(
                np.stack(
                    [
                        square(np.isin(labels, list(c)).astype(np.uint8) * np.uint8(255))
                        for c in chosen
                    ]
                )
            )
            known.append(square(sure.astype(np.uint8) * np.uint8(255)) > 250)
        shares = (np.array(masks) / 255).astype(np.float32)
        return replace(
            marked(rng, pictures, shares, plain=self.plain, least=0.01),
            known=np.stack(known),
            sources=np.arange(count) % len(shot),
        )

    def _carry(
        self, shot: U8, labels: NDArray[np.int32], frame: int
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Labels of the first frame in another one, and where they are to be trusted."""
        # One for each call: it keeps buffers, and pools are drawn in threads.
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        greys = [cv2.cvtColor(shot[k], cv2.COLOR_RGB2GRAY) for k in (0, frame)]
        back = flow.calc(greys[1], greys[0], np.zeros((*greys[0].shape, 2), np.float32))
        forth = flow.calc(greys[0], greys[1], np.zeros((*greys[0].shape, 2), np.float32))
        rows, cols = np.mgrid[0 : labels.shape[0], 0 : labels.shape[1]].astype(np.float32)
        x, y = cols + back[..., 0], rows + back[..., 1]
        returned: F32 = np.asarray(cv2.remap(forth, x, y, cv2.INTER_LINEAR), np.float32)
        miss = np.hypot(back[..., 0] + returned[..., 0], back[..., 1] + returned[..., 1])
        inside = (x >= 0) & (y >= 0) & (x <= labels.shape[1] - 1) & (y <= labels.shape[0] - 1)
        moved = cv2.remap(
            labels.astype(np.float32), x, y, cv2.INTER_NEAREST, borderValue=(-1, 0, 0, 0)
        )
        return np.asarray(moved, np.int32), np.asarray(inside & (miss < WRONG), bool)


def _white(mask: NDArray[np.bool_]) -> U8:
    return np.asarray(mask.astype(np.uint8) * np.uint8(255), np.uint8)


def superpixels(rng: np.random.Generator, frame: U8) -> NDArray[np.int32]:
    """Cluster a frame by colour and place: (H, W) int32 from 0 to :data:`CLUSTERS` - 1."""
    height, width = frame.shape[:2]
    lab = cv2.cvtColor(cv2.GaussianBlur(frame, (0, 0), 1.5), cv2.COLOR_RGB2Lab).astype(np.float32)
    rows, cols = np.mgrid[0:height, 0:width].astype(np.float32)
    near = 90.0 / height
    points = np.stack([*np.moveaxis(lab, 2, 0), rows * near, cols * near], axis=-1)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 8, 0)
    small = points[::4, ::4].reshape(-1, 5)
    _, _, centres = cv2.kmeans(
        small, CLUSTERS, np.zeros((0, 1), np.int32), stop, 1, cv2.KMEANS_RANDOM_CENTERS
    )
    far = ((points[:, :, None] - centres) ** 2).sum(-1)
    labels = far.argmin(-1).astype(np.uint8)
    return np.asarray(cv2.medianBlur(labels, 5), np.int32)
