"""Generation tasks: the picture is the answer, and what another task reads from it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import FromCollage, Sample

if TYPE_CHECKING:
    from lavin_deploy.training.tasks.base import Task


class Reverse(FromCollage):
    """Draw a picture or clip whose depth, normals or pose are given; many are right.

    Args:
        name: of the task.
        forward: makes the task that it reverses, of whose plain style (white on black, so of
            depth: near is bright) the inputs are.
        data: pictures of one split.
    """

    deterministic = False

    def __init__(self, name: str, forward: Callable[[Collage], Task], data: Collage) -> None:
        super().__init__(data)
        self.name, self.forward = name, forward(data)
        self.frames = self.forward.frames

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a sample of the other task and exchange its sides."""
        drawn = self.forward.sample(rng, style, size)
        return Sample(drawn.target, drawn.input)
