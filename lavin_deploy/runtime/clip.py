"""Video through the ST-VAE's stream graphs: any number of frames in constant memory.

``encoder_start`` and ``decoder_start`` take the first frame or latent, ``encoder_next`` and
``decoder_next`` a fixed number of later ones and the caches that the run before left: the last two
frames that every causal convolution saw.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from lavin_deploy.arrays import F32, Array
from lavin_deploy.bundle.manifest import Graph, Tensor
from lavin_deploy.errors import BundleError, InputError
from lavin_deploy.runtime.backends.base import Backend

Part = Literal["encoder", "decoder"]

CACHE_IN = "cache."
CACHE_OUT = "cache_out."
"""Before a cache's name, as an input and as an output: within a graph every name is unique."""


class ClipStream:
    """One video after another through the encoder or the decoder; one thread at a time.

    Frames and latents are what the graphs take and give: pixels in [-1, 1], latents unscaled. With
    a model whose norms are per frame (``temporal_norm="frame"``) the chunks are the whole clip up
    to rounding, however it is pushed; with norms over time they differ at chunk boundaries.

    Example::

        stream = ClipStream(backend, "encoder", height=128, width=128)
        for frames in video:                # (1, 3, n, 128, 128), any n
            use(stream.push(frames))        # (1, 16, m, 16, 16), m is 0 while frames gather
        use(stream.finish())

    Args:
        backend: active back end.
        part: ``"encoder"`` or ``"decoder"``.
        height: pixels; the bundle has stream graphs for it.
        width: likewise.

    Raises:
        BundleError: there are no such graphs, or the caches of the two do not fit each other.

    Attributes:
        chunk: frames (encoder) or latents (decoder) that one run takes behind the first.
        cache_bytes: memory that the caches take between two runs, whatever the video's length.
    """

    def __init__(self, backend: Backend, part: Part, *, height: int, width: int) -> None:
        self._backend = backend
        variant = backend.variant
        self._start = variant.graph(f"{part}_start", height=height, width=width)
        self._next = variant.graph(f"{part}_next", height=height, width=width)
        self._unit = "frames" if part == "encoder" else "latents"
        caches = _check_caches(self._start, self._next)
        self.cache_bytes = sum(np.dtype(s.dtype).itemsize * math.prod(s.shape) for s in caches)
        self._input, self._output = _main(self._next.inputs), _main(self._next.outputs)
        self.chunk = self._input.shape[2]
        self.reset()

    def reset(self) -> None:
        """Forget the video so far; the next frame is a first one."""
        self._caches: dict[str, Array] = {}
        self._waiting: F32 = np.empty(_frames(self._input.shape, 0), np.float32)
        self._seen = 0

    def prepare(self) -> None:
        """Load both graphs now rather than with the first frames."""
        self._backend.prepare(self._start)
        self._backend.prepare(self._next)

    def push(self, clip: F32) -> F32:
        """Take the next frames or latents, and give what is ready.

        Args:
            clip: (1, 3, n, H, W) pixels or (1, 16, n, h, w) latents, float32, any n.

        Returns:
            Latents (1, 16, m, h, w) or pixels (1, 3, m, H, W), float32: what follows from all
            whole chunks so far and was not given yet; m may be 0.

        Raises:
            InputError: another dtype or shape; the stream is as it was.
            WorkError: the computation failed; ``reset`` and push the video again.
        """
        shape = self._input.shape
        if (
            clip.dtype != np.float32
            or clip.ndim != 5
            or _frames(clip.shape, 0) != _frames(shape, 0)
        ):
            raise InputError(
                f"a stream of {self._unit} takes float32 (1, {shape[1]}, any number, {shape[3]}, "
                f"{shape[4]}); given: {clip.dtype} {clip.shape}."
            )
        outs = []
        if self._seen == 0 and clip.shape[2]:
            outs.append(self._run(self._start, clip[:, :, :1]))
            self._seen, clip = 1, clip[:, :, 1:]
        self._seen += clip.shape[2]
        waiting = np.concatenate((self._waiting, clip), axis=2)
        whole = waiting.shape[2] // self.chunk * self.chunk
        for begin in range(0, whole, self.chunk):
            outs.append(self._run(self._next, waiting[:, :, begin : begin + self.chunk]))
        self._waiting = waiting[:, :, whole:].copy()
        return self._joined(outs)

    def finish(self) -> F32:
        """Give what is left of the video, and be ready for another.

        A chunk that is not full is filled up with its last frame; what follows from the filling
        alone is cut off. With norms per frame that changes nothing.

        Returns:
            As :meth:`push`.

        Raises:
            InputError: a video to encode has not 4k + 1 frames; it may be pushed on.
            WorkError: the computation failed.
        """
        count, out_count = self._waiting.shape[2], self._output.shape[2]
        if count * out_count % self.chunk:
            raise InputError(
                f"a stream of {self._seen} frames does not round-trip; push "
                f"{-count % 4} more (repeat the last one) to have 4k + 1."
            )
        outs = []
        if count:
            filling = np.repeat(self._waiting[:, :, -1:], self.chunk - count, axis=2)
            out = self._run(self._next, np.concatenate((self._waiting, filling), axis=2))
            outs.append(out[:, :, : count * out_count // self.chunk])
        self.reset()
        return self._joined(outs)

    def _run(self, graph: Graph, clip: F32) -> F32:
        feed = {_main(graph.inputs).name: clip}
        if graph is self._next:
            feed |= self._caches
        outs = self._backend.infer(graph, feed)
        answer: F32 = outs.pop(_main(graph.outputs).name)
        self._caches = {CACHE_IN + name[len(CACHE_OUT) :]: array for name, array in outs.items()}
        return answer

    def _joined(self, outs: list[F32]) -> F32:
        nothing = np.empty(_frames(self._output.shape, 0), np.float32)
        return outs[0] if len(outs) == 1 else np.concatenate((nothing, *outs), axis=2)


def _main(specs: tuple[Tensor, ...]) -> Tensor:
    """The one input or output that is no cache."""
    (main,) = (spec for spec in specs if not spec.name.startswith((CACHE_IN, CACHE_OUT)))
    return main


def _frames(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    return (*shape[:2], count, *shape[3:])


def _check_caches(start: Graph, later: Graph) -> tuple[Tensor, ...]:
    """The caches that go in; BundleError unless what one run leaves is what the next one takes."""
    taken = tuple(spec for spec in later.inputs if spec.name.startswith(CACHE_IN))
    expected = {(spec.name[len(CACHE_IN) :], spec.dtype, spec.shape) for spec in taken}
    for graph in (start, later):
        left = {
            (spec.name[len(CACHE_OUT) :], spec.dtype, spec.shape)
            for spec in graph.outputs
            if spec.name.startswith(CACHE_OUT)
        }
        if left != expected:
            raise BundleError(
                f"{graph.file!r} does not leave the cache {min(left ^ expected)[0]!r} as "
                f"{later.file!r} takes it; export the bundle again."
            )
    return taken
