"""What a device does for a runtime that stays on it: memory, engines, a little arithmetic, graphs.

No type of a vendor's library appears here. Work is queued in order on one stream; only
``synchronize`` waits for it. :mod:`lavin_deploy.runtime.device.cuda.device` is the real one; tests
have one in numpy that runs the same programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lavin_deploy.arrays import Array
from lavin_deploy.bundle.manifest import Tensor
from lavin_deploy.engines.store import StoredEngine

Address = int
CapturedGraph = Any
Event = Any


class Engine(Protocol):
    """A graph that a device runs."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Names, dtypes and shapes, as the engine itself says."""

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Likewise."""


class Device(Protocol):
    """One device and one queue of work on it."""

    def describe(self) -> str:
        """Return the library, its version and the device in one line."""

    def allocate(self, size: int) -> Address:
        """Return the address of ``size`` new bytes, a multiple of 256; released by ``close``."""

    def enter(self) -> None:
        """Make this the device of the thread that calls; first of all in every piece of work."""

    def load(self, stored: StoredEngine) -> Engine:
        """Make an engine ready to run; it lives until ``close``."""

    def upload(self, target: Address, array: Array) -> None:
        """Queue a copy from the host; ``array`` may change as soon as this returns."""

    def download(self, source: Address, array: Array) -> None:
        """Queue a copy to the host; ``array`` holds it after ``synchronize``."""

    def run(self, engine: Engine, tensors: Mapping[str, Address]) -> None:
        """Queue a run of an engine; every input and output has its address."""

    def copy(self, target: Address, source: Address, size: int) -> None:
        """Queue a copy of so many bytes."""

    def affine(
        self,
        target: Address,
        source: Address,
        *,
        channels: int,
        length: int,
        stride: int,
        add: float,
        factor: float,
        shift: float,
    ) -> None:
        """Queue ``(x + add) * factor + shift`` on (channels, length) float32.

        Rows of the result begin ``stride`` elements apart.
        """

    def update(
        self,
        z: Address,
        velocity: Address,
        null: Address,
        *,
        weight: float,
        span: float,
        length: int,
    ) -> None:
        """Queue ``z += span * (null + weight * (velocity - null))``; weight 1 ignores ``null``."""

    def capture(self, work: Callable[[], None]) -> CapturedGraph:
        """Return what ``work`` queues, to be launched as one; it is not run by this."""

    def launch(self, captured_graph: CapturedGraph) -> None:
        """Queue a captured graph."""

    def mark(self, event: Event | None = None) -> Event:
        """Queue the recording of an event; one that was recorded before is recorded anew."""

    def between(self, first: Event, last: Event) -> float:
        """Return the seconds between two marks; both have passed."""

    def synchronize(self) -> None:
        """Wait for everything that was queued.

        Raises:
            WorkError: some of it failed.
        """

    def close(self) -> None:
        """Give everything back."""
