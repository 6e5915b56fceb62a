"""Make what a loop needs next while it works on what it has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 4

T = TypeVar("T")


def prefetch(make: Callable[[int], T], first: int, last: int, workers: int = 1) -> Iterator[T]:
    """Yield make(first) ... make(last - 1) in order, a few made ahead in threads.

    Args:
        make: depends on its number alone, since several may run at once.
        first: number to begin with.
        last: number to stop before.
        workers: threads; each is ahead by up to ``AHEAD``.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for index in range(first, last):
            while len(waiting) < AHEAD * workers and index + len(waiting) < last:
                waiting.append(pool.submit(make, index + len(waiting)))
            yield waiting.popleft().result()
