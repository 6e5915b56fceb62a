"""What one run asks of a bundle: checked against the manifest before anything is computed."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lavin_deploy.bundle.manifest import Manifest
from lavin_deploy.errors import InputError
from lavin_deploy.flow.grids import Grid, check_grid, grid_for
from lavin_deploy.flow.guidance import check_weight
from lavin_deploy.flow.noise import check_seed
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.tasks.stored import StoredTask

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a task is sampled.

    Attributes:
        steps: model evaluations, the null branch not counted.
        guidance: weight w; 1 is none.
    """

    steps: int
    guidance: float


def choose_sampling(
    manifest: Manifest,
    task: StoredTask | None,
    steps: int | None = None,
    guidance: float | None = None,
) -> Sampling:
    """Return what is asked for, else what the task recommends, else the bundle's default."""
    for hint in (task, manifest.defaults):
        if hint is not None:
            steps = hint.steps if steps is None else steps
            guidance = hint.guidance if guidance is None else guidance
    assert steps is not None
    assert guidance is not None
    return Sampling(steps=steps, guidance=guidance)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that the sampler needs, checked.

    Attributes:
        grid: (steps + 1,) float32 from 0 (noise) to 1 (data).
        guidance: weight w; 1 is none.
        seed: of the noise, 0 .. 2^64 - 1.
        noise: (1, 16, T, h/8, w/8) float32 that replaces the seeded draw, or None.
    """

    grid: Grid
    guidance: float
    seed: int
    noise: Latents | None

    @property
    def steps(self) -> int:
        """Model evaluations, the null branch not counted."""
        return len(self.grid) - 1


def make_settings(
    manifest: Manifest,
    sampling: Sampling,
    *,
    seed: int,
    noise: Latents | None,
) -> Settings:
    """Check the options of a run.

    Raises:
        InputError: an option is out of range.
    """
    check_weight(sampling.guidance)
    check_seed(seed)
    if noise is not None:
        array = isinstance(noise, np.ndarray)
        if not array or noise.dtype != np.float32 or not np.isfinite(noise).all():
            kind = f"{noise.dtype} {noise.shape}" if array else type(noise).__name__
            raise InputError(
                f"noise is a finite float32 array (1, 16, T, h/8, w/8); given: {kind}."
            )
    return Settings(
        grid=choose_grid(manifest, sampling.steps),
        guidance=float(sampling.guidance),
        seed=int(seed),
        noise=noise,
    )


def choose_grid(manifest: Manifest, steps: int) -> Grid:
    """Return the manifest's own grid if it has that many steps, else one of the manifest's kind.

    Raises:
        InputError: the kind has no grid of that many steps.
    """
    default = check_grid(manifest.time.default_grid)
    whole = isinstance(steps, int | np.integer) and not isinstance(steps, bool)
    if whole and steps == len(default) - 1:
        return default
    return grid_for(steps, manifest.time.kind)


def check_size(manifest: Manifest, size: Size) -> Size:
    """Return a (height, width) if the bundle has it.

    Raises:
        InputError: it does not, or it is no pair of whole numbers; the message lists what it has.
    """
    sizes = manifest.sizes()
    listed = ", ".join(f"{height}x{width}" for height, width in sizes)
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"size is {size!r}; it is (height, width) in pixels, e.g. {sizes[0]}. "
            f"The bundle has: {listed}."
        ) from error
    if (height, width) not in sizes:
        raise InputError(f"the bundle has no size {height}x{width}; it has: {listed}.")
    return height, width


def choose_size(sizes: Sequence[Size], frame: Size) -> Size:
    """Return the size that fits a frame's aspect ratio best; the first among equals.

    Args:
        sizes: (height, width) of the bundle, the default first.
        frame: (H, W) of the frame in pixels.
    """
    aspect = math.log(frame[1] / frame[0])
    return min(sizes, key=lambda size: round(abs(math.log(size[1] / size[0]) - aspect), 6))


def choose_pairs(
    manifest: Manifest,
    size: Size,
    *,
    available: int,
    requested: int | None,
    preferred: int | None,
) -> int:
    """Return how many of the available pairs to use; the first ones are used.

    Args:
        manifest: of the bundle.
        size: (height, width) that runs.
        available: pairs that the task or the caller has.
        requested: an explicit number; None chooses.
        preferred: what is chosen where graphs and pairs allow it: a stored task's number, or the
            bundle's default. None: as many as the largest graph takes.

    Raises:
        InputError: no graph takes that number, or the pairs do not suffice.
    """
    accepted = manifest.pairs_at(*size)
    listed = ", ".join(map(str, accepted))
    usable = [count for count in accepted if count <= available]
    if not usable:
        raise InputError(
            f"there are {available} example pairs and the bundle takes {listed} at "
            f"{size[0]}x{size[1]}; give more pairs."
        )
    if requested is not None:
        if isinstance(requested, int | np.integer) and requested in usable:
            return int(requested)
        raise InputError(
            f"cannot use {requested} pairs: there are {available} and the bundle takes {listed} at "
            f"{size[0]}x{size[1]}."
        )
    return preferred if preferred in usable else usable[-1]


def bundle_pairs(manifest: Manifest, size: Size, available: int) -> int:
    """Return the bundle's number of pairs, or what there is for so many; see :func:`choose_pairs`.

    Raises:
        InputError: the pairs do not suffice.
    """
    default = manifest.defaults.pairs
    return choose_pairs(manifest, size, available=available, requested=None, preferred=default)


def used_pairs(manifest: Manifest, task: StoredTask) -> int:
    """Return how many of its pairs a stored task uses by itself at the bundle's default size.

    Raises:
        InputError: no graph takes as few as it has.
    """
    return choose_pairs(
        manifest,
        manifest.defaults.size,
        available=len(task.pairs),
        requested=None,
        preferred=preferred_pairs(manifest, task),
    )


def preferred_pairs(manifest: Manifest, task: StoredTask) -> int:
    """Return how many pairs a stored task asks for: its own number, or the bundle's default."""
    return task.num_pairs or manifest.defaults.pairs


def check_noise(noise: Latents, *shapes: tuple[int, ...]) -> Latents:
    """Return given noise if it has one of the shapes that this run needs.

    Raises:
        InputError: it does not.
    """
    if noise.shape not in shapes:
        needed = " or ".join(map(str, shapes))
        raise InputError(f"noise has the shape {noise.shape}; this run needs {needed}.")
    return noise


def latent_shape(manifest: Manifest, size: Size) -> tuple[int, int, int, int, int]:
    """Return (1, channels, 1, h/8, w/8) of the target of an image task."""
    cell = manifest.latent.downsample
    return (1, manifest.latent.channels, 1, size[0] // cell, size[1] // cell)
