"""The two libraries that build and run engines, under one name."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.names import NATIVE_SINCE, TARGETS, Dialect

Version = tuple[int, ...]

_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_INSTALL = {
    "tensorrt": "install TensorRT of the machine (a Jetson has it from JetPack, elsewhere: pip "
    "install 'lavin-deploy[tensorrt]' with NVIDIA's package index)",
    "tensorrt-rtx": "install it with: pip install 'lavin-deploy[rtx]'",
}


@dataclass(frozen=True)
class Library:
    """An imported library.

    Attributes:
        target: one of ``TARGETS``.
        module: the Python module.
        version: as the library gives it, e.g. ``"10.3.0.26"``.
    """

    target: str
    module: Any
    version: str

    @property
    def dialect(self) -> Dialect:
        """The dialect that its ONNX parser takes whole: ``native``, or ``portable`` before."""
        return dialect_of(self.target, self.version)


def dialect_of(target: str, version: str) -> Dialect:
    """Return ``native`` or ``portable``; TensorRT-RTX counts versions apart and is native.

    Args:
        target: one of ``TARGETS``.
        version: numbers with dots.
    """
    numbers = tuple(int(part) for part in version.split(".") if part.isdecimal())
    return "native" if target == "tensorrt-rtx" or numbers >= NATIVE_SINCE else "portable"


def load_library(target: str) -> Library:
    """Import a library.

    Args:
        target: one of ``TARGETS``.

    Raises:
        InputError: an unknown target, or it is not installed.
    """
    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    name = _MODULES[target]
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # a missing libnvinfer is an OSError
        raise InputError(
            f"{target} needs the module {name}, which cannot be imported ({error}); "
            f"{_INSTALL[target]}."
        ) from error
    return Library(target, module, str(module.__version__))


def load_polygraphy(library: Library) -> tuple[Any, Any]:
    """Import Polygraphy for that library, with its messages in Python's logger "Polygraphy".

    Polygraphy serves one library a process, the first that it is asked for.

    Returns:
        Its module ``backend.trt``, and the loader of builder configurations.

    Raises:
        InputError: it is not installed, or serves the other library in this process.
    """
    rtx = library.target == "tensorrt-rtx"
    if "polygraphy.config" not in sys.modules:
        os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = str(int(rtx))
    try:
        config = importlib.import_module("polygraphy.config")
        trt = importlib.import_module("polygraphy.backend.trt")
        logger = importlib.import_module("polygraphy.logger").G_LOGGER
    except ImportError as error:
        raise InputError(
            f"building engines needs polygraphy, which cannot be imported ({error}); install it "
            "with: pip install polygraphy."
        ) from error
    if bool(config.USE_TENSORRT_RTX) != rtx:
        raise InputError(
            f"polygraphy already serves the other library in this process; build for "
            f"{library.target} in a process of its own."
        )
    logger.use_python_logging_system, logger.colors = True, False
    if not rtx:
        return trt, trt.CreateConfig
    return trt, importlib.import_module("polygraphy.backend.tensorrt_rtx").CreateConfigRTX
