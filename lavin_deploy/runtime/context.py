"""Where the context of a run comes from: a stored task or example pairs of the caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Protocol

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.errors import InputError
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.runtime.codec import Codec, check_pair
from lavin_deploy.runtime.request import preferred_pairs
from lavin_deploy.tasks.stored import StoredTask, read_context


class Context(Protocol):
    """Example pairs as scaled latents.

    Attributes:
        available: how many pairs there are.
        preferred: how many to use unless a run asks for another number, see ``choose_pairs``.
    """

    available: int
    preferred: int | None

    def latents(self, codec: Codec, count: int) -> Latents:
        """Return the first ``count`` pairs at the codec's size.

        Returns:
            (1, 16, 2 count, h/8, w/8) float32 scaled; frames in1, tgt1, in2, tgt2, ...
        """


class StoredContext:
    """The context of a task in the bundle, encoded when the task was created."""

    def __init__(self, bundle: Bundle, task: StoredTask) -> None:
        self.available = len(task.pairs)
        self.preferred: int | None = preferred_pairs(bundle.manifest, task)
        self._bundle, self._task = bundle, task

    def latents(self, codec: Codec, count: int) -> Latents:
        """See :class:`Context`."""
        return read_context(self._bundle, self._task, *codec.size)[:, :, : 2 * count]


class GivenPairs:
    """Pictures of the caller, encoded when they are first needed.

    Raises:
        InputError: what was given is not pairs.
    """

    preferred: int | None = None

    def __init__(self, pairs: Iterable[tuple[U8, U8]]) -> None:
        accepted = "example pairs are given as [(input, target), ...]"
        if not isinstance(pairs, Iterable):
            raise InputError(f"{accepted}; given: {type(pairs).__name__}.")
        self._pairs: list[tuple[U8, U8]] = []
        for number, pair in enumerate(pairs, 1):
            if not isinstance(pair, Sequence | np.ndarray) or len(pair) != 2:
                held = f" of {len(pair)}" if isinstance(pair, Sized) else ""
                raise InputError(f"{accepted}; number {number} is a {type(pair).__name__}{held}.")
            source, target = pair
            check_pair(number, source, target)
            self._pairs.append((source, target))
        self.available = len(self._pairs)

    def latents(self, codec: Codec, count: int) -> Latents:
        """See :class:`Context`."""
        return codec.encode_pairs(self._pairs[:count])
