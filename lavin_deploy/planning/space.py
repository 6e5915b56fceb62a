"""What can be chosen from: the settings of a bundle, or of a preset that has no bundle yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lavin_deploy.bundle.manifest import Manifest, Variant
from lavin_deploy.config import ModelConfig, preset
from lavin_deploy.errors import InputError
from lavin_deploy.flow.grids import GridKind, grid_for
from lavin_deploy.planning.budget import Setting
from lavin_deploy.planning.devices import DeviceSpec

STEPS = (1, 2, 4, 8, 19)
REFRESHES = (1, 2, 4, 8)
"""Intervals that are tried where a bundle has refresh graphs, beside the bundle's own."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """What can be chosen from.

    Attributes:
        title: what is planned, for people.
        settings: all combinations but steps.
        steps: model evaluations.
        notes: sentences about what was left out or has to be done first.
    """

    title: str
    settings: tuple[Setting, ...]
    steps: tuple[int, ...]
    notes: tuple[str, ...] = ()


def space_of_bundle(manifest: Manifest, device: DeviceSpec) -> Space:
    """Return what a bundle has graphs for and the device can run.

    Raises:
        InputError: the device can run none of its precisions.
    """
    model = ModelConfig.from_dict(manifest.model)
    refused = {v.precision: device.refusal(v.precision) for v in manifest.variants}
    notes = [sentence for sentence in refused.values() if sentence is not None]
    variants: dict[str, Variant] = {}
    for variant in manifest.variants:
        if refused[variant.precision] is None and (
            variant.precision not in variants or variant.dialect == device.dialect
        ):
            variants[variant.precision] = variant
    if not variants:
        raise InputError(f"{manifest.name} has nothing for {device.name}: {' '.join(notes)}")
    notes += [
        f"{name} is in the bundle in the native dialect alone, which {device.software} cannot "
        "read: export with --dialect portable."
        for name, variant in variants.items()
        if (variant.dialect, device.dialect) == ("native", "portable")
    ]
    settings = [
        Setting(
            model=model,
            height=bucket.height,
            width=bucket.width,
            pairs=bucket.pairs,
            precision=variant.precision,
            frozen=variant.context == "frozen",
            refresh=refresh,
            guidance=manifest.defaults.guidance,
        )
        for bucket in manifest.buckets
        for variant in variants.values()
        for refresh in _refreshes(variant)
    ]
    if any(variant.refresh is not None for variant in variants.values()):
        notes.append("A refresh other than the bundle's own takes an export with --refresh R.")
    counts = sorted({*STEPS, manifest.defaults.steps})
    steps = [n for n in counts if n == manifest.defaults.steps or _has(manifest.time.kind, n)]
    lost = [str(n) for n in counts if n not in steps]
    if lost:
        notes.append(f"The {manifest.time.kind} grid of the bundle has no {', '.join(lost)} steps.")
    return Space(
        title=f"{manifest.name}, guidance {manifest.defaults.guidance:g}",
        settings=tuple(settings),
        steps=tuple(steps),
        notes=tuple(notes),
    )


def space_of_preset(name: str, device: DeviceSpec, *, size: tuple[int, int], pairs: int) -> Space:
    """Return what an export of a preset could have: 16 and 8 bits, a joint or a frozen context.

    Raises:
        InputError: no preset has that name.
    """
    model = preset(name)
    guidance = model.inference.guidance
    settings = [
        Setting(
            model=model,
            height=size[0],
            width=size[1],
            pairs=pairs,
            precision=precision,
            frozen=frozen,
            guidance=guidance,
        )
        for precision in ("fp16", "int8", "fp8")
        if precision in device.peak
        for frozen in (False, True)
    ]
    refused = device.refusal("fp8")
    notes = ["A frozen context and few steps take a model trained for them."]
    return Space(
        title=f"preset {name}, guidance {guidance:g}",
        settings=tuple(settings),
        steps=STEPS,
        notes=tuple(notes + ([refused] if refused else [])),
    )


def _refreshes(variant: Variant) -> Sequence[int | None]:
    """Intervals to try; None for a variant that has no choice."""
    if variant.refresh is None:
        return (None,)
    return sorted({*REFRESHES, variant.refresh.every})


def _has(kind: GridKind, steps: int) -> bool:
    try:
        grid_for(steps, kind)
    except InputError:
        return False
    return True
