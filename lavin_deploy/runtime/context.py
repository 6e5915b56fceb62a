"""Where the context of a run comes from: a stored task or example pairs of the caller."""

from __future__ import annotations

from typing import Protocol

from lavin_deploy.bundle import Bundle
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.tasks.samples import Pairs
from lavin_deploy.tasks.stored import StoredTask, read_context


class Context(Protocol):
    """Example pairs as scaled latents.

    Attributes:
        available: how many pairs there are.
        stored: whether they are a stored task's.
    """

    available: int
    stored: bool

    def latents(self, codec: Codec, count: int) -> Latents:
        """Return the first ``count`` pairs at the codec's size.

        Returns:
            (1, 16, 2 count, h/8, w/8) float32 scaled; frames in1, tgt1, in2, tgt2, ...
        """


class StoredContext:
    """The context of a task in the bundle, encoded when the task was created."""

    stored = True

    def __init__(self, bundle: Bundle, task: StoredTask) -> None:
        self.available = len(task.pairs)
        self._bundle, self._task = bundle, task

    def latents(self, codec: Codec, count: int) -> Latents:
        """See :class:`Context`."""
        return read_context(self._bundle, self._task, *codec.size)[:, :, : 2 * count]


class GivenPairs:
    """Pictures of the caller, encoded when they are first needed."""

    stored = False

    def __init__(self, pairs: Pairs) -> None:
        self.available = len(pairs)
        self._pairs = pairs

    def latents(self, codec: Codec, count: int) -> Latents:
        """See :class:`Context`."""
        return codec.encode_pairs(self._pairs[:count])
