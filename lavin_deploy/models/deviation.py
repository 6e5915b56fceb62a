"""How far tensors computed in another way lie from their references."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far outputs lie from their references, e.g. a stream's chunks from the whole clip.

    Attributes:
        l2: norm of the difference over the norm of the references.
        max: largest difference over the references' largest value.
    """

    l2: float
    max: float

    @classmethod
    def between(cls, outputs: Iterable[Tensor], references: Iterable[Tensor]) -> Deviation:
        """Measure over all clips at once; clips of both in one order, of equal shapes."""
        squares = scale = worst = largest = 0.0
        for output, reference in zip(outputs, references, strict=True):
            difference = output.double() - reference.double()
            squares += float(difference.square().sum())
            scale += float(reference.double().square().sum())
            worst = max(worst, float(difference.abs().max()))
            largest = max(largest, float(reference.abs().max()))
        return cls(l2=(squares / scale) ** 0.5, max=worst / largest)
