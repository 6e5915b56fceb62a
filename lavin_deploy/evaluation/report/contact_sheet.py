"""Pictures of an evaluation's samples, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation.suite import TaskResult

CELL, GAP, HEAD = 128, 4, 14


def contact_sheet(result: TaskResult) -> U8:
    """Draw a row for each sample that was kept: first pair, query, truth, and every answer.

    Returns:
        (H, W, 3) uint8, see :func:`sheet_of`.
    """
    return sheet_of(
        [
            {
                "pair: input": sample.episode.pairs[0][0],
                "pair: target": sample.episode.pairs[0][1],
                "query": sample.episode.query,
                "truth": sample.episode.truth,
                **sample.answers,
            }
            for sample in result.pictures
        ]
    )


def sheet_of(rows: Sequence[Mapping[str, U8]]) -> U8:
    """Draw rows of named pictures; a cell whose row lacks the name stays blank.

    Returns:
        (H, W, 3) uint8; each picture enlarged or shrunk to about 128 pixels, names on top.
    """
    from PIL import Image, ImageDraw

    names = list(dict.fromkeys(name for row in rows for name in row))
    step = CELL + GAP
    size = (max(1, len(names) * step - GAP), HEAD + max(1, len(rows) * step - GAP))
    sheet = Image.new("RGB", size, (40, 40, 40))
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(names):
        pen.text((column * step + 2, 1), name, fill=(255, 255, 255))
    for line, row in enumerate(rows):
        for column, name in enumerate(names):
            picture = row.get(name)
            if picture is None:
                continue
            small = max(picture.shape[:2]) <= CELL
            how = Image.Resampling.NEAREST if small else Image.Resampling.BOX
            cell = Image.fromarray(picture).resize((CELL, CELL), how)
            sheet.paste(cell, (column * step, HEAD + line * step))
    return np.asarray(sheet, np.uint8)
