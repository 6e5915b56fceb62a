"""Choose a back end by name; ``auto`` notes what it chose and why, for callers to print."""

from __future__ import annotations

from lavin_deploy.bundle import Bundle
from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.manifest import Variant
from lavin_deploy.runtime.backend import Backend

BACKENDS = ("auto", "onnxruntime", "tensorrt")


def make_backend(
    name: str, bundle: Bundle, variant: Variant, *, threads: int | None = None
) -> Backend:
    """Make the back end of that name; it is not active yet.

    With ``auto`` its ``choice`` says what was chosen and why.

    Args:
        name: one of ``BACKENDS``.
        bundle: open bundle.
        variant: the variant to run.
        threads: worker threads of CPU back ends; None takes the physical cores.

    Raises:
        InputError: an unknown name, or a back end that cannot run here.
    """
    if name not in BACKENDS:
        raise unknown_name("backend", name, BACKENDS)
    if name == "tensorrt":
        raise InputError(
            "the backend 'tensorrt' is not available in this version; use 'onnxruntime' or 'auto'."
        )
    from lavin_deploy.runtime.onnxruntime_backend import OnnxRuntimeBackend

    backend = OnnxRuntimeBackend(bundle, variant, threads=threads)
    if name == "auto":
        backend.choice = f"backend auto: {backend.describe()}, the only one this version has"
    return backend
