"""Runs a program on a device, frame after frame; the sampler loop is captured once and launched.

Order: constants up and ``once``; the first frame is queued operation by operation, which lets
engines set themselves up; then the loop is captured, and every later frame launches it as one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from lavin_deploy.arrays import U8, Array
from lavin_deploy.bundle.manifest import Graph
from lavin_deploy.errors import WorkError
from lavin_deploy.flow.solvers import Latents
from lavin_deploy.runtime.device.device import CapturedGraph, Device, Engine, Event
from lavin_deploy.runtime.device.program import (
    ANSWER,
    CONTEXT,
    LATENT,
    NOISE,
    NULL_CONTEXT,
    PIXELS,
    ROWS,
    Affine,
    Copy,
    Operation,
    Place,
    Program,
    Run,
)
from lavin_deploy.runtime.letterbox import to_pixels, to_u8


class Resident:
    """Answers pictures of one size by one program.

    Args:
        device: to run on.
        program: what to do.
        engine: gives the engine of a graph.
        row: gives the (1, R) float32 row of a time.
        noise: (1, 16, 1, h, w) float32.
        pairs: (1, 16, 2 pairs, h, w) float32 scaled, the context without the query.
    """

    def __init__(
        self,
        device: Device,
        program: Program,
        *,
        engine: Callable[[Graph], Engine],
        row: Callable[[np.float32], Array],
        noise: Latents,
        pairs: Latents,
    ) -> None:
        self._device, self._program = device, program
        self._engines = {graph.file: engine(graph) for graph in program.graphs}
        offsets, size = program.offsets()
        start = device.allocate(size)
        self._addresses = {name: start + offset for name, offset in offsets.items()}
        self._pixels = np.empty((1, 3, 1, 8 * noise.shape[3], 8 * noise.shape[4]), np.float32)
        self._latents = np.empty(noise.shape, np.float32)
        self._loop: CapturedGraph | None = None
        self._frames = 0
        self._events: list[Event] = []
        self._upload(program, row, noise, pairs)

    def answer(self, picture: U8) -> tuple[Latents, U8, Mapping[str, float]]:
        """Answer one picture of the program's size.

        Args:
            picture: (height, width, 3) uint8.

        Returns:
            Latents (1, 16, 1, h, w) float32 scaled; the target (height, width, 3) uint8; seconds
            of the stages ``encode``, ``sample`` and ``decode`` on the device.

        Raises:
            WorkError: the device failed.
        """
        device, program = self._device, self._program
        device.enter()
        if self._frames == 1:
            try:
                self._loop = device.capture(lambda: self._queue(program.sample))
            except WorkError as error:
                warnings.warn(f"the sampler loop is queued, not captured: {error}", stacklevel=2)
        self._mark(0)
        device.upload(self._address(Place(PIXELS)), to_pixels(picture))
        self._queue(program.encode)
        self._mark(1)
        if self._loop is None:
            self._queue(program.sample)
        else:
            device.launch(self._loop)
        self._mark(2)
        self._queue(program.decode)
        device.download(self._address(Place(ANSWER)), self._pixels)
        device.download(self._address(Place(LATENT)), self._latents)
        self._mark(3)
        device.synchronize()
        self._frames += 1
        stages = zip(("encode", "sample", "decode"), pairwise(self._events), strict=True)
        seconds = {stage: device.between(*events) for stage, events in stages}
        return self._latents.copy(), to_u8(self._pixels), seconds

    def _upload(
        self,
        program: Program,
        row: Callable[[np.float32], Array],
        noise: Latents,
        pairs: Latents,
    ) -> None:
        for index, time in enumerate(program.times):
            place = Place(ROWS, index * program.row_stride)
            self._device.upload(self._address(place), row(time))
        self._device.upload(self._address(Place(NOISE)), noise)
        whole = program.buffers[CONTEXT] // (pairs.itemsize * pairs[:, :, 0].size)
        context = np.zeros((*pairs.shape[:2], whole, *pairs.shape[3:]), np.float32)
        context[:, :, : pairs.shape[2]] = pairs  # the query's frame, if any, comes with a picture
        self._device.upload(self._address(Place(CONTEXT)), context)
        if NULL_CONTEXT in program.buffers:
            zeros = np.zeros(program.buffers[NULL_CONTEXT] // 4, np.float32)
            self._device.upload(self._address(Place(NULL_CONTEXT)), zeros)
        self._queue(program.once)
        self._device.synchronize()

    def _mark(self, which: int) -> None:
        if which == len(self._events):
            self._events.append(self._device.mark())
        else:
            self._device.mark(self._events[which])

    def _address(self, place: Place) -> int:
        return self._addresses[place.buffer] + place.offset

    def _queue(self, operations: Sequence[Operation]) -> None:
        device, at = self._device, self._address
        for operation in operations:
            if isinstance(operation, Run):
                tensors = {name: at(place) for name, place in operation.tensors.items()}
                device.run(self._engines[operation.graph.file], tensors)
            elif isinstance(operation, Copy):
                device.copy(at(operation.target), at(operation.source), operation.size)
            elif isinstance(operation, Affine):
                device.affine(
                    at(operation.target),
                    at(operation.source),
                    channels=operation.channels,
                    length=operation.length,
                    stride=operation.stride,
                    add=operation.add,
                    factor=operation.factor,
                    shift=operation.shift,
                )
            else:
                device.update(
                    at(operation.z),
                    at(operation.velocity),
                    at(operation.null),
                    weight=operation.weight,
                    span=operation.span,
                    length=operation.length,
                )
