"""One task at fixed settings, frame after frame: everything that can be is computed once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.bundle.manifest import Manifest
from lavin_deploy.flow import noise as noises
from lavin_deploy.flow.grids import check_grid
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.runtime.backends.base import Backend, Frames
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.context import Context
from lavin_deploy.runtime.letterbox import Letterbox, check_image
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.request import (
    Settings,
    Size,
    check_noise,
    check_size,
    choose_pairs,
    choose_size,
    latent_shape,
)
from lavin_deploy.runtime.sampler import Sampler

STAGES = ("setup", "preprocess", "encode", "sample", "decode", "postprocess")


@dataclass(frozen=True, kw_only=True)
class Result:
    """The answer to one frame.

    Attributes:
        image: (H, W, 3) uint8, the answer in the frame's size.
        target: (h, w, 3) uint8, the answer as the model made it.
        latents: (1, 16, T, h/8, w/8) float32 scaled, T = 1.
        pairs: example pairs that were used, the first of those there are.
        timings: seconds by stage, keys ``STAGES``; ``setup`` is the loading of graphs and the
            encoding of example pairs, next to nothing where that was done before.
    """

    image: U8
    target: U8
    latents: Latents
    pairs: int
    timings: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _OnHost:
    """Graph after graph, with arrays on the host; ``context`` lacks the query, its last frame."""

    codec: Codec
    sampler: Sampler
    context: Latents
    noise: Latents
    settings: Settings

    def answer(self, picture: U8) -> tuple[Latents, U8, Mapping[str, float]]:
        """See :class:`Frames`."""
        timings = dict.fromkeys(("encode", "sample", "decode"), 0.0)
        with _timed(timings, "encode"):
            context = np.concatenate([self.context, self.codec.encode(picture)], axis=2)
        with _timed(timings, "sample"):
            grid, guidance = self.settings.grid, self.settings.guidance
            latents = self.sampler.sample(self.noise, context, grid=grid, guidance=guidance)
        with _timed(timings, "decode"):
            target = self.codec.decode(latents)
        return latents, target, timings


class Answerer:
    """Answers frames by one context; remembers context latents and noise for each size.

    Args:
        manifest: of the bundle.
        backend: active back end.
        modulation: precomputed modulation for each timestep.
        settings: how to sample.
        context: the example pairs.
        num_pairs: how many of them to use; None see ``choose_pairs``.
        size: (height, width) to run at; None takes what fits each frame best.

    Raises:
        InputError: the bundle lacks the size, or graphs for the pairs, or noise fits no size.
    """

    def __init__(
        self,
        *,
        manifest: Manifest,
        backend: Backend,
        modulation: Modulation,
        settings: Settings,
        context: Context,
        num_pairs: int | None = None,
        size: Size | None = None,
    ) -> None:
        self._manifest, self._backend, self._modulation = manifest, backend, modulation
        self._settings, self._context, self._num_pairs = settings, context, num_pairs
        self._sizes = manifest.sizes() if size is None else (check_size(manifest, size),)
        self._prepared: dict[Size, Frames] = {}
        self._counts = {each: self._count(each) for each in self._sizes}
        if settings.noise is not None:
            check_noise(settings.noise, *(latent_shape(manifest, each) for each in self._sizes))

    def answer(self, frame: U8) -> Result:
        """Answer one frame, (H, W, 3) uint8; the errors are those of ``Model.run``."""
        check_image(frame)
        timings = dict.fromkeys(STAGES, 0.0)
        source = (frame.shape[0], frame.shape[1])
        size = choose_size(self._sizes, source)
        with _timed(timings, "setup"):
            if size not in self._prepared:
                self._prepared[size] = self._prepare(size)
            ready = self._prepared[size]
        with _timed(timings, "preprocess"):
            box = Letterbox(source, size)
            fitted = box.forward(frame)
        latents, target, seconds = ready.answer(fitted)
        timings.update(seconds)
        with _timed(timings, "postprocess"):
            image = box.backward(target)
        return Result(
            image=image,
            target=target,
            latents=latents,
            pairs=self._counts[size],
            timings=timings,
        )

    def _prepare(self, size: Size) -> Frames:
        count = self._counts[size]
        shape = latent_shape(self._manifest, size)
        fixed_noise = self._settings.noise
        if fixed_noise is None:
            noise = noises.normal(self._settings.seed, shape)
        else:
            noise = check_noise(fixed_noise, shape)
        codec = Codec(self._backend, self._manifest.latent, *size)
        context = self._context.latents(codec, count)
        resident = self._backend.resident(
            self._modulation.row,
            size=size,
            pairs=context,
            noise=noise,
            grid=check_grid(self._settings.grid),
            guidance=self._settings.guidance,
        )
        if resident is not None:
            return resident
        sampler = Sampler(
            self._backend, self._modulation, height=size[0], width=size[1], pairs=count
        )
        codec.prepare()
        sampler.prepare(guidance=self._settings.guidance)
        return _OnHost(
            codec=codec, sampler=sampler, context=context, noise=noise, settings=self._settings
        )

    def _count(self, size: Size) -> int:
        return choose_pairs(
            self._manifest,
            size,
            available=self._context.available,
            requested=self._num_pairs,
            preferred=self._context.preferred,
        )


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] += time.perf_counter() - start
