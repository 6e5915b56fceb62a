"""What is made ahead comes in order, and not without end."""

from __future__ import annotations

import threading
import time

import pytest

from lavin_deploy.training.loop.prefetch import AHEAD, prefetch

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("workers", [1, 3])
def test_order_and_bound(workers: int) -> None:
    indices: list[int] = []

    def make(index: int) -> int:
        time.sleep(0.002 * (index % 3))  # later ones may be ready earlier
        indices.append(index)
        return 10 * index

    for index, value in enumerate(prefetch(make, 5, 40, workers), start=5):
        assert value == 10 * index
        assert max(indices) < index + AHEAD * workers
    assert sorted(indices) == list(range(5, 40))


def test_workers_work_at_once() -> None:
    together = threading.Barrier(3, timeout=20)  # passes only if three are in it at once
    assert [*prefetch(lambda index: together.wait() >= 0, 0, 6, 3)] == [True] * 6


def test_an_error_comes_where_its_item_would() -> None:
    def make(index: int) -> int:
        if index == 2:
            raise ValueError("two")
        return index

    items = prefetch(make, 0, 9)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(items)
