"""Next frame of a video, told by pairs that are frames of the same video one after another."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis.camera_clips import animate, pan
from lavin_deploy.training.tasks.base import FromCollage, Sample


class NextFrame(FromCollage):
    """The frame after the query; pairs are (frame, next frame) right before it.

    Motion is even, so the last pair fixes the answer but for what comes into view.
    """

    name = "next_frame"
    deterministic = True
    ordered = True

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw two frames; :meth:`episode` draws what belongs together."""
        return self.episode(rng, style, size, 1)[0]

    def episode(
        self, rng: np.random.Generator, style: Style, size: int, count: int
    ) -> list[Sample]:
        """Draw a clip of ``count + 1`` frames and every two of them that follow each other."""
        if rng.random() < 0.2:
            frames = pan(rng, self.data, count + 1, size)
        else:
            frames = animate(rng, self.data, count + 1, size).images
        return [Sample(now, then) for now, then in pairwise(frames)]
