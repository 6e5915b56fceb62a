"""LaVin-DiT from training to the device.

``load`` opens a bundle and returns a model that runs it; nothing heavy is imported before that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lavin_deploy.runtime.pipeline import Model

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(
    bundle: str | os.PathLike[str] | None = None,
    *,
    backend: str = "auto",
    precision: str | None = None,
    dialect: str | None = None,
    threads: int | None = None,
) -> Model:
    """Open a bundle, verify it and make it ready to run.

    Args:
        bundle: folder or stored zip; None takes the bundle that ships with the package.
        backend: ``"auto"`` or ``"onnxruntime"``.
        precision: of the variant to run; None takes the bundle's default.
        dialect: of the variant to run; None takes the first of that precision.
        threads: worker threads of CPU back ends; None takes the physical cores.

    Returns:
        The model; close it or use it as a context manager.

    Raises:
        BundleError: the bundle is missing, damaged or has no such variant.
        InputError: the back end is unknown or cannot run here.
    """
    from lavin_deploy.runtime.pipeline import load as open_bundle

    return open_bundle(
        bundle, backend=backend, precision=precision, dialect=dialect, threads=threads
    )
