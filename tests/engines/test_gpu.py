"""The check of the device, against a driver's library that answers as told."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from lavin_deploy.engines.gpu import Gpu, find_gpu
from lavin_deploy.errors import InputError

pytestmark = pytest.mark.unit


class FakeDriver:
    """Answers as libcuda does: a status, and results through pointers."""

    def __init__(self, *, cuda: int = 13000, devices: int = 1, capability: str = "8.7") -> None:
        self.cuda, self.devices = cuda, devices
        self.numbers = dict(zip((75, 76), map(int, capability.split(".")), strict=True))
        self.failing: dict[str, int] = {}
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            self.called.append(name)
            if name in self.failing:
                return self.failing[name]
            self.answer(name, *arguments)
            return 0

        return call

    def answer(self, name: str, *arguments: Any) -> None:
        if name == "cuDriverGetVersion":
            arguments[0]._obj.value = self.cuda
        elif name == "cuDeviceGetCount":
            arguments[0]._obj.value = self.devices
        elif name == "cuDeviceGetName":
            arguments[0].value = b"Orin"
        elif name == "cuDeviceTotalMem_v2":
            arguments[0]._obj.value = 64 << 30
        elif name == "cuDeviceGetAttribute":
            arguments[0]._obj.value = self.numbers.get(arguments[1], 16)


def test_a_gpu_is_described() -> None:
    gpu = find_gpu(FakeDriver)
    assert gpu == Gpu(
        index=0, name="Orin", capability=(8, 7), memory=64 << 30, processors=16, driver=(13, 0)
    )
    assert str(gpu) == "Orin, compute capability 8.7"


def test_jetpack_6_is_recent_enough() -> None:
    assert find_gpu(lambda: FakeDriver(cuda=12060)).driver == (12, 6)


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (FakeDriver(cuda=11040), "supports CUDA 11.4; engines need 12.6"),
        (FakeDriver(devices=0), "finds no GPU"),
        (FakeDriver(capability="7.2"), "compute capability 7.2; engines need 7.5"),
    ],
)
def test_what_is_missing_is_said(driver: FakeDriver, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_gpu(lambda: driver)


def test_no_driver_at_all() -> None:
    def absent() -> Any:
        return ctypes.CDLL("libcuda-that-is-not-there.so.1")

    with pytest.raises(InputError, match="no NVIDIA driver is installed"):
        find_gpu(absent)


def test_a_driver_that_fails_is_not_asked_further() -> None:
    driver = FakeDriver()
    driver.failing["cuInit"] = 999
    with pytest.raises(InputError, match="cuInit failed with CUDA error 999"):
        find_gpu(lambda: driver)
    assert driver.called == ["cuDriverGetVersion", "cuInit"]


def test_a_stub_library_is_no_driver() -> None:
    with pytest.raises(InputError, match="no cuDriverGetVersion"):
        find_gpu(object)
