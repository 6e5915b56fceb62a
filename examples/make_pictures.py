"""Make ``docs/images/pairs.jpg``: what two bundles make of the same pairs.

    python examples/make_pictures.py READING.lavin

``READING.lavin`` is an export of ``checkpoints/long-run`` for one pair and four. Its answers stand
beside those of the bundle that ships; each row is another thing to read from a pair.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from make_pairs import BOWL, PAINT, frame, photo
from PIL import Image, ImageDraw, ImageFont

import lavin_deploy as lavin
from lavin_deploy.arrays import U8
from lavin_deploy.runtime.media.images import read_image
from lavin_deploy.tasks.samples import Pair
from lavin_deploy.training.families.held_out_filters import duotone

HERE = Path(__file__).parent
MARKED, ASKED = 9, 81
BALL = (40, 166, 95, 222)
"""Corners of the ball's box in the marked frame, (left, top, right, bottom) in pixels."""
BLUE, ORANGE = (30, 50, 160), (255, 150, 40)
CELL, GAP, LINE = (176, 132), 6, 22
HEADS = ("pair: input", "pair: target", "query", "checkpoints/long-run", "the bundle that ships")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is asked with which pairs; the first is shown."""

    title: str
    pairs: Sequence[Pair]
    query: U8


def rows() -> list[Row]:
    """Return what the picture shows, from what both read to what none does."""
    shown, asked = frame(MARKED), frame(ASKED)
    tasks, samples = HERE / "tasks" / "segmentation", HERE / "validation" / "segmentation"
    goldfish, mask = (read_image(tasks / f"03_{role}.png") for role in ("input", "target"))
    styled = np.where(mask.max(axis=2, keepdims=True) > 110, ORANGE, BLUE).astype(np.uint8)
    photos = [photo(name) for name in ("lake", "tulips", "pavilion", "meadow")]
    return [
        Row(
            title="How it is painted: both read it",
            pairs=[(goldfish, styled)],
            query=read_image(samples / "01_input.png"),
        ),
        Row(
            title="What is marked: the bowl",
            pairs=[(shown, marked(shown, polygon=BOWL))],
            query=asked,
        ),
        Row(
            title="What is done, in four pairs: a filter never trained on",
            pairs=[(each, duotone(each)) for each in photos],
            query=photo("blossom"),
        ),
        Row(
            title="What is marked: the ball, grey on grey. Read in part",
            pairs=[(shown, marked(shown, ellipse=BALL))],
            query=asked,
        ),
    ]


def marked(
    picture: U8,
    *,
    polygon: Sequence[tuple[int, int]] = (),
    ellipse: tuple[int, int, int, int] | None = None,
) -> U8:
    """Paint a place by hand on black, (H, W, 3) uint8 like ``picture``."""
    image = Image.new("RGB", picture.shape[1::-1])
    draw = ImageDraw.Draw(image)
    if polygon:
        draw.polygon(polygon, fill=PAINT)
    if ellipse:
        draw.ellipse(ellipse, fill=PAINT)
    return np.asarray(image, np.uint8)


def main(reading: str) -> None:
    """Write the picture."""
    width, height = (CELL[0] + GAP) * len(HEADS) + GAP, LINE
    shown = rows()
    sheet = Image.new("RGB", (width, height + (CELL[1] + LINE + GAP) * len(shown)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, head in enumerate(HEADS):
        draw.text((GAP + column * (CELL[0] + GAP), 4), head, fill="black", font=font)
    with lavin.load(reading) as reader, lavin.load() as shipped:
        for number, row in enumerate(shown):
            top = height + number * (CELL[1] + LINE + GAP)
            draw.text((GAP, top + 2), row.title, fill=(90, 90, 90), font=font)
            answers = [
                model.run(pairs=row.pairs, query=row.query).image for model in (reader, shipped)
            ]
            for column, image in enumerate([*row.pairs[0], row.query, *answers]):
                cell = Image.fromarray(image)
                cell.thumbnail(CELL, Image.Resampling.LANCZOS)
                sheet.paste(cell, (GAP + column * (CELL[0] + GAP), top + LINE))
    sheet.save(HERE.parent / "docs" / "images" / "pairs.jpg", quality=92)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/make_pictures.py READING.lavin")
    main(sys.argv[1])
