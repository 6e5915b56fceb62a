"""``follow`` and ``class``: things of a collage, of which the pair marks one, or one's like."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np

from lavin_deploy.arrays import F32, F64, U8
from lavin_deploy.training.families.marks import draw_mark
from lavin_deploy.training.synthesis import appearance
from lavin_deploy.training.synthesis.collage import Collage, Placed, warp
from lavin_deploy.training.tasks.base import Family, Group

LEAST, MOST = 0.02, 0.40
"""Shares of the frame that a thing covers where it is to be seen."""
TRIES = 20
STILL = 1.5
"""A background that a camera pans over is so many times as large as the frame."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Where n things are in one picture; sides and places in frame sides, angles in degrees."""

    cutouts: list[int]
    sides: F64
    centres: F64
    angles: F64
    flips: list[bool]
    present: list[bool]
    background: U8


def render(
    rng: np.random.Generator, data: Collage, view: View, gains: F64, size: int
) -> tuple[U8, F32]:
    """Put the things on the background in a random order of depth.

    Args:
        rng: source of order, shadows and camera.
        data: the cut-outs.
        view: where they are.
        gains: (n, 3) of their colours.
        size: side S.

    Returns:
        Picture (S, S, 3) uint8 and visible shares (n, S, S) float32.
    """
    canvas: F32 = view.background.astype(np.float32)
    shares = np.zeros((len(view.cutouts), size, size), np.float32)
    for number in rng.permutation(len(view.cutouts)):
        if not view.present[number]:
            continue
        side = float(view.sides[number]) * size
        level = data.level(view.cutouts[number], side)
        item = placed(level, side, view.centres[number] * size, view.angles[number])
        layer = warp(Placed(level, item, view.flips[number]), level, 1, size)
        opacity = layer[..., 3] / np.float32(255)
        if rng.random() < 0.2:
            canvas *= appearance.shadow(rng, opacity)[..., None]
        colour = np.minimum(
            layer[..., :3] * gains[number].astype(np.float32), 255 * opacity[..., None]
        )
        canvas = colour + canvas * (1 - opacity[..., None])
        shares *= 1 - opacity
        shares[number] += opacity
    return appearance.camera(rng, canvas), shares


def placed(level: U8, side: float, centre: F64, angle: float) -> F64:
    """Map (2, 3) of a cut-out's pixels into the frame: long side, middle in pixels, degrees."""
    height, width = level.shape[:2]
    turn = cv2.getRotationMatrix2D((0, 0), float(angle), side / max(height, width))[:, :2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([turn, centre - 0.5 - turn @ middle])


class Follow(Family):
    """Several things in one scene, one is marked; the same ones again, moved, turned, relit.

    Three of five groups look like a video: small changes between views, a camera that pans. The
    others move freely over other backgrounds. In one of ten views the marked thing is away.
    """

    name = "follow"
    version = 2
    of_pictures = True
    answers = 3

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        """Draw two to four things (held out: two or three) and ``count`` views of them."""
        n = int(rng.choice((2, 3) if self.held_out else (2, 2, 3, 3, 4)))
        things = self._things(rng, n)
        video = rng.random() < 0.6
        still = self.data.photo(rng, round(STILL * size))
        centres, sides = rng.uniform(0.15, 0.85, (n, 2)), rng.uniform(0.3, 0.6, n)
        angles, flips = np.clip(rng.normal(0, 12, n), -30, 30), rng.random(n) < 0.5
        gains = rng.uniform(0.75, 1.2, (n, 1)) * rng.uniform(0.9, 1.1, (n, 3))
        pictures, visible = [], []
        for _ in range(count):
            away = int(rng.integers(n)) if rng.random() < 0.1 * n else -1
            for _ in range(TRIES):
                if video:
                    y, x = rng.integers(0, still.shape[0] - size + 1, 2)
                    view = View(
                        cutouts=things,
                        centres=centres + rng.normal(0, 0.12, (n, 2)),
                        sides=sides * np.exp(rng.normal(0, 0.12, n)),
                        angles=angles + rng.normal(0, 10, n),
                        flips=list(flips),
                        present=[k != away for k in range(n)],
                        background=still[y : y + size, x : x + size],
                    )
                else:
                    view = View(
                        cutouts=things,
                        centres=rng.uniform(0.12, 0.88, (n, 2)),
                        sides=sides * np.exp(rng.normal(0, 0.25, n)),
                        angles=angles + rng.normal(0, 25, n),
                        flips=list(rng.random(n) < 0.5),
                        present=[k != away for k in range(n)],
                        background=self.data.background(rng, size),
                    )
                light = gains * rng.uniform(0.9, 1.1)
                picture, shares = render(rng, self.data, view, light, size)
                cover = shares.mean(axis=(1, 2))
                if all(LEAST < c < MOST for k, c in enumerate(cover) if k != away):
                    break
            if rng.random() < 0.3:
                picture = appearance.jitter(rng, picture)
            pictures.append(picture)
            visible.append(shares)
        asked = [answer % n for answer in range(self.answers)]
        shares = np.stack(visible)[:, asked]
        return marked(rng, pictures, shares, plain=self.plain, pairs_show_all=True)

    def _things(self, rng: np.random.Generator, n: int) -> list[int]:
        """Cut-outs; in one of four cases two of a kind."""
        things = [int(k) for k in rng.choice(len(self.data.pyramids), n, replace=False)]
        if rng.random() < 0.25:
            own = self.data.kinds[things[0]]
            like = [k for k, kind in enumerate(self.data.kinds) if kind == own and k not in things]
            if like:
                things[1] = int(rng.choice(like))
        return things


class SameClass(Family):
    """Two categories of things, other ones in every picture; all of the marked one's are asked."""

    name = "class"
    version = 2
    of_pictures = True
    answers = 2

    def group(self, rng: np.random.Generator, size: int, count: int) -> Group:
        """Draw two categories and ``count`` pictures of one or two things of each."""
        kinds: dict[str, list[int]] = defaultdict(list)
        for number, kind in enumerate(self.data.kinds):
            kinds[kind].append(number)
        names = [name for name, members in kinds.items() if len(members) >= 3]
        if len(names) < 2:  # generated cut-outs: each thing is a category
            names = list(kinds)
        first, second = (kinds[names[k]] for k in rng.choice(len(names), 2, replace=False))
        pictures, visible = [], []
        for _ in range(count):
            counts = rng.integers(1, 3, 2)
            if rng.random() < 0.1:
                counts[int(rng.integers(2))] = 0
            for _ in range(TRIES):
                cutouts = [
                    int(rng.choice(members))
                    for members, each in ((first, counts[0]), (second, counts[1]))
                    for _ in range(each)
                ]
                n = len(cutouts)
                view = View(
                    cutouts=cutouts,
                    centres=rng.uniform(0.15, 0.85, (n, 2)),
                    sides=rng.uniform(0.25, 0.5, n),
                    angles=rng.normal(0, 15, n),
                    flips=list(rng.random(n) < 0.5),
                    present=[True] * n,
                    background=self.data.background(rng, size),
                )
                gains = rng.uniform(0.75, 1.2, (n, 1)) * rng.uniform(0.9, 1.1, (n, 3))
                picture, shares = render(rng, self.data, view, gains, size)
                own, other = shares[: counts[0]].sum(axis=0), shares[counts[0] :].sum(axis=0)
                if all(
                    each.mean() > LEAST for each, k in zip((own, other), counts, strict=True) if k
                ):
                    break
            pictures.append(picture)
            visible.append(np.stack((own, other)))
        shares = np.stack(visible)
        return marked(rng, pictures, shares, plain=self.plain, pairs_show_all=True)


def marked(
    rng: np.random.Generator,
    pictures: list[U8],
    shares: F32,
    *,
    plain: bool,
    least: float = LEAST,
    most: float = 1.0,
    pairs_show_all: bool = False,
) -> Group:
    """A group of pictures and what is marked in them, each answer in a style of its own.

    Args:
        rng: source of the styles.
        pictures: N of (S, S, 3) uint8.
        shares: (N, A, S, S) float32 in [0, 1].
        plain: see :func:`draw_mark`.
        least: share of the frame from which on a marked place is there.
        most: share above which a target shows nothing, for it looks the same everywhere.
        pairs_show_all: see :class:`Group`.
    """
    cover = shares.mean(axis=(2, 3))
    marks = [draw_mark(rng, plain=plain) for _ in range(shares.shape[1])]
    return Group(
        inputs=pictures,
        targets=[[mark.paint(s) for mark, s in zip(marks, row, strict=True)] for row in shares],
        present=(cover >= least) & (cover <= most),
        sources=np.arange(len(pictures)),
        styles=[mark.style for mark in marks],
        shares=shares,
        pairs_show_all=pairs_show_all,
    )
