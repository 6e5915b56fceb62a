"""Measured times that replace assumed efficiencies.

A calibration is one JSON object, of one device, one precision and the bundle that is planned::

    {"device": "orin-agx-64", "precision": "fp16",
     "stages": [{"stage": "step", "height": 128, "width": 128, "pairs": 1, "ms": 1.9}]}

``stage`` is a graph's name in a manifest, ``ms`` milliseconds of one run of it; ``pairs`` is absent
where the graph does not depend on them (``encoder``, ``decoder``, ``*_null``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lavin_deploy.bundle.strict_json import from_json, parse
from lavin_deploy.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One graph of one size: milliseconds of a run."""

    stage: str
    height: int
    width: int
    pairs: int | None = None
    ms: float

    @property
    def place(self) -> str:
        """Which, for people."""
        pairs = "" if self.pairs is None else f", pairs {self.pairs}"
        return f"{self.stage} at {self.height}x{self.width}{pairs}"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured of one device and precision."""

    device: str
    precision: str
    stages: tuple[Measured, ...]


def read_calibration(path: Path) -> Calibration:
    """Read and check a file.

    Raises:
        BundleError: it is not such JSON; the message names the value.
        InputError: it cannot be read, is empty, or has a time that is none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the calibration {path} cannot be read ({error.strerror}); name a JSON file."
        ) from error
    calibration = from_json(Calibration, parse(content, str(path)), str(path))
    assert isinstance(calibration, Calibration)
    if not calibration.stages:
        raise InputError(f"{path} has no stages; it needs at least one measured time.")
    for measured in calibration.stages:
        if measured.ms <= 0:
            raise InputError(f"{path}: {measured.place} took {measured.ms:g} ms; give ms above 0.")
        whole = measured.stage in ("encoder", "decoder") or measured.stage.endswith("_null")
        if whole != (measured.pairs is None):
            needs = "does not depend on pairs: leave them out" if whole else "needs its pairs"
            raise InputError(f"{path}: the stage {measured.stage!r} {needs}.")
    return calibration
