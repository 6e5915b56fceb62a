"""Scores of what ``decoding`` reads: sets of boxes, segments and limbs against those of a truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lavin_deploy.arrays import F64, Mask
from lavin_deploy.evaluation.metrics import boundary_f
from lavin_deploy.tasks.decoding import Boxes, Labels


def box_ious(first: Boxes, second: Boxes) -> F64:
    """Return intersection over union of each pair of boxes, (N, 4) and (M, 4): (N, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (first, second)]
    return np.asarray(common / (areas[0][:, None] + areas[1][None] - common))


def matched_ious(answer: Boxes, truth: Boxes) -> list[float]:
    """Match boxes greedily, best IoU first, and return the IoU of each match that overlaps."""
    table = box_ious(answer, truth)
    matched = []
    while table.size and table.max() > 0:
        row, column = np.unravel_index(int(table.argmax()), table.shape)
        matched.append(float(table[row, column]))
        table = np.delete(np.delete(table, row, axis=0), column, axis=1)
    return matched


def box_iou(answer: Boxes, truth: Boxes) -> float:
    """Return the sum of matched IoUs over the larger number of boxes, in [0, 1].

    Boxes too many or too few so count as IoU 0; two empty sets agree (1).
    """
    most = max(len(answer), len(truth))
    return sum(matched_ious(answer, truth)) / most if most else 1.0


def box_f(answer: Boxes, truth: Boxes, least: float = 0.5) -> float:
    """Return the F measure of boxes matched with IoU ``least`` or more; 1 if neither has any."""
    total = len(answer) + len(truth)
    hits = sum(iou >= least for iou in matched_ious(answer, truth))
    return 2 * hits / total if total else 1.0


def panoptic_quality(answer: Labels, truth: Labels) -> float:
    """Return PQ (Kirillov et al., 2019, arXiv 1801.00868, eq. 1), all segments of one class.

    Segments match where their IoU exceeds 0.5, which makes the match unique. PQ is the sum of
    matched IoUs over (matches + half of the unmatched segments of both). Pixels void in the truth
    do not count; answer segments that lie there alone are no error.

    Args:
        answer: (H, W) int32, 0 = void.
        truth: (H, W) int32.

    Returns:
        In [0, 1]; 1 where neither has a segment.
    """
    labelled = truth > 0
    pairs = np.stack([answer[labelled], truth[labelled]]).astype(np.int64)
    table = np.zeros((int(answer.max()) + 1, int(truth.max()) + 1))
    np.add.at(table, (pairs[0], pairs[1]), 1)
    answer_areas, truth_areas = table.sum(axis=1)[1:], table.sum(axis=0)[1:]
    ious = table[1:, 1:] / np.maximum(answer_areas[:, None] + truth_areas[None] - table[1:, 1:], 1)
    hits = ious[ious > 0.5]
    total = (np.count_nonzero(answer_areas) + np.count_nonzero(truth_areas)) / 2
    return float(hits.sum() / total) if total else 1.0


def limb_f(answer: Sequence[Mask], truth: Sequence[Mask]) -> float:
    """Return the mean of ``boundary_f`` over limbs that the truth or the answer has.

    How far off a limb's pixels may be is 3 % of the side, at least 1.5 pixels. The answer has a
    limb if it has four pixels of it or more, so that single pixels of mixed colours are none.

    Args:
        answer: (S, S) bool for each of ``decoding.LIMBS``.
        truth: likewise.

    Returns:
        In [0, 1]; 1 where neither has a limb.
    """
    tolerance = max(1.5, 0.03 * truth[0].shape[0])
    scores = [
        boundary_f(limb, true_limb, tolerance)
        for limb, true_limb in zip(answer, truth, strict=True)
        if np.count_nonzero(limb) >= 4 or np.count_nonzero(true_limb) >= 4
    ]
    return float(np.mean(scores)) if scores else 1.0
