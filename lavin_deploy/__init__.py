"""LaVin-DiT from training to the device.

``load`` opens a bundle and returns a model that runs it. It is
:func:`lavin_deploy.runtime.pipeline.load`, which is imported when it is first asked for; nothing
heavy is imported before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lavin_deploy.runtime.pipeline import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from lavin_deploy.runtime.pipeline import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
