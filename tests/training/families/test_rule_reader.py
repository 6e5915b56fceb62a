"""One pair of ``rule`` says what is asked: who fits a range of an attribute to it, finds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from lavin_deploy.arrays import F32, U8, Mask
from lavin_deploy.evaluation.metrics import iou
from lavin_deploy.evaluation.pairs.episodes import copied_target
from lavin_deploy.training.families.heldout import HeldOutFamilies
from lavin_deploy.training.families.rule import HELD_OUT_ATTRIBUTES, SMOOTHING, draw_attribute

SIZE, EPISODES, EDGES = 64, 12, 41


def attributes(image: U8) -> Mapping[str, F32]:
    """The held-out ones and some others, as smooth as ``rule`` takes them."""
    drawn = {str(k): draw_attribute(np.random.default_rng(k)) for k in range(12)}
    table = {**drawn, **HELD_OUT_ATTRIBUTES}
    return {
        name: np.asarray(cv2.GaussianBlur(each(image), (0, 0), SMOOTHING * SIZE), np.float32)
        for name, each in table.items()
    }


def read(image: U8, mask: Mask, query: U8) -> Mask:
    """The query's mask by the range of one attribute that fits the pair's best."""
    best, answer = -1.0, np.zeros(mask.shape, bool)
    there = attributes(query)
    for name, values in attributes(image).items():
        order = np.argsort(values, axis=None)
        inner = np.unique(np.quantile(values, np.linspace(0, 1, EDGES)[1:-1]))
        edges = np.concatenate([[-np.inf], inner, [np.inf]])
        below = np.searchsorted(values.ravel()[order], edges)
        marked = np.concatenate([[0], np.cumsum(mask.ravel()[order])])[below]
        hits, size = marked - marked[:, None], below - below[:, None]
        overlap = np.triu(hits / np.maximum(size + mask.sum() - hits, 1))
        if overlap.max() > best:
            best = float(overlap.max())
            low, high = np.unravel_index(overlap.argmax(), overlap.shape)
            answer = (there[name] >= edges[low]) & (there[name] < edges[high])
    return np.asarray(answer, np.bool_)


@pytest.mark.data
def test_a_reader_of_ranges_finds_a_rule_it_was_not_told(data: Path) -> None:
    source = HeldOutFamilies(data, size=SIZE, pairs=1)
    scores, copied = [], []
    for index in range(EPISODES):
        episode = source.episode("rule", "held-out", index)
        image, target = episode.pairs[0]
        truth = episode.mask(episode.truth)
        scores.append(iou(read(image, episode.mask(target), episode.query), truth))
        copied.append(iou(episode.mask(copied_target(episode)), truth))
    assert np.mean(scores) > 0.85
    assert np.mean(copied) < 0.3
