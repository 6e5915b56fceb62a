"""What it costs a joint model to keep the keys and values of its context for some evaluations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lavin_deploy.bundle.manifest import Refresh, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.export.checks.backends import in_onnxruntime
from lavin_deploy.export.checks.end_to_end import Answer
from lavin_deploy.flow.grids import Grid
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.sampler import Sampler

TRIED = (2, 4, 8)


def measure_refresh(
    bundle: Bundle, variant: Variant, every: int, answer: Answer, expected: Answer, grid: Grid
) -> Refresh:
    """Solve one answer with several refresh intervals.

    Args:
        bundle: the bundle being made.
        variant: its variant with ``refresh`` graphs.
        every: the interval that a run will use.
        answer: context and noise of the answer.
        expected: the joint answer, by the plain models.
        grid: of the default number of steps.

    Returns:
        The interval, and for every tried one (at most the steps of the grid) the relative L2
        distance of the final latents from the joint ones.
    """
    manifest, steps = bundle.manifest, len(grid) - 1
    height, width = manifest.defaults.size
    error = {}
    with in_onnxruntime(bundle, variant) as backend:  # its sessions serve every interval
        modulation = Modulation(backend, manifest)
        for interval in sorted({every, *(n for n in TRIED if n < steps), steps}):
            backend.variant = replace(variant, refresh=Refresh(every=interval))
            sampler = Sampler(
                backend, modulation, height=height, width=width, pairs=manifest.defaults.pairs
            )
            latents = sampler.sample(
                answer.noise, answer.context, grid=grid, guidance=manifest.defaults.guidance
            )
            distance = np.linalg.norm(latents - expected.latents) / np.linalg.norm(expected.latents)
            error[str(interval)] = float(distance)
    return Refresh(every=every, error=error)
