"""What a variant must reach to be shipped: limits from a reviewed JSON file, and the verdict.

The defaults are ``gate.json`` beside this file; ``--gate FILE`` replaces any of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.bundle.strict_json import parse
from lavin_deploy.errors import BundleError, InputError, unknown_name

EXACT = 1e-5
"""Relative L2 below which an output is float32's own rounding, whatever torch's error."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one precision.

    Attributes:
        rel_l2: largest relative L2 distance of a graph's output from float32.
        cosine: smallest cosine between the two.
        p99: 99th percentile of the deviation, relative to the reference's largest value.
        answer: largest relative L2 distance of whole answers, latents and pixels.
        range: largest absolute value of a tensor in the lower precision.
        factor: a graph's error may be this multiple of torch's own at that precision.
        task_drop: share of its float32 value by which a task's metric may get worse.
        speedup: least speed, relative to the float32 variant; 0 where speed is not checked.
    """

    rel_l2: float
    cosine: float
    p99: float
    answer: float
    range: float
    factor: float
    task_drop: float
    speedup: float


def read_limits(precision: str, file: Path | None = None) -> Limits:
    """Limits of a precision: the package's, with those of a file in their place.

    Args:
        precision: ``fp16``, ``bf16``, ``int8`` or ``fp8``.
        file: JSON ``{precision: {limit: number}}``, or None.

    Raises:
        InputError: the file is missing, no such JSON, or names what is no limit.
    """
    defaults = json.loads(files("lavin_deploy.export.checks").joinpath("gate.json").read_text())
    overrides: Any = {}
    if file is not None:
        try:
            overrides = parse(file.read_bytes(), str(file))
        except (OSError, BundleError) as error:
            raise InputError(f"--gate {file} cannot be read: {error}") from error
        if not isinstance(overrides, dict):
            raise InputError(f"--gate {file} holds no JSON object; write {{precision: {{...}}}}.")
        for name, limits in overrides.items():
            if name not in defaults:
                raise unknown_name("precision of --gate", name, list(defaults))
            if not isinstance(limits, dict):
                raise InputError(f"--gate {file}: {name} must be an object of limits.")
            for limit, value in limits.items():
                if limit not in defaults[name]:
                    raise unknown_name("limit of --gate", limit, list(defaults[name]))
                if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                    raise InputError(f"--gate {file}: {name}.{limit} is {value!r}, no limit.")
    merged = {**defaults[precision], **overrides.get(precision, {})}
    return Limits(**{name: float(value) for name, value in merged.items()})


@dataclass(frozen=True, kw_only=True)
class TensorDistance:
    """How far arrays lie from their references, over all of them.

    Attributes:
        rel_l2: norm of the difference over the norm of the reference.
        cosine: between the two.
        p99: 99th percentile of the deviation over the reference's largest value.
        finite: whether every value is.
    """

    rel_l2: float
    cosine: float
    p99: float
    finite: bool

    @classmethod
    def between(
        cls, outputs: Sequence[NDArray[Any]], reference: Sequence[NDArray[np.float32]]
    ) -> TensorDistance:
        """Measure; arrays in one order and of equal shapes."""
        a = np.concatenate([np.asarray(x, np.float64).ravel() for x in outputs])
        b = np.concatenate([np.asarray(x, np.float64).ravel() for x in reference])
        if not np.isfinite(a).all():
            return cls(rel_l2=math.inf, cosine=0.0, p99=math.inf, finite=False)
        off = np.abs(a - b)
        size, norm = max(float(np.linalg.norm(b)), 1e-30), max(float(np.linalg.norm(a)), 1e-30)
        return cls(
            rel_l2=float(np.linalg.norm(off)) / size,
            cosine=float(a @ b) / (size * norm),
            p99=float(np.percentile(off, 99)) / max(float(np.abs(b).max()), 1e-30),
            finite=True,
        )


@dataclass(frozen=True, kw_only=True)
class Check:
    """One output of a graph in one runtime, and what is wrong with it.

    Attributes:
        graph: its file, or ``end-to-end``.
        output: name; ``keys and values`` for all of them together.
        runtime: ``onnxruntime`` or ``torch``.
        distance: from float32.
        largest: largest value of a tensor of the lower precision in the graph; None: not watched.
        widest: name of that tensor.
        torch_rel_l2: what torch is off by at that precision, op by op; None where it overflows or
            was not run.
        why: what is wrong; empty if nothing is.
    """

    graph: str
    output: str
    runtime: str
    distance: TensorDistance
    largest: float | None = None
    widest: str = ""
    torch_rel_l2: float | None = None
    why: str = ""

    def against(self, limits: Limits) -> Check:
        """The same with ``why`` filled in."""
        d, whole = self.distance, self.graph == "end-to-end"
        top = limits.answer if whole else limits.rel_l2
        wrong = []
        if not d.finite:
            wrong.append("not finite")
        elif d.rel_l2 > top:
            wrong.append(f"relative L2 {d.rel_l2:.1e} > {top:.0e}")
        if not whole and d.finite and d.cosine < limits.cosine:
            wrong.append(f"cosine {d.cosine:.5f} < {limits.cosine:g}")
        if not whole and d.finite and d.p99 > limits.p99:
            wrong.append(f"p99 {d.p99:.1e} > {limits.p99:.0e}")
        if self.largest is not None and not self.largest <= limits.range:
            wrong.append(f"{self.widest} reaches {self.largest:.3g} > {limits.range:g}")
        own = self.torch_rel_l2
        if own is not None and d.finite and d.rel_l2 > max(limits.factor * own, EXACT):
            wrong.append(f"relative L2 {d.rel_l2:.1e} > {limits.factor:g} times torch's {own:.1e}")
        return replace(self, why="; ".join(wrong))

    @property
    def sound(self) -> bool:
        """Whether nothing overflows; ``--force`` does not help against that."""
        return self.distance.finite and (self.largest is None or math.isfinite(self.largest))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; what is infinite is null."""
        data = asdict(self)
        data |= data.pop("distance")
        data["passed"] = not self.why
        for name in ("rel_l2", "p99", "largest"):
            if data[name] is not None and not math.isfinite(data[name]):
                data[name] = None
        return data


@dataclass(frozen=True, kw_only=True)
class TaskCheck:
    """A task's headline metric over the bundle's validation samples, in float32 and lowered.

    ``drop`` is the share of the float32 value that was lost; negative where it got better.
    """

    task: str
    metric: str
    base: float
    value: float
    drop: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class SpeedCheck:
    """A whole answer's time, in interleaved runs; ``ratio`` is base over variant."""

    milliseconds: float
    base_milliseconds: float
    ratio: float
    backend: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All that was checked of one variant.

    Attributes:
        limits: it was checked against.
        checks: graphs and whole answers.
        tasks: metrics of the bundle's tasks.
        speed: None where the back end at hand cannot run it, or nothing asks for it of a large one.
        not_run: what no runtime ran or timed, in words; empty if everything was.
        forced: shipped although it did not pass.
    """

    limits: Limits
    checks: tuple[Check, ...]
    tasks: tuple[TaskCheck, ...] = ()
    speed: SpeedCheck | None = None
    not_run: str = ""
    forced: bool = False

    @property
    def failures(self) -> list[str]:
        """What is wrong, a line for each."""
        lines = [f"{c.graph} {c.output} in {c.runtime}: {c.why}" for c in self.checks if c.why]
        lines += [
            f"task {t.task}: {t.metric} {t.value:.4g} instead of {t.base:.4g}, "
            f"{100 * t.drop:.1f} % worse (limit {100 * self.limits.task_drop:g} %)"
            for t in self.tasks
            if not t.passed
        ]
        if self.speed is not None and not self.speed.passed:
            lines.append(
                f"speed {self.speed.ratio:.2f} times float32 on {self.speed.backend}, at least "
                f"{self.limits.speedup:g} is asked for"
            )
        return lines

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures

    @property
    def sound(self) -> bool:
        """Whether it may be forced: nothing overflows."""
        return all(check.sound for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "passed": self.passed,
            "forced": self.forced,
            "limits": {f.name: getattr(self.limits, f.name) for f in fields(Limits)},
            "checks": [check.to_dict() for check in self.checks],
            "tasks": [asdict(task) for task in self.tasks],
            "speed": None if self.speed is None else asdict(self.speed),
            "not_run": self.not_run,
        }
