from __future__ import annotations

import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.planning.devices import DEVICES, GIB, find_device

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [  # dense, of the GPU alone: half of what data sheets print as sparse
        ("orin-nano-8", "int8", 67 / 2),
        ("orin-nx-16", "int8", (157 - 80) / 2),  # less two DLAs of 40 sparse TOPS
        ("orin-agx-64", "int8", 170 / 2),
        ("orin-agx-64", "fp16", 42.5),
        ("orin-agx-64", "fp32", 5.3),
        ("thor", "fp8", 2070 / 4),
        ("thor", "fp32", 8.06),
        ("rtx-4090", "fp16", 165.2),
        ("h100-80", "fp8", 1979),
    ],
)
def test_peaks_are_those_of_the_data_sheets(name: str, precision: str, tera: float) -> None:
    assert find_device(name).peak[precision] / 1e12 == pytest.approx(tera, rel=0.01)


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [("orin-nano-8", 102.4), ("orin-nx-16", 102.4), ("orin-agx-64", 204.8), ("thor", 273)],
)
def test_bandwidth(name: str, gigabytes: float) -> None:
    assert find_device(name).bandwidth / 1e9 == pytest.approx(gigabytes)


def test_every_device_is_consistent() -> None:
    for name, device in DEVICES.items():
        assert device.name == name
        assert 0 < device.usable < device.memory
        assert ("fp8" in device.peak) == (device.capability >= (8, 9))
        assert device.peak["fp32"] < device.peak["fp16"] < device.peak["int8"]
        assert (device.jetpack is None) == (not device.modes)


def test_the_dialect_follows_from_tensorrt() -> None:
    dialects = {name: device.dialect for name, device in DEVICES.items()}
    assert {name for name, dialect in dialects.items() if dialect == "portable"} == {
        "orin-nano-8",
        "orin-nx-16",
        "orin-agx-64",
    }
    assert find_device("orin-agx-64").software == "JetPack 6.2, TensorRT 10.3"
    assert find_device("a100-80").software == "TensorRT 11.4"


def test_a_power_mode_scales_clocks_units_and_memory() -> None:
    full, low = find_device("orin-agx-64"), find_device("orin-agx-64", power=15)
    assert low.peak["fp16"] == pytest.approx(full.peak["fp16"] * 6 / 16 * 408 / 1300)
    assert low.bandwidth / 1e9 == pytest.approx(136.5, abs=0.1)
    assert low.title == "Jetson AGX Orin 64 GB (15 W, 6 SMs at 408 MHz)"
    assert low.at_power(30).title == "Jetson AGX Orin 64 GB (30 W, 8 SMs at 612 MHz)"
    assert low.usable == full.usable == int(0.9 * 64 * GIB) - 2 * GIB


def test_unknown_devices_and_modes() -> None:
    with pytest.raises(InputError, match=r"unknown device 'orin-agx'. Did you mean 'orin-agx-64'"):
        find_device("orin-agx")
    with pytest.raises(InputError, match=r"no power mode of 20 W here; accepted: 15, 30, 50"):
        find_device("orin-agx-64", power=20)
    for name in ("thor", "l40s"):
        with pytest.raises(InputError, match=r"no modes with published clocks"):
            find_device(name, power=70)


def test_fp8_is_refused_with_an_offer() -> None:
    sentence = find_device("orin-nx-16").refusal("fp8")
    assert sentence is not None
    assert "8.9 or later and orin-nx-16 has 8.7: export int8 instead" in sentence
    assert find_device("thor").refusal("fp8") is None
    assert find_device("orin-nx-16").refusal("int8") is None
