"""Open a bundle and run its tasks on pictures: ``load``, ``Model.run`` and ``Model.stream``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from lavin_deploy.arrays import U8
from lavin_deploy.bundle.manifest import Manifest
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.errors import BundleError, InputError
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.runtime.answerer import STAGES, Answerer, Result
from lavin_deploy.runtime.backends.base import Backend
from lavin_deploy.runtime.backends.choose import make_backend
from lavin_deploy.runtime.codec import Codec
from lavin_deploy.runtime.context import Context, GivenPairs, StoredContext
from lavin_deploy.runtime.modulation import Modulation
from lavin_deploy.runtime.request import Sampling, Size, check_size, choose_sampling, make_settings
from lavin_deploy.tasks.stored import StoredTask, read_task

__all__ = ["DEFAULT_BUNDLE", "STAGES", "Model", "Result", "load"]

DEFAULT_BUNDLE = Path(__file__).parent.parent / "bundles" / "edge.lavin"
"""The bundle that ships with the package."""


class Model:
    """A bundle on a back end, ready to run; made by :func:`load`.

    A context manager. Use one from one thread at a time; any number may be open. It cannot be
    pickled: a worker process loads its own.

    Attributes:
        bundle: the open bundle.
        manifest: its parsed manifest.
        backend: name of the back end that runs it.
        precision: precision of the variant that runs.
        choice: what ``backend="auto"`` chose and why, in a line; empty where one was asked for.
    """

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest
        self.backend = backend.name
        self.precision = backend.variant.precision
        self.choice = backend.choice
        self._open = True
        self._stack = ExitStack()
        self._stack.enter_context(bundle)
        self._backend = self._stack.enter_context(backend)
        self._modulation = Modulation(backend, self.manifest)

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "a Model cannot be pickled or copied: it holds open files and its back end's sessions; "
            f"send the path {str(self.bundle.path)!r} and load it in each worker, e.g. in the "
            "initializer of a process pool."
        )

    def close(self) -> None:
        """Release the back end and what the bundle extracted; the model cannot run any more."""
        self._open = False
        self._stack.close()

    def _require_open(self) -> None:
        if not self._open:
            raise InputError(
                f"this model is closed; load {str(self.bundle.path)!r} again, or run it inside "
                "its with block."
            )

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the stored tasks."""
        return tuple(entry.name for entry in self.manifest.tasks)

    def task(self, name: str) -> StoredTask:
        """Return a stored task's description.

        Raises:
            InputError: there is no such task; the message has the nearest name.
        """
        self._require_open()
        return read_task(self.bundle, name)

    def settings(
        self, task: str | None = None, steps: int | None = None, guidance: float | None = None
    ) -> Sampling:
        """Return the steps and guidance that a run with these arguments takes.

        Args:
            task: name of a stored task; None for a run with the caller's pairs.
            steps: model evaluations; None takes the task's, else the bundle's default.
            guidance: weight; None likewise.

        Raises:
            InputError: there is no such task.
        """
        stored = None if task is None else self.task(task)
        return choose_sampling(self.manifest, stored, steps, guidance)

    def codec(self, size: Size) -> Codec:
        """Return the encoder and decoder of one (height, width) of the bundle."""
        self._require_open()
        return Codec(self._backend, self.manifest.latent, *check_size(self.manifest, size))

    def describe(self) -> str:
        """Return library, version, device and threads of the back end in one line."""
        self._require_open()
        return self._backend.describe()

    def run(
        self,
        task: str | None = None,
        frame: U8 | None = None,
        *,
        pairs: Iterable[tuple[U8, U8]] | None = None,
        query: U8 | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        noise: Latents | None = None,
        num_pairs: int | None = None,
        size: Size | None = None,
    ) -> Result:
        """Answer one frame.

        Args:
            task: name of a stored task; or give ``pairs``.
            frame: the frame, (H, W, 3) uint8 RGB, of any size; ``query`` is another name for it.
            pairs: (input, target) example pairs that say what to do, instead of ``task``.
            query: see ``frame``.
            steps: model evaluations; None takes the task's, else the bundle's default.
            guidance: weight, 1 for none; None likewise.
            seed: of the noise, 0 .. 2^64 - 1.
            noise: (1, 16, 1, h/8, w/8) float32 that replaces the seeded draw.
            num_pairs: use the first so many pairs; None see ``choose_pairs``.
            size: (height, width) of the bundle to run at; None takes what fits the frame best.

        Returns:
            The answer.

        Raises:
            InputError: an argument cannot be used.
            BundleError: the bundle lacks what is asked.
            WorkError: the computation failed.
        """
        if (frame is None) == (query is None):
            raise InputError("give one frame: run(task, frame) or run(pairs=..., query=frame).")
        source = frame if frame is not None else query
        assert source is not None
        answerer = self._prepare(task, pairs, num_pairs, size, steps, guidance, seed, noise)
        return answerer.answer(source)

    def stream(
        self,
        task: str | None = None,
        frames: Iterable[U8] | None = None,
        *,
        pairs: Iterable[tuple[U8, U8]] | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        noise: Latents | None = None,
        num_pairs: int | None = None,
        size: Size | None = None,
    ) -> Iterator[Result]:
        """Answer frames one after the other, in constant memory.

        The pairs are encoded once, and every frame starts from the same noise, so that the answer
        does not flicker. Arguments are those of :meth:`run`; they are checked at once.

        Args:
            task: name of a stored task; or give ``pairs``.
            frames: frames (H, W, 3) uint8, never left out; sizes may change on the way.
            pairs: as in ``run``, and so are the others.

        Returns:
            An iterator that yields a result for each frame, in order.

        Raises:
            LavinError: as ``run``; for a single frame while iterating.
        """
        if not isinstance(frames, Iterable):
            raise InputError(
                "give an iterable of frames: stream(task, frames) or "
                f"stream(frames=..., pairs=...); given: {type(frames).__name__}."
            )
        answerer = self._prepare(task, pairs, num_pairs, size, steps, guidance, seed, noise)

        def answer(frame: U8) -> Result:
            self._require_open()
            return answerer.answer(frame)

        return map(answer, frames)

    def _prepare(
        self,
        task: str | None,
        pairs: Iterable[tuple[U8, U8]] | None,
        num_pairs: int | None,
        size: Size | None,
        steps: int | None,
        guidance: float | None,
        seed: int,
        noise: Latents | None,
    ) -> Answerer:
        self._require_open()
        if (task is None) == (pairs is None):
            raise InputError("give either the name of a stored task or example pairs.")
        stored: StoredTask | None = None
        context: Context
        if task is not None:
            stored = self.task(task)
            context = StoredContext(self.bundle, stored)
        else:
            assert pairs is not None
            context = GivenPairs(pairs)
        sampling = choose_sampling(self.manifest, stored, steps, guidance)
        return Answerer(
            manifest=self.manifest,
            backend=self._backend,
            modulation=self._modulation,
            settings=make_settings(self.manifest, sampling, seed=seed, noise=noise),
            context=context,
            num_pairs=num_pairs,
            size=size,
        )


def load(
    bundle: str | os.PathLike[str] | None = None,
    *,
    backend: str = "auto",
    precision: str | None = None,
    dialect: str | None = None,
    threads: int | None = None,
) -> Model:
    """Open a bundle, verify it and make it ready to run.

    Args:
        bundle: folder or stored zip; None takes the bundle that ships with the package.
        backend: ``"auto"``, ``"onnxruntime"`` or ``"tensorrt"``.
        precision: of the variant to run; None takes the bundle's default.
        dialect: of the variant to run; None takes the first of that precision that the back end
            runs.
        threads: worker threads of CPU back ends; None takes the physical cores.

    Returns:
        The model; close it or use it as a context manager.

    Raises:
        BundleError: the bundle is missing, damaged or has no such variant.
        InputError: the back end is unknown or cannot run here.
    """
    opened = open_bundle(bundle_path(bundle))
    try:
        chosen = make_backend(backend, opened, precision, dialect, threads=threads)
        return Model(opened, chosen)
    except BaseException:
        opened.close()
        raise


def bundle_path(bundle: str | os.PathLike[str] | None) -> Path:
    """Return where a bundle lies; None means the one that ships with the package.

    Raises:
        BundleError: None was given and no bundle ships with this installation.
        InputError: what was given is no path.
    """
    if bundle is None and not DEFAULT_BUNDLE.exists():
        raise BundleError(
            "this installation has no bundle of its own; name one, e.g. with --bundle."
        )
    if bundle is None:
        return DEFAULT_BUNDLE
    try:
        return Path(os.fsdecode(bundle))
    except TypeError as error:
        raise InputError(
            f"a bundle is given by its path; given: {type(bundle).__name__}."
        ) from error
