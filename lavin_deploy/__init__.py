"""LaVin-DiT from training to the device.

``load`` opens a bundle and returns a model that runs it; nothing heavy is imported before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lavin_deploy.runtime.pipeline import Model as Model

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(bundle: Any = None, **options: Any) -> Model:
    """Open a bundle; see :func:`lavin_deploy.runtime.pipeline.load` for the options."""
    from lavin_deploy.runtime.pipeline import load as open_bundle

    return open_bundle(bundle, **options)
