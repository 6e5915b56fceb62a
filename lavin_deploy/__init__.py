"""LaVin-DiT from training to the device.

``load`` opens a bundle and returns a model that runs it. It is
:func:`lavin_deploy.runtime.pipeline.load`, which is imported when it is first asked for; nothing
heavy is imported before that.

Importing the package sets ``ORT_DISABLE_TELEMETRY=1`` in the environment, unless it is set there
already: ONNX Runtime reads it once, when its library loads, and without it writes an identifier to
the home folder and asks the network for its maker's collector.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lavin_deploy.runtime.pipeline import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    if name == "load":
        from lavin_deploy.runtime.pipeline import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
