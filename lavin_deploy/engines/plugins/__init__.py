"""The plugins ``lavin::RoPE3D`` and ``lavin::GroupedQueryAttention``: where they are, loading them.

The sources beside this file are built by CMake into ``liblavin_plugins.so``; nvcc is needed, a GPU
is not. ``LAVIN_PLUGINS`` names the built library, else the one in the package
``lavin_deploy_plugins`` is taken, where that is installed.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from lavin_deploy.engines.library import Library
from lavin_deploy.errors import InputError

VARIABLE, PACKAGE, FILE = "LAVIN_PLUGINS", "lavin_deploy_plugins", "liblavin_plugins.so"
SOURCES = Path(__file__).parent
RTX_NAME = "libtensorrt_rtx.so"
"""TensorRT-RTX's parser opens this name when it meets a plugin, and aborts where it is missing."""

_loaded: dict[tuple[str, Path], Any] = {}


def find_plugins() -> Path | None:
    """Return the built library; None where there is none.

    Raises:
        InputError: ``LAVIN_PLUGINS`` names no file.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise InputError(f"{VARIABLE} is {named!r}, which is no file; name {FILE}.")
        return Path(named).resolve()
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    built = Path(spec.origin).with_name(FILE)
    return built if built.is_file() else None


def require_plugins() -> Path:
    """Return the built library.

    Raises:
        InputError: there is none; the message says how to build it.
    """
    library = find_plugins()
    if library is None:
        raise InputError(
            f"the portable dialect needs {FILE}; build it with: cmake -S {SOURCES} -B build "
            "-DLAVIN_TENSORRT_INCLUDE=FOLDER_OF_NvInferRuntime.h && cmake --build build, then set "
            f"{VARIABLE}=build/{FILE}."
        )
    return library


def plugin_digest(file: Path | None) -> str | None:
    """Return the sha256 (hex) of a plugin library; None of none."""
    return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def register_plugins(library: Library, file: Path) -> None:
    """Make the plugins known to a library's builder and runtime, once a process.

    Args:
        library: that will parse or run graphs with them.
        file: what :func:`find_plugins` gave.

    Raises:
        InputError: the library does not take them, or lies without its shim.
    """
    if (library.target, file) in _loaded:
        return
    if library.target == "tensorrt-rtx":
        _make_resolvable(file)
    registry = library.module.get_plugin_registry()
    handle = registry.load_library(str(file))
    if handle is None:
        raise InputError(
            f"{library.target} {library.version} cannot load the plugins in {str(file)!r}; build "
            "them for this machine."
        )
    _loaded[library.target, file] = handle


def _make_resolvable(file: Path) -> None:
    """Load the small library of that name that is built beside the plugins."""
    try:
        ctypes.CDLL(RTX_NAME)
        return
    except OSError:
        pass
    shim = file.with_name(RTX_NAME)
    try:
        ctypes.CDLL(str(shim), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise InputError(
            f"TensorRT-RTX needs {RTX_NAME} beside {str(file)!r} to parse graphs with plugins "
            f"({error}); CMake builds it together with them."
        ) from error
