"""Devices as data sheets have them: memory, bandwidth, dense peaks, power modes, software.

Peaks are FLOP/s (int8: operations/s) of the GPU alone, dense: NVIDIA's headline figures for Jetson
are sparse and add the DLAs. A multiply-add is two. ``fp32`` is that of the CUDA cores, not TF32,
which would not pass for float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.names import NATIVE_SINCE, Dialect

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A power mode of a Jetson module.

    Attributes:
        watts: its budget; None for MAXN, which has none.
        sms: streaming multiprocessors that are on; two in a TPC.
        clock: highest clock of the GPU, Hz.
        bandwidth: of the memory, bytes/s.
    """

    watts: int | None
    sms: int
    clock: float
    bandwidth: float

    def __str__(self) -> str:
        budget = "MAXN" if self.watts is None else f"{self.watts} W"
        return f"{budget}, {self.sms} SMs at {self.clock / 1e6:.0f} MHz"


@dataclass(frozen=True, kw_only=True)
class DeviceSpec:
    """A device in one power mode.

    Attributes:
        name: as in ``--device``.
        product: as people call it.
        memory: bytes in all; on a Jetson CPU and GPU share them.
        usable: bytes for one process, see :data:`SHARE`.
        bandwidth: of the memory, bytes/s.
        peak: precision -> dense FLOP/s; a precision that the hardware lacks is not there.
        capability: CUDA compute capability.
        jetpack: version the figures of the software belong to, or None beside Jetson.
        tensorrt: its version.
        mode: power mode that the figures belong to, or None beside Jetson.
        modes: those whose clocks NVIDIA published.
        rates: precision -> FLOP per clock of one SM, where there are modes.
    """

    name: str
    product: str
    memory: int
    usable: int
    bandwidth: float
    peak: Mapping[str, float]
    capability: tuple[int, int]
    jetpack: str | None = None
    tensorrt: tuple[int, int]
    mode: Mode | None = None
    modes: tuple[Mode, ...] = ()
    rates: Mapping[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The product and its power mode, for people."""
        return self.product if self.mode is None else f"{self.product} ({self.mode})"

    @property
    def dialect(self) -> Dialect:
        """The dialect of ONNX that its TensorRT reads."""
        return "native" if self.tensorrt >= NATIVE_SINCE else "portable"

    @property
    def software(self) -> str:
        """Versions, for people."""
        jetpack = "" if self.jetpack is None else f"JetPack {self.jetpack}, "
        return f"{jetpack}TensorRT {self.tensorrt[0]}.{self.tensorrt[1]}"

    def at_power(self, watts: int) -> DeviceSpec:
        """Return the device in the power mode of that budget.

        Raises:
            InputError: there is none; the message lists those there are.
        """
        modes = [mode for mode in self.modes if mode.watts == watts]
        if not modes:
            listed = ", ".join(str(mode.watts) for mode in self.modes if mode.watts is not None)
            accepted = f"accepted: {listed}" if listed else "it has no modes with published clocks"
            raise InputError(
                f"{self.name} has no power mode of {watts} W here; {accepted}, or leave --power "
                "out for its highest clocks."
            )
        return _in_mode(self, modes[0])

    def refusal(self, precision: str) -> str | None:
        """Return why the device cannot run a precision, which is fp8, or None if it can."""
        if precision != "fp8" or precision in self.peak:
            return None
        major, minor = self.capability
        return (
            f"{precision} needs compute capability 8.9 or later and {self.name} has "
            f"{major}.{minor}: export int8 instead (lavin-export --precision int8)."
        )


SHARE = (0.9, 2 * GIB)
"""One process gets 0.9 of a Jetson's memory less 2 GiB. An assumption: carve-outs take the tenth
(an Orin Nano shows its system 7,619 of 8,192 MiB); system, camera and CUDA the 2 GiB."""
RESERVED = 1 * GIB
"""Of a graphics card: driver, CUDA and TensorRT. An assumption."""

# FLOP per clock of one SM, dense. GA10B: 16 SMs at 1.3 GHz are 5.3 FP32 TFLOPS and 170 sparse INT8
# TOPS without the DLAs (Jetson AGX Orin technical brief): 256 and 2 x 4096; FP16 is half of INT8.
_ORIN = {"fp32": 256, "fp16": 2048, "bf16": 2048, "int8": 4096}
# Thor: 20 SMs at 1.575 GHz are 2,070 sparse FP4 TFLOPS (Jetson T5000 data sheet); dense is half,
# FP8 half of that, FP16 half again: 16384 and 8192. INT8 as FP8, as DRIVE AGX Thor is rated (1,000
# TOPS and 1,000 TFLOPS). FP32: 128 cores an SM.
_THOR = {"fp32": 256, "fp16": 8192, "bf16": 8192, "fp8": 16384, "int8": 16384}

# LPDDR5 moves two words a clock over 128 (Nano, NX) or 256 bits (AGX): 3.2 GHz are 102.4 and
# 204.8 GB/s, a memory clock of 2.133 GHz 68.3 and 136.5 GB/s.
_NARROW, _WIDE = 2 * 16, 2 * 32
_FULL, _LOW = 3.2e9, 2.133e9


def _jetson(
    name: str,
    product: str,
    gigabytes: int,
    modes: tuple[Mode, ...],
    *,
    rates: Mapping[str, int],
    capability: tuple[int, int],
    jetpack: str,
    tensorrt: tuple[int, int],
) -> DeviceSpec:
    memory = gigabytes * GIB
    device = DeviceSpec(
        name=name,
        product=product,
        memory=memory,
        usable=int(SHARE[0] * memory) - SHARE[1],
        bandwidth=0.0,
        peak={},
        capability=capability,
        jetpack=jetpack,
        tensorrt=tensorrt,
        modes=modes,
        rates=rates,
    )
    return _in_mode(device, modes[0])


def _orin(name: str, product: str, gigabytes: int, modes: tuple[Mode, ...]) -> DeviceSpec:
    return _jetson(
        name,
        product,
        gigabytes,
        modes,
        rates=_ORIN,
        capability=(8, 7),
        jetpack="6.2",
        tensorrt=(10, 3),
    )


def _in_mode(device: DeviceSpec, mode: Mode) -> DeviceSpec:
    peak = {name: rate * mode.sms * mode.clock for name, rate in device.rates.items()}
    return replace(device, mode=mode, bandwidth=mode.bandwidth, peak=peak)


def _card(
    name: str,
    product: str,
    gigabytes: int,
    bandwidth: float,
    capability: tuple[int, int],
    peak: Mapping[str, float],
) -> DeviceSpec:
    """A graphics card; its gigabytes are taken as 10^9 bytes, the lower reading."""
    memory = gigabytes * 10**9
    return DeviceSpec(
        name=name,
        product=product,
        memory=memory,
        usable=memory - RESERVED,
        bandwidth=bandwidth,
        peak={precision: figure * 1e12 for precision, figure in peak.items()},
        capability=capability,
        tensorrt=(11, 4),
    )


# JetPack 6.2's nvpmodel files: p3767-0003 (Nano, "super"; its 7 W from the plain one), p3767-0000
# (NX, "super"), p3701-0000 (AGX): TPC_PG_MASK, GPU and EMC MAX_FREQ. Clocks of MAXN: data sheets.
_ALL = (
    _orin(
        "orin-nano-8",
        "Jetson Orin Nano 8 GB",
        8,
        (
            Mode(watts=None, sms=8, clock=1.020e9, bandwidth=_NARROW * _FULL),
            Mode(watts=7, sms=4, clock=0.408e9, bandwidth=_NARROW * _LOW),
            Mode(watts=15, sms=8, clock=0.612e9, bandwidth=_NARROW * _LOW),
            Mode(watts=25, sms=8, clock=0.918e9, bandwidth=_NARROW * _FULL),
        ),
    ),
    _orin(
        "orin-nx-16",
        "Jetson Orin NX 16 GB",
        16,
        (
            Mode(watts=None, sms=8, clock=1.173e9, bandwidth=_NARROW * _FULL),
            Mode(watts=10, sms=4, clock=0.612e9, bandwidth=_NARROW * _LOW),
            Mode(watts=15, sms=4, clock=0.612e9, bandwidth=_NARROW * _FULL),
            Mode(watts=25, sms=8, clock=0.408e9, bandwidth=_NARROW * _FULL),
            Mode(watts=40, sms=8, clock=1.173e9, bandwidth=_NARROW * _FULL),
        ),
    ),
    _orin(
        "orin-agx-64",
        "Jetson AGX Orin 64 GB",
        64,
        (
            Mode(watts=None, sms=16, clock=1.300e9, bandwidth=_WIDE * _FULL),
            Mode(watts=15, sms=6, clock=0.408e9, bandwidth=_WIDE * _LOW),
            Mode(watts=30, sms=8, clock=0.612e9, bandwidth=_WIDE * _FULL),
            Mode(watts=50, sms=16, clock=0.816e9, bandwidth=_WIDE * _FULL),
        ),
    ),
    # T5000: 273 GB/s, 128 GB. Its modes of 120, 90 and 70 W have no clocks that we could read.
    _jetson(
        "thor",
        "Jetson AGX Thor T5000",
        128,
        (Mode(watts=None, sms=20, clock=1.575e9, bandwidth=273e9),),
        rates=_THOR,
        capability=(11, 0),
        jetpack="7.2",
        tensorrt=(10, 16),
    ),
    # Ada white paper, table of the RTX 4090: tensor cores with FP32 accumulation.
    _card(
        "rtx-4090",
        "GeForce RTX 4090",
        24,
        1008e9,
        (8, 9),
        {"fp32": 82.6, "fp16": 165.2, "bf16": 165.2, "fp8": 330.3, "int8": 660.6},
    ),
    # L40S data sheet; its tensor figures without sparsity.
    _card(
        "l40s",
        "L40S 48 GB",
        48,
        864e9,
        (8, 9),
        {"fp32": 91.6, "fp16": 362.05, "bf16": 362.05, "fp8": 733.0, "int8": 733.0},
    ),
    # A100 data sheet, SXM4 80 GB.
    _card(
        "a100-80",
        "A100 SXM 80 GB",
        80,
        2039e9,
        (8, 0),
        {"fp32": 19.5, "fp16": 312.0, "bf16": 312.0, "int8": 624.0},
    ),
    # H100 data sheet, SXM5 80 GB; half of the sparse tensor figures.
    _card(
        "h100-80",
        "H100 SXM 80 GB",
        80,
        3350e9,
        (9, 0),
        {"fp32": 67.0, "fp16": 989.4, "bf16": 989.4, "fp8": 1978.9, "int8": 1978.9},
    ),
)
DEVICES: dict[str, DeviceSpec] = {device.name: device for device in _ALL}


def find_device(name: str, *, power: int | None = None) -> DeviceSpec:
    """Return a device by name, at its highest clocks or in a power mode.

    Args:
        name: of :data:`DEVICES`.
        power: budget of a power mode in watts.

    Raises:
        InputError: no device has that name, or it has no such power mode.
    """
    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES)
    device = DEVICES[name]
    return device if power is None else device.at_power(power)
