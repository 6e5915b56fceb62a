"""``lavin-plan``: what a model should cost on a device, on paper, and what is worth choosing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lavin_deploy.cli.common import command, parse_size
from lavin_deploy.errors import InputError

if TYPE_CHECKING:
    from lavin_deploy.planning.budget import Setting
    from lavin_deploy.planning.devices import DeviceSpec
    from lavin_deploy.planning.plan import Plan, Planned, Point
    from lavin_deploy.planning.space import Space


@command()
@click.argument("bundle", metavar="[BUNDLE]", required=False)
@click.option("--device", required=True, metavar="NAME", help="Device, e.g. orin-agx-64.")
@click.option(
    "--power", type=click.IntRange(1), metavar="WATTS", help="Power mode; by default MAXN."
)
@click.option("--latency", metavar="TIME", help="Mark what answers within it: 100ms or 0.1s.")
@click.option(
    "--calibration",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Measured times of the bundle (JSON) in place of assumed efficiencies.",
)
@click.option("--preset", metavar="NAME", help="Instead of a bundle: 0.1b, 1b, 3.4b or edge.")
@click.option("--size", metavar="HxW", help="Of the preset; by default its own.")
@click.option("--pairs", type=click.IntRange(1), help="Of the preset; by default its own.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(
    bundle: str | None,
    device: str,
    power: int | None,
    latency: str | None,
    calibration: Path | None,
    preset: str | None,
    size: str | None,
    pairs: int | None,
    as_json: bool,
) -> None:
    """Plan BUNDLE, or a preset, for a device: memory, time, and what nothing else betters.

    The figures are counted from the model's sizes and the device's data sheet; no GPU is asked.
    """
    from lavin_deploy.planning.devices import find_device
    from lavin_deploy.planning.measured import read_calibration
    from lavin_deploy.planning.plan import make_plan

    limit = None if latency is None else _seconds(latency)
    spec = find_device(device, power=power)
    if (bundle is None) == (preset is None):
        subject = (
            "neither a BUNDLE nor --preset was"
            if bundle is None
            else "both a BUNDLE and --preset were"
        )
        raise InputError(f"{subject} given; name one of them.")
    if bundle is not None:
        space = _of_bundle(bundle, spec, size, pairs)
    else:
        space = _of_preset(str(preset), spec, size, pairs, calibration)
    measured = None if calibration is None else read_calibration(calibration)
    result = make_plan(space, spec, latency=limit, calibration=measured)
    if as_json:
        click.echo(json.dumps(_data(result, limit), allow_nan=False))
    else:
        click.echo("\n".join(_lines(result, limit)))


def _of_bundle(bundle: str, device: DeviceSpec, size: str | None, pairs: int | None) -> Space:
    from lavin_deploy.bundle.reader import open_bundle
    from lavin_deploy.planning.space import space_of_bundle

    if size is not None or pairs is not None:
        raise InputError(
            "--size and --pairs belong to --preset; a bundle is planned at every size and number "
            "of pairs it has graphs for: leave them out."
        )
    with open_bundle(bundle) as opened:
        return space_of_bundle(opened.manifest, device)


def _of_preset(
    name: str, device: DeviceSpec, size: str | None, pairs: int | None, calibration: Path | None
) -> Space:
    from lavin_deploy.config import preset
    from lavin_deploy.planning.space import space_of_preset

    if calibration is not None:
        raise InputError(
            "--calibration has times of a bundle's graphs and --preset has none; give the bundle "
            "that was measured, or leave --calibration out."
        )
    own = preset(name).inference
    return space_of_preset(
        name,
        device,
        size=own.size if size is None else parse_size(size),
        pairs=own.pairs if pairs is None else pairs,
    )


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s)", text.strip())
    if match is None or float(match[1]) == 0:
        raise InputError(f"--latency {text!r} is not a time above 0 with its unit: 100ms or 0.1s.")
    return float(match[1]) * (1e-3 if match[2] == "ms" else 1.0)


def _lines(result: Plan, limit: float | None) -> list[str]:
    device = result.device
    lines = [
        f"{result.title} on {device.title}, {device.software}",
        "On paper: nothing of this was measured on a GPU, but for what a calibration below names.",
        "",
        *_table(
            (
                *("size", "pairs", "precision", "context", "weights", "K/V", "activations"),
                *("total", "fits", "encode", "query", "step", "refresh", "decode", "once a task"),
            ),
            [_budget_row(one) for one in result.planned],
        ),
        "",
    ]
    if not result.points:
        lines.append(
            f"Nothing fits: one process has {_gigabytes(device.usable)} here; choose a smaller "
            "model, size or number of pairs, or a device with more memory."
        )
    else:
        mark = [] if limit is None else [f"within {_time(limit)}"]
        head = ("size", "pairs", "steps", "precision", "context", "memory", "latency", *mark)
        lines += _table(head, [_point_row(point) for point in result.points])
    if limit is not None and result.points and not any(point.within for point in result.points):
        lines.append(f"Nothing answers within {_time(limit)}.")
    return [*lines, "", *(f"- {sentence}" for sentence in _assumptions(result))]


def _budget_row(one: Planned) -> list[str]:
    setting = one.budget.setting

    def stage(name: str) -> str:
        times = [one.seconds[n] for n in (name, f"{name}_null") if n in one.seconds]
        return _time(sum(times)) if times else "-"

    return [
        f"{setting.height}x{setting.width}",
        str(setting.pairs),
        setting.precision,
        setting.context,
        _gigabytes(one.budget.weights),
        _gigabytes(one.budget.keys_values),
        _gigabytes(one.budget.activations),
        _gigabytes(one.budget.total),
        "yes" if one.fits else "no",
        *(stage(name) for name in ("encoder", "query", "step", "refresh", "decoder", "context")),
    ]


def _point_row(point: Point) -> list[str]:
    setting = point.setting
    mark = [] if point.within is None else ["most" if point.most else "yes" * point.within or "no"]
    return [
        f"{setting.height}x{setting.width}",
        str(setting.pairs),
        str(point.steps),
        setting.precision,
        setting.context,
        _gigabytes(point.bytes),
        _time(point.seconds),
        *mark,
    ]


def _assumptions(result: Plan) -> list[str]:
    from lavin_deploy.planning import plan

    device = result.device
    peaks = ", ".join(f"{name} {figure / 1e12:.4g}" for name, figure in device.peak.items())
    return [
        f"Dense peaks in TFLOP/s: {peaks}; {device.bandwidth / 1e9:.4g} GB/s; one process has "
        f"{_gigabytes(device.usable)} of {_gigabytes(device.memory)}.",
        f"Assumed: {plan.COMPUTE:.0%} of a peak, {plan.BANDWIDTH:.0%} of the bandwidth, "
        f"{plan.LAUNCH * 1e6:g} us a kernel; a stage takes the longer of computing and moving.",
        "Every engine has its own weights and scratch memory; attention is fused in 16 bits and "
        "not in float32; the time is folded, so modulation weights are not loaded.",
        "int8 and fp8 quantise J-DiT's products only, as the export does: the ST-VAE and attention "
        "run in float32, on CUDA cores.",
        "Latency: encode the query, its keys and values, all steps, decode; both branches of "
        "guidance; a task's pairs are known. Pre- and post-processing are not in it.",
        "Kept is what no other point matches in size, pairs, steps, precision and refresh in less "
        "time; most: nothing else within the latency has as much of all. How good an answer is "
        "does not follow from any of these: measure it with lavin-eval.",
        *result.notes,
    ]


def _data(result: Plan, limit: float | None) -> dict[str, Any]:
    device = result.device

    def place(setting: Setting) -> dict[str, Any]:
        return {
            "height": setting.height,
            "width": setting.width,
            "pairs": setting.pairs,
            "precision": setting.precision,
            "context": setting.context,
        }

    return {
        "title": result.title,
        "measured": False,
        "device": {
            "name": device.name,
            "title": device.title,
            "software": device.software,
            "dialect": device.dialect,
            "usable_bytes": device.usable,
            "bandwidth": device.bandwidth,
            "peak": dict(device.peak),
        },
        "latency_ms": None if limit is None else limit * 1e3,
        "budgets": [
            place(one.budget.setting)
            | {
                "weights_bytes": one.budget.weights,
                "kv_bytes": one.budget.keys_values,
                "activation_bytes": one.budget.activations,
                "fits": one.fits,
                "stages": [
                    {
                        "stage": stage.graph,
                        "often": stage.often,
                        "flops": stage.count.flops,
                        "bytes": stage.traffic,
                        "ms": one.seconds[stage.graph] * 1e3,
                    }
                    for stage in one.budget.stages
                ],
            }
            for one in result.planned
        ],
        "pareto": [
            place(point.setting)
            | {
                "steps": point.steps,
                "ms": point.seconds * 1e3,
                "bytes": point.bytes,
                "within": point.within,
                "most": point.most,
            }
            for point in result.points
        ],
        "assumptions": _assumptions(result),
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest text, to the right; those that nothing is in are left out."""
    columns = [c for c in zip(head, *rows, strict=True) if set(c[1:]) != {"-"}]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in zip(*columns, strict=True)
    ]


def _gigabytes(count: int) -> str:
    if count == 0:
        return "-"
    return f"{count / 1e9:.3g} GB" if count >= 10**9 else f"{count / 1e6:.3g} MB"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
