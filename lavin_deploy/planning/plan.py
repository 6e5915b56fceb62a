"""Which settings of a model a device can run, how long they should take, and which are worth it.

A stage takes ``max(FLOPs / (peak x COMPUTE), bytes / (bandwidth x BANDWIDTH))`` and ``LAUNCH`` for
every kernel. Nothing of this is a measurement unless a calibration is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.planning.budget import PRECISIONS, Budget, Setting, Stage, budget
from lavin_deploy.planning.devices import DeviceSpec
from lavin_deploy.planning.measured import Calibration, Measured
from lavin_deploy.planning.space import Space

COMPUTE = 0.5
"""Assumed share of the dense peak that products and convolutions reach."""
BANDWIDTH = 0.7
"""Assumed share of the memory's bandwidth."""
LAUNCH = 5e-6
"""Assumed seconds to start a kernel; a CUDA graph needs less."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A setting on a device.

    Attributes:
        budget: what it takes.
        seconds: graph -> one run of it.
        fits: whether it fits the memory of one process.
    """

    budget: Budget
    seconds: dict[str, float]
    fits: bool

    def latency(self, steps: int) -> float:
        """Seconds from a picture to the answer; the task's pairs are known."""
        refresh = self.budget.setting.refresh
        return sum(
            stage.runs(steps, refresh) * self.seconds[stage.graph] for stage in self.budget.stages
        )


@dataclass(frozen=True, kw_only=True)
class Point:
    """A setting with a number of steps that nothing else betters.

    Attributes:
        setting: what.
        steps: model evaluations.
        seconds: from a picture to the answer.
        bytes: memory.
        within: whether it is within the latency asked for; None if none was.
        most: whether it is, and nothing else within it has as much of everything.
    """

    setting: Setting
    steps: int
    seconds: float
    bytes: int
    within: bool | None = None
    most: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The answer of ``lavin-plan``; ``points`` by latency, shortest first."""

    title: str
    device: DeviceSpec
    planned: tuple[Planned, ...]
    points: tuple[Point, ...]
    notes: tuple[str, ...]


def make_plan(
    space: Space,
    device: DeviceSpec,
    *,
    latency: float | None = None,
    calibration: Calibration | None = None,
) -> Plan:
    """Work out every setting and keep those that nothing betters.

    Args:
        space: what to choose from.
        device: where.
        latency: seconds to mark points by.
        calibration: measured stages.

    Raises:
        InputError: the calibration is of another device, precision or kind of bundle, or a size
            cannot be cut into patches.
    """
    ratios = _ratios(calibration, device, space.settings)
    planned = []
    for one in map(budget, space.settings):
        factors = ratios if calibration and one.setting.precision == calibration.precision else {}
        seconds = {
            stage.graph: factors.get(stage.graph, 1.0) * predict(stage, one.setting, device)
            for stage in one.stages
        }
        planned.append(Planned(budget=one, seconds=seconds, fits=one.total <= device.usable))
    points = _best(_points(planned, space.steps))
    if latency is not None:
        points = _marked(points, latency)
    return Plan(
        title=space.title,
        device=device,
        planned=tuple(planned),
        points=tuple(points),
        notes=(*space.notes, *_calibrated(calibration, ratios)),
    )


def predict(stage: Stage, setting: Setting, device: DeviceSpec) -> float:
    """Seconds of one run of a stage, by the assumptions above."""
    precision = PRECISIONS[setting.precision]
    compute = stage.count.products / device.peak[precision.products]
    compute += stage.count.others / device.peak[precision.rest]
    memory = stage.traffic / device.bandwidth
    return max(compute / COMPUTE, memory / BANDWIDTH) + LAUNCH * stage.count.kernels


def _points(planned: Iterable[Planned], steps: Sequence[int]) -> Iterator[Point]:
    for one in planned:
        setting = one.budget.setting
        for count in steps:
            if one.fits and (setting.refresh is None or setting.refresh <= count):
                yield Point(
                    setting=setting,
                    steps=count,
                    seconds=one.latency(count),
                    bytes=one.budget.total,
                )


def _worth(point: Point) -> tuple[int, ...]:
    """What a point has, each more the better; how much each is worth nobody has measured."""
    setting = point.setting
    refresh = setting.refresh or 1
    return (
        setting.height,
        setting.width,
        setting.pairs,
        point.steps,
        PRECISIONS[setting.precision].rank,
        -refresh,
    )


def _as_much(one: Point, other: Point) -> bool:
    """Whether ``one`` is no worse than ``other`` in anything; only like contexts compare."""
    kinds = [p.setting.frozen and p.setting.refresh is None for p in (one, other)]
    return kinds[0] == kinds[1] and all(
        a >= b for a, b in zip(_worth(one), _worth(other), strict=True)
    )


def _best(points: Iterable[Point]) -> list[Point]:
    """Those that no other dominates, by latency: as much of everything in no more time."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.seconds, [-part for part in _worth(p)])):
        if not any(_as_much(other, point) and not _same(other, point) for other in kept):
            kept.append(point)
    return kept


def _same(one: Point, other: Point) -> bool:
    return _worth(one) == _worth(other) and one.seconds == other.seconds


def _marked(points: Sequence[Point], latency: float) -> list[Point]:
    within = [point for point in points if point.seconds <= latency]

    def most(point: Point) -> bool:
        more = (o for o in within if _as_much(o, point) and _worth(o) != _worth(point))
        return point in within and not any(more)

    return [replace(p, within=p.seconds <= latency, most=most(p)) for p in points]


def _ratios(
    calibration: Calibration | None, device: DeviceSpec, settings: Sequence[Setting]
) -> dict[str, float]:
    """Graph -> measured over predicted time, the geometric mean of what was measured of it."""
    if calibration is None:
        return {}
    if calibration.device != device.name:
        raise InputError(
            f"the calibration was measured on {calibration.device!r} and the plan is for "
            f"{device.name!r}; give the results of that device, or leave --calibration out."
        )
    like = next((s for s in settings if s.precision == calibration.precision), None)
    if like is None:
        planned = ", ".join(dict.fromkeys(s.precision for s in settings))
        raise InputError(
            f"the calibration is of {calibration.precision!r} and the plan has {planned}; give the "
            "results of one of these, or leave --calibration out."
        )
    logs: dict[str, list[float]] = {}
    for measured in calibration.stages:
        logs.setdefault(measured.stage, []).append(math.log(_ratio(measured, like, device)))
    return {graph: math.exp(sum(values) / len(values)) for graph, values in logs.items()}


def _ratio(measured: Measured, like: Setting, device: DeviceSpec) -> float:
    """Measured over predicted time of one stage of a setting with the sizes of the measured one."""
    setting = replace(
        like,
        height=measured.height,
        width=measured.width,
        pairs=measured.pairs or like.pairs,
    )
    stages = {stage.graph: stage for stage in budget(setting).stages}
    if measured.stage not in stages:
        raise unknown_name("stage in the calibration", measured.stage, stages)
    return measured.ms / 1e3 / predict(stages[measured.stage], setting, device)


def _calibrated(calibration: Calibration | None, ratios: dict[str, float]) -> Iterator[str]:
    if calibration is not None:
        listed = ", ".join(f"{graph} {ratio:.2f}x" for graph, ratio in sorted(ratios.items()))
        yield (
            f"Calibrated in {calibration.precision}, measured over predicted: {listed}; other "
            "stages and precisions keep the assumed efficiencies."
        )
