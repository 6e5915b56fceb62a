"""A model whose answers to given pairs, at each task's own settings, are timed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from lavin_deploy.arrays import U8
from lavin_deploy.runtime.answerer import STAGES
from lavin_deploy.runtime.letterbox import Letterbox
from lavin_deploy.runtime.pipeline import Model
from lavin_deploy.runtime.request import Sampling, Size, check_size
from lavin_deploy.tasks.samples import Pairs


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Median times.

    Attributes:
        runs: answers that were timed.
        stages: milliseconds by stage, keys ``STAGES``. ``setup`` is the encoding of the pairs,
            which a stored task has done already.
        frame: milliseconds a frame takes without ``setup``.
    """

    runs: int
    stages: dict[str, float]
    frame: float


@dataclass(kw_only=True)
class TimedModel:
    """Answers by an open model, each timed.

    Attributes:
        model: what answers.
        size: (height, width) it runs at.
        steps: for every task; None takes the stored task's, else the bundle's default.
        guidance: likewise.
        seed: of the noise, the same for every answer.
    """

    model: Model
    size: Size
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    _timings: list[dict[str, float]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        check_size(self.model.manifest, self.size)

    def settings(self, task: str) -> Sampling:
        """Return how a task is sampled; the bundle need not have it stored."""
        stored = task if task in self.model.tasks else None
        return self.model.settings(stored, self.steps, self.guidance)

    def answer(self, task: str) -> Callable[[Pairs, U8], U8]:
        """Return a function from pairs and query (H, W, 3) uint8 to the answer in its size."""
        settings = self.settings(task)

        def answer(pairs: Pairs, query: U8) -> U8:
            result = self.model.run(
                pairs=pairs,
                query=query,
                steps=settings.steps,
                guidance=settings.guidance,
                seed=self.seed,
                size=self.size,
            )
            self._timings.append(result.timings)
            return result.image

        return answer

    def reconstruct(self, image: U8) -> U8:
        """Encode and decode a picture (H, W, 3) uint8, in its size."""
        codec = self.model.codec(self.size)
        box = Letterbox((image.shape[0], image.shape[1]), self.size)
        return box.backward(codec.decode(codec.encode(box.forward(image))))

    def speed(self) -> Speed | None:
        """Return the median times so far; None before the first answer."""
        if not self._timings:
            return None
        return Speed(
            runs=len(self._timings),
            stages={name: 1e3 * median(t[name] for t in self._timings) for name in STAGES},
            frame=1e3 * median(sum(t.values()) - t["setup"] for t in self._timings),
        )


def pairs_for(model: Model, size: Size) -> int:
    """Return how many pairs to show: the bundle's default, or the most there are graphs for."""
    accepted = model.manifest.pairs_at(*size)
    default = model.manifest.defaults.pairs
    return default if default in accepted else accepted[-1]


def identity(model: Model) -> dict[str, str]:
    """Return what names a bundle for good: its path, name and the sha256 of its manifest.

    The manifest lists the sha256 of every other file, so its own is that of the whole.
    """
    return {
        "path": str(model.bundle.path),
        "name": model.manifest.name,
        "sha256": hashlib.sha256(model.bundle.manifest_text()).hexdigest(),
        "source_sha256": model.manifest.source.sha256,
    }
