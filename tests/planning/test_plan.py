from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import lavin_deploy
from lavin_deploy.bundle.manifest import Bucket, Manifest, Refresh, Variant
from lavin_deploy.errors import BundleError, InputError
from lavin_deploy.planning.budget import Setting
from lavin_deploy.planning.devices import find_device
from lavin_deploy.planning.measured import Calibration, Measured, read_calibration
from lavin_deploy.planning.plan import BANDWIDTH, COMPUTE, LAUNCH, Plan, make_plan, predict
from lavin_deploy.planning.space import STEPS, Space, space_of_bundle, space_of_preset

pytestmark = pytest.mark.unit

ORIN, THOR = find_device("orin-agx-64"), find_device("thor")
EDGE = Path(lavin_deploy.__file__).parent / "bundles" / "edge.lavin" / "manifest.json"


@pytest.fixture(scope="module")
def edge() -> Manifest:
    return Manifest.from_text(EDGE.read_text())


def with_variants(manifest: Manifest, *variants: tuple[str, str]) -> Manifest:
    first = manifest.variants[0]
    several = [replace(first, precision=name, dialect=dialect) for name, dialect in variants]
    return replace(manifest, variants=tuple(several))


def refreshing(manifest: Manifest) -> Manifest:
    model = {**manifest.model, "dit": {**manifest.model["dit"], "context": "joint"}}
    variants: list[Variant] = [replace(v, refresh=Refresh(every=3)) for v in manifest.variants]
    return replace(manifest, model=model, variants=tuple(variants))


def test_a_stage_takes_the_longer_of_computing_and_moving() -> None:
    plan = make_plan(space_of_preset("3.4b", ORIN, size=(512, 512), pairs=4), ORIN)
    joint = plan.planned[0]
    step = next(stage for stage in joint.budget.stages if stage.graph == "step")
    compute = step.count.flops / (COMPUTE * ORIN.peak["fp16"])
    assert joint.seconds["step"] == pytest.approx(compute + LAUNCH * step.count.kernels)
    slow = replace(ORIN, bandwidth=1e9)
    moving = step.traffic / (BANDWIDTH * 1e9) + LAUNCH * step.count.kernels
    assert predict(step, joint.budget.setting, slow) == pytest.approx(moving)


def test_latency_is_the_sum_of_runs() -> None:
    plan = make_plan(space_of_preset("3.4b", ORIN, size=(512, 512), pairs=4), ORIN)
    frozen = next(p for p in plan.planned if p.budget.setting.context == "frozen")
    s = frozen.seconds
    once = s["encoder"] + s["query"] + s["query_null"] + s["decoder"]
    assert frozen.latency(4) == pytest.approx(once + 4 * (s["step"] + s["step_null"]))


def steps_of(plan: Plan) -> list[int]:
    return [point.steps for point in plan.points]


def test_the_bundle_that_ships(edge: Manifest) -> None:
    plan = make_plan(space_of_bundle(edge, ORIN), ORIN)
    assert steps_of(plan) == list(STEPS)
    assert [p.seconds for p in plan.points] == sorted(p.seconds for p in plan.points)
    assert any("export with --dialect portable" in note for note in plan.notes)
    assert not make_plan(space_of_bundle(edge, THOR), THOR).notes
    portable = with_variants(edge, ("fp32", "native"), ("fp32", "portable"))
    assert not space_of_bundle(portable, ORIN).notes


def test_what_the_device_cannot_run_is_left_out_and_said(edge: Manifest) -> None:
    both = with_variants(edge, ("fp8", "native"), ("int8", "portable"), ("int8", "native"))
    space = space_of_bundle(both, ORIN)
    assert {setting.precision for setting in space.settings} == {"int8"}
    assert len(space.notes) == 1
    assert "export int8 instead" in space.notes[0]
    assert {s.precision for s in space_of_bundle(both, THOR).settings} == {"int8", "fp8"}
    with pytest.raises(InputError, match=r"edge has nothing for orin-agx-64: fp8 needs .* int8"):
        space_of_bundle(with_variants(edge, ("fp8", "native")), ORIN)


def test_a_precision_that_nobody_knows_is_refused(edge: Manifest) -> None:
    with pytest.raises(InputError, match=r"unknown precision 'int4'. Did you mean 'int8'"):
        make_plan(space_of_bundle(with_variants(edge, ("int4", "native")), THOR), THOR)


def test_steps_that_the_grid_has(edge: Manifest) -> None:
    grid = (*(i / 40 for i in range(10)), *(0.25 + i / 13.4 for i in range(10)), 1.0)
    time = replace(edge.time, kind="linear-quadratic", default_grid=grid)
    defaults = replace(edge.defaults, steps=20)
    space = space_of_bundle(replace(edge, time=time, defaults=defaults), THOR)
    assert space.steps == (19, 20)
    assert "The linear-quadratic grid of the bundle has no 1, 2, 4, 8 steps." in space.notes


def test_refresh_is_searched_where_the_bundle_has_it(edge: Manifest) -> None:
    plan = make_plan(space_of_bundle(refreshing(edge), THOR), THOR)
    contexts = [p.budget.setting.context for p in plan.planned]
    assert contexts == ["refresh 1", "refresh 2", "refresh 3", "refresh 4", "refresh 8"]
    assert all((point.setting.refresh or 0) <= point.steps for point in plan.points)
    assert {p.setting.refresh for p in plan.points if p.steps == 8} == {1, 2, 3, 4, 8}
    assert any("export with --refresh R" in note for note in plan.notes)


Row = tuple[tuple[int, int, int, int], float]


def test_only_what_nothing_betters_stays(edge: Manifest) -> None:
    buckets = (*edge.buckets, Bucket(height=256, width=256, pairs=2))
    edge = replace(with_variants(edge, ("fp32", "native"), ("fp16", "native")), buckets=buckets)
    plan = make_plan(space_of_bundle(edge, THOR), THOR)

    def row(setting: Setting, steps: int, seconds: float) -> Row:
        ranks = {"fp32": 1, "fp16": 0}
        return (setting.height, setting.pairs, steps, ranks[setting.precision]), seconds

    def beats(one: Row, other: Row) -> bool:
        no_worse = all(a >= b for a, b in zip(one[0], other[0], strict=True))
        return no_worse and one[1] <= other[1] and one != other

    every = [row(p.budget.setting, n, p.latency(n)) for p in plan.planned for n in STEPS]
    kept = [row(point.setting, point.steps, point.seconds) for point in plan.points]
    assert len(every) == 20
    assert set(kept) == {one for one in every if not any(beats(other, one) for other in every)}


def test_int8_as_the_export_writes_it_is_no_gain_on_orin() -> None:
    # Float32 but for the products of J-DiT, it is slower than fp16 and closer to nothing.
    plan = make_plan(space_of_preset("3.4b", ORIN, size=(512, 512), pairs=4), ORIN)
    assert {p.budget.setting.precision for p in plan.planned} == {"fp16", "int8"}
    assert {point.setting.precision for point in plan.points} == {"fp16"}
    assert {point.setting.context for point in plan.points} == {"joint", "frozen"}


def test_what_does_not_fit_is_dropped() -> None:
    nano = find_device("orin-nano-8")
    plan = make_plan(space_of_preset("3.4b", nano, size=(512, 512), pairs=4), nano)
    assert not any(one.fits for one in plan.planned)
    assert plan.points == ()
    small = make_plan(space_of_preset("edge", nano, size=(512, 512), pairs=4), nano)
    assert all(one.fits for one in small.planned)


def test_marks_within_a_latency() -> None:
    space = space_of_preset("3.4b", ORIN, size=(512, 512), pairs=4)
    plan = make_plan(space, ORIN, latency=4.0)
    assert [p.within for p in plan.points] == [p.seconds <= 4.0 for p in plan.points]
    most = {(p.setting.context, p.steps) for p in plan.points if p.most}
    within = [(p.setting.context, p.steps) for p in plan.points if p.within]
    assert most == {
        (context, max(steps for c, steps in within if c == context)) for context, _ in within
    }
    assert all(p.within is None and not p.most for p in make_plan(space, ORIN).points)


def measured(ms: float, stage: str = "step", precision: str = "fp32") -> Calibration:
    pairs = 1 if stage in ("step", "query") else None
    stages = (Measured(stage=stage, height=128, width=128, pairs=pairs, ms=ms),)
    return Calibration(device="thor", precision=precision, stages=stages)


def test_a_calibration_replaces_the_prediction(edge: Manifest) -> None:
    space: Space = space_of_bundle(edge, THOR)
    plain = make_plan(space, THOR).planned[0]
    plan = make_plan(space, THOR, calibration=measured(7.0))
    assert plan.planned[0].seconds["step"] == pytest.approx(7e-3)
    assert plan.planned[0].seconds["decoder"] == plain.seconds["decoder"]
    ratio = 7e-3 / plain.seconds["step"]
    assert f"measured over predicted: step {ratio:.2f}x" in plan.notes[-1]
    large = replace(edge, buckets=(*edge.buckets, Bucket(height=256, width=256, pairs=1)))
    space = space_of_bundle(large, THOR)
    scaled = make_plan(space, THOR, calibration=measured(7.0)).planned[1].seconds["step"]
    assert scaled == pytest.approx(ratio * make_plan(space, THOR).planned[1].seconds["step"])


def test_a_calibration_of_something_else_is_refused(edge: Manifest) -> None:
    space = space_of_bundle(edge, THOR)
    with pytest.raises(InputError, match=r"measured on 'thor' and the plan is for 'orin-agx-64'"):
        make_plan(space, ORIN, calibration=measured(7.0))
    with pytest.raises(InputError, match=r"is of 'fp16' and the plan has fp32"):
        make_plan(space, THOR, calibration=measured(7.0, precision="fp16"))
    with pytest.raises(
        InputError, match=r"unknown stage in the calibration 'encodr'. Did you mean"
    ):
        make_plan(space, THOR, calibration=measured(7.0, stage="encodr"))


STAGE = {"stage": "step", "height": 128, "width": 128, "pairs": 1, "ms": 2.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": []}, "has no stages"),
        ({"stages": [STAGE | {"ms": 0}]}, "step at 128x128, pairs 1 took 0 ms; give ms above 0"),
        ({"stages": [STAGE | {"ms": "2"}]}, "ms is '2'; it must be a finite number"),
        ({"stages": [STAGE | {"pairs": None}]}, "the stage 'step' needs its pairs"),
        ({"stages": [STAGE | {"stage": "decoder"}]}, "does not depend on pairs: leave them out"),
        ({"device": None}, "device is None; it must be of type str"),
    ],
)
def test_damaged_calibrations(tmp_path: Path, change: dict[str, object], message: str) -> None:
    file = tmp_path / "times.json"
    file.write_text(json.dumps({"device": "thor", "precision": "fp32", "stages": [STAGE]} | change))
    with pytest.raises((InputError, BundleError), match=message):
        read_calibration(file)


def test_a_calibration_is_read(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    file.write_text(json.dumps({"device": "thor", "precision": "fp32", "stages": [STAGE]}))
    assert read_calibration(file) == measured(2.0)
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        read_calibration(tmp_path / "none.json")
