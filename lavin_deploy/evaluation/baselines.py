"""Classical methods that a model should beat, and constant answers. OpenCV is imported when used.

Each takes an episode and returns an answer, (S, S, 3) uint8, painted in the episode's style. They
are told what they need: the style's colours, the noise's sigma, the place of the hole. What they
are given no chance to know is the query's truth. Their settings were chosen on held-out samples of
64 and 128 pixels, in their favour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from lavin_deploy.arrays import F32, U8, Mask
from lavin_deploy.evaluation.metrics import iou
from lavin_deploy.evaluation.paper_metrics import box_outline
from lavin_deploy.tasks.decoding import LIMB_COLOURS, LIMBS, line_width
from lavin_deploy.tasks.painting import paint, share_from_colours
from lavin_deploy.tasks.samples import Episode, Style

Baseline = Callable[[Episode], U8]

_STANDING: dict[str, tuple[float, float]] = {
    "shoulder": (0.07, 0.28),
    "elbow": (0.1, 0.39),
    "wrist": (0.12, 0.49),
    "hip": (0.04, 0.48),
    "knee": (0.05, 0.65),
    "ankle": (0.05, 0.82),
}
"""Joints of a standing figure: x from the middle, y from the top, as shares of the side."""

CANNY = (60, 100, 150, 200, 260, 330, 420)


def copy_input(episode: Episode) -> U8:
    """Answer with the query itself."""
    return episode.query


def all_foreground(episode: Episode) -> U8:
    """Answer that everything is foreground."""
    return paint(np.ones(episode.query.shape[:2]), *_colours(episode.style))


def grabcut(episode: Episode) -> U8:
    """GrabCut (Rother et al., 2004) from a centred rectangle of 80 % of each side."""
    import cv2

    height, width = episode.query.shape[:2]
    margin_y, margin_x = max(1, round(0.1 * height)), max(1, round(0.1 * width))
    box = (margin_x, margin_y, width - 2 * margin_x, height - 2 * margin_y)
    labels = np.zeros((height, width), np.uint8)
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    bgr = np.ascontiguousarray(episode.query[..., ::-1])
    cv2.grabCut(bgr, labels, box, models[0], models[1], 5, cv2.GC_INIT_WITH_RECT)
    front = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return paint(front, *_colours(episode.style))


def border_colour(episode: Episode) -> U8:
    """Mark what differs from the frame's border in colour.

    The border, 6 % of the side wide, is one Gaussian in Lab; Otsu's threshold splits the
    Mahalanobis distances to it.
    """
    import cv2

    lab = cv2.cvtColor(episode.query.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    size = lab.shape[0]
    width = max(2, round(0.06 * size))
    border = np.ones(lab.shape[:2], bool)
    border[width:-width, width:-width] = False
    samples = lab[border].astype(np.float64)
    offset = lab - samples.mean(axis=0)
    inverse = np.linalg.inv(np.cov(samples.T) + 4 * np.eye(3))
    distance = np.sqrt(np.einsum("hwi,ij,hwj->hw", offset, inverse, offset))
    codes = np.clip(distance * 32, 0, 255).astype(np.uint8)
    _, front = cv2.threshold(codes, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return paint(front, *_colours(episode.style))


def centred_box(episode: Episode) -> U8:
    """Answer with one box, the middle half of each side."""
    quarter = episode.query.shape[0] // 4
    return drawn_box((quarter, quarter, 3 * quarter, 3 * quarter), episode.query.shape[0])


def boxes_by_border_colour(episode: Episode) -> U8:
    """Outline the largest connected component that differs from the frame's border in colour."""
    import cv2

    share = share_from_colours(border_colour(episode), *_colours(episode.style)) > 0.5
    _, _, stats, _ = cv2.connectedComponentsWithStats(share.astype(np.uint8))
    if len(stats) == 1:
        return np.zeros_like(episode.query)
    left, top, wide, high, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    return drawn_box((left, top, left + wide, top + high), episode.query.shape[0])


def drawn_box(box: tuple[int, int, int, int], size: int) -> U8:
    """Outline a box (left, top, right, bottom; the last two exclusive) in white on black."""
    left, top, right, bottom = box
    lines = box_outline((top, left, bottom, right), (size, size), line_width(size))
    return paint(lines.astype(np.float32), (255, 255, 255), (0, 0, 0))


def mean_shift(episode: Episode) -> U8:
    """Colours of the query after mean-shift filtering (Comaniciu and Meer, 2002)."""
    import cv2

    radius = 12 * episode.query.shape[0] / 128
    return np.asarray(cv2.pyrMeanShiftFiltering(episode.query, radius, 36), np.uint8)


def standing_figure(episode: Episode) -> U8:
    """Answer with the skeleton of a figure that stands upright in the middle."""
    size = episode.query.shape[0]
    joints = {"neck": (0.0, 0.27), "nose": (0.0, 0.18)}
    for side, sign in (("right", -1), ("left", 1)):
        joints |= {f"{side}_{name}": (sign * x, y) for name, (x, y) in _STANDING.items()}
    rows, columns = (np.mgrid[0:size, 0:size] + 0.5) / size
    canvas = np.zeros((size, size, 3), np.uint8)
    for (first, second), colour in zip(LIMBS, LIMB_COLOURS, strict=True):
        (ax, ay), (x, y) = joints[first], joints[second]
        bx, by = x - ax, y - ay
        px, py = columns - 0.5 - ax, rows - ay
        share = np.clip((px * bx + py * by) / (bx * bx + by * by), 0, 1)
        canvas[np.hypot(px - share * bx, py - share * by) < 0.012] = colour
    return canvas


def otsu(episode: Episode) -> U8:
    """Mark what is brighter than the threshold of Otsu (1979) of the grey picture."""
    import cv2

    grey = cv2.cvtColor(episode.query, cv2.COLOR_RGB2GRAY)
    _, front = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return paint(front, *_colours(episode.style))


def not_blue(episode: Episode) -> U8:
    """Mark what has less than 1.15 times as much blue as red and green have on average."""
    red, green, blue = np.moveaxis(episode.query.astype(np.float32), -1, 0)
    return paint(blue < 1.15 * (red + green) / 2, *_colours(episode.style))


def grey_levels(episode: Episode) -> U8:
    """Split the query by brightness into dark, middle and bright, in the first three colours.

    Otsu's threshold takes the dark away; a second one splits the rest.
    """
    import cv2

    grey = cv2.cvtColor(episode.query, cv2.COLOR_RGB2GRAY)
    first, _ = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    rest = grey[grey > first]
    classes = (grey > first).astype(int)
    if rest.size:
        second, _ = cv2.threshold(rest, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        classes += grey > second
    painted: U8 = np.array(episode.style.palette, np.uint8)[classes]
    return painted


def telea(episode: Episode) -> U8:
    """Inpainting of Telea (2004); the hole is the square in which query and truth differ."""
    import cv2

    hole = np.zeros(episode.query.shape[:2], np.uint8)
    rows, columns = np.nonzero(hole_of(episode))
    if len(rows):
        hole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 1
    return np.asarray(cv2.inpaint(episode.query, hole, 3, cv2.INPAINT_TELEA), np.uint8)


def hole_of(episode: Episode) -> Mask:
    """Return where an inpainting query hides the truth, (S, S) bool."""
    return np.asarray((episode.query != episode.truth).any(axis=-1))


def bilateral(episode: Episode) -> U8:
    """Bilateral filter (Tomasi and Manduchi, 1998), its range sigma 4 times the noise's."""
    import cv2

    return np.asarray(cv2.bilateralFilter(episode.query, 11, 4 * episode.style.strength, 2.5))


def non_local_means(episode: Episode) -> U8:
    """Non-local means (Buades et al., 2005) with 0.7 times the noise's sigma."""
    import cv2

    strength = max(1.0, 0.7 * episode.style.strength)
    cleaned = cv2.fastNlMeansDenoisingColored(episode.query, None, strength, strength, 3, 15)
    return np.asarray(cleaned, np.uint8)


def unsharp(episode: Episode) -> U8:
    """Unsharp mask: the picture plus what its blur of 2 px (at 128 px) lacks."""
    import cv2

    sharp = episode.query.astype(np.float32)
    soft = cv2.GaussianBlur(sharp, (0, 0), 2.0 * sharp.shape[0] / 128)
    return np.asarray(np.clip(np.round(2 * sharp - soft), 0, 255), np.uint8)


def smoothed(episode: Episode) -> U8:
    """A weak bilateral filter."""
    import cv2

    return np.asarray(cv2.bilateralFilter(episode.query, 5, 20.0, 2.0))


def median(episode: Episode) -> U8:
    """Median of 3 x 3 pixels."""
    import cv2

    return np.asarray(cv2.medianBlur(episode.query, 3))


def stretched(episode: Episode) -> U8:
    """All channels times one factor, so that the 99th percentile is 230."""
    top = max(float(np.percentile(episode.query, 99)), 1.0)
    brighter = episode.query.astype(np.float32) * (230 / top)
    return np.asarray(np.clip(np.round(brighter), 0, 255), np.uint8)


def canny(episode: Episode) -> U8:
    """Canny's edges (1986): for each pixel, at how many of seven thresholds it is one."""
    import cv2

    grey = cv2.GaussianBlur(cv2.cvtColor(episode.query, cv2.COLOR_RGB2GRAY), (0, 0), 0.7)
    votes = [cv2.Canny(grey, 0.4 * high, high, L2gradient=True) > 0 for high in CANNY]
    return paint(np.mean(votes, axis=0), *_colours(episode.style))


def flow_warp(episode: Episode) -> U8:
    """Go on as the last pair did: DIS flow between its frames, applied to the query."""
    import cv2

    before, last = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in episode.pairs[-1])
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    came_from = search.calc(last, before, None)
    rows, cols = np.mgrid[0 : last.shape[0], 0 : last.shape[1]].astype(np.float32)
    x, y = cols + came_from[..., 0], rows + came_from[..., 1]
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(episode.query, x, y, cv2.INTER_LINEAR, borderMode=border), np.uint8)


def mean_share(targets: Iterable[tuple[U8, Style]]) -> F32:
    """Return the mean of training targets, read as shares of foreground: (S, S) float32."""
    shares = [share_from_colours(target, *_colours(style)) for target, style in targets]
    return np.asarray(np.mean(shares, axis=0), np.float32)


def painted(share: F32) -> Baseline:
    """Answer with the same (S, S) share always, in the episode's colours."""
    return lambda episode: paint(share, *_colours(episode.style))


def mean_picture(targets: Iterable[tuple[U8, Style]]) -> Baseline:
    """Answer with the mean of training targets always."""
    mean = np.mean([target for target, _ in targets], axis=0)
    picture: U8 = np.asarray(np.round(mean), np.uint8)
    return lambda episode: picture


def best_constant_mask(targets: Iterable[tuple[U8, Style]]) -> Mask:
    """Return the constant mask that suits training targets best.

    Candidates are the mean mask cut at areas of 2, 4, .. 100 % of the frame; the one with the
    highest mean IoU over the training targets wins.

    Args:
        targets: (S, S, 3) uint8 masks in two colours, with their styles.

    Returns:
        (S, S) bool.
    """
    masks = [share_from_colours(target, *_colours(style)) > 0.5 for target, style in targets]
    mean = np.mean(masks, axis=0)
    cuts = np.quantile(mean, np.linspace(0.98, 0, 50))
    candidates = [mean >= cut for cut in cuts]
    scores = [np.mean([iou(candidate, mask) for mask in masks]) for candidate in candidates]
    return np.asarray(candidates[int(np.argmax(scores))])


def _colours(style: Style) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    return style.foreground, style.background
