"""One variant of a bundle: convert, write and check it, and fix or refuse it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from lavin_deploy.bundle import manifest
from lavin_deploy.errors import WorkError
from lavin_deploy.export.checks.backends import is_large
from lavin_deploy.export.checks.checker import TaskAnswers, VariantChecker, distances, runs
from lavin_deploy.export.checks.gate import Check, Limits, Verdict
from lavin_deploy.export.checks.interpreter import Interpreter
from lavin_deploy.export.dialect_export import DialectExport
from lavin_deploy.export.precision.calibration import Feeds
from lavin_deploy.export.precision.converters import (
    CastConverter,
    PrecisionConverter,
    QdqConverter,
    in_torch,
)
from lavin_deploy.export.precision.sensitivity import Contribution, smallest_fp32_set
from lavin_deploy.names import LOWERED, Quantised


@dataclass(frozen=True, kw_only=True)
class JudgedVariant:
    """A variant and the gate's verdict.

    Attributes:
        variant: as the manifest has it.
        verdict: of the gate.
        wide: rule or module -> number of nodes that it keeps in float32.
        ranking: modules by what they add, worst first.
        answers: of the bundle's tasks.
        calibration: hash and size of what a quantised variant was fitted to; else None.
    """

    variant: manifest.Variant
    verdict: Verdict
    wide: Mapping[str, int]
    ranking: Sequence[Contribution]
    answers: TaskAnswers
    calibration: Mapping[str, Any] | None = None


def make_variant(
    dialect_export: DialectExport,
    base: manifest.Variant,
    checker: VariantChecker,
    precision: str,
    limits: Limits,
    exact: TaskAnswers,
    feeds: Feeds | None,
    *,
    auto: bool,
    force: bool,
) -> JudgedVariant:
    """Lower, check, and with ``auto`` fix a variant.

    Args:
        dialect_export: of the variant's dialect, traced.
        base: its float32 variant, written.
        checker: with the bundle so far.
        precision: ``fp16``, ``bf16``, ``int8`` or ``fp8``.
        limits: of the gate.
        exact: what float32 answers to the bundle's tasks.
        feeds: calibration data of the base, for int8 and fp8.
        auto: search the fewest modules to keep in float32 where the plain lowering does not pass.
        force: ship what does not pass, unless it overflows.

    Raises:
        WorkError: the gate refuses the variant; the message names check and modules.
    """
    converter: PrecisionConverter
    if precision in LOWERED:
        converter = CastConverter.measured(dialect_export, precision, base, checker, limits.range)
    else:
        assert feeds is not None, "quantising needs calibration data"
        converter = QdqConverter(
            dialect_export=dialect_export,
            precision=cast(Quantised, precision),
            feeds=feeds,
            base=base,
        )
    fp32_modules: frozenset[str] = frozenset()
    ranking: list[Contribution] = []
    small = not is_large(checker.bundle, base)
    if small or auto:
        ranking = converter.ranking(base, checker)
    if auto:
        names = list(dict.fromkeys(one.module for one in ranking))
        smallest = smallest_fp32_set(
            names, _Accepts(converter=converter, checker=checker, limits=limits)
        )
        fp32_modules = frozenset() if smallest is None else smallest
    variant = replace(
        dialect_export.write(precision, converter.graphs(fp32_modules), sorted(fp32_modules)),
        refresh=base.refresh,
    )
    checker = checker.over(dialect_export.writer.files)
    checks = list(checker.graphs(variant, base, limits))
    checks += checker.answer(variant, limits)
    answers = checker.tasks(variant)
    timed = runs(variant) and (small or limits.speedup > 0)
    verdict = Verdict(
        limits=limits,
        checks=tuple(checks),
        tasks=answers.against(exact, limits),
        speed=checker.speed(variant, base, limits.speedup) if timed else None,
        not_run=_not_run(variant, timed=timed),
    )
    if not verdict.passed:
        if not force or not verdict.sound:
            ranking = ranking or converter.ranking(base, checker)
            raise WorkError(
                _refusal(precision, dialect_export.dialect, verdict, ranking, auto=auto)
            )
        verdict = replace(verdict, forced=True)
    return JudgedVariant(
        variant=variant,
        verdict=verdict,
        wide=converter.kept(fp32_modules),
        ranking=ranking,
        answers=answers,
        calibration=None if feeds is None else feeds.summary(),
    )


@dataclass(frozen=True, kw_only=True)
class _Accepts:
    """Whether the graphs of the default size pass with some modules in float32, in torch."""

    converter: PrecisionConverter
    checker: VariantChecker
    limits: Limits

    def __call__(self, fp32_modules: frozenset[str]) -> bool:
        dialect_export = self.converter.dialect_export
        converted = self.converter.graphs(fp32_modules)
        for spec, traced in zip(dialect_export.specs, converted, strict=True):
            run = in_torch(Interpreter.of(traced))
            for output, distance in distances(run, self.checker.cases[spec.stem]).items():
                check = Check(graph=spec.stem, output=output, runtime="torch", distance=distance)
                if check.against(self.limits).why:
                    return False
        return True


def _not_run(variant: manifest.Variant, *, timed: bool) -> str:
    if not runs(variant):
        return f"{variant.precision} was not run in a runtime, only in torch"
    return "" if timed else "its speed was not measured, for its weights are large"


def _refusal(
    precision: str, dialect: str, verdict: Verdict, ranking: Sequence[Contribution], *, auto: bool
) -> str:
    failures = verdict.failures
    worst = ", ".join(
        f"{one.module} ({'overflows' if math.isinf(one.rel_l2) else f'{one.rel_l2:.1e}'})"
        for one in ranking[:3]
    )
    more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    advice = "" if auto else "let --auto search which modules to keep in float32, "
    return (
        f"the {precision} {dialect} variant is refused: {failures[0]}{more}; modules that add "
        f"most: {worst or 'not ranked'}; {advice}choose another precision or, if nothing "
        "overflows, --force it; nothing was exported."
    )
