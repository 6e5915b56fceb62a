"""Choose a back end by name; ``auto`` notes what it chose and why, for callers to print."""

from __future__ import annotations

from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.errors import LavinError, unknown_name
from lavin_deploy.names import BACKENDS
from lavin_deploy.runtime.backends.base import Backend


def make_backend(
    name: str,
    bundle: Bundle,
    precision: str | None = None,
    dialect: str | None = None,
    *,
    threads: int | None = None,
) -> Backend:
    """Make the back end of that name; it is not active yet.

    With ``auto`` its ``choice`` says what was chosen and why: TensorRT where the bundle has engines
    and this machine runs them, else ONNX Runtime.

    Args:
        name: one of ``BACKENDS``.
        bundle: open bundle.
        precision: of the variant to run; None takes the bundle's default.
        dialect: of the variant to run; None takes the first of that precision that the back end
            runs.
        threads: worker threads of CPU back ends; None takes the physical cores.

    Raises:
        InputError: an unknown name, or a back end that cannot run here.
        BundleError: the bundle has no such variant, or no engines that fit.
    """
    if name not in BACKENDS:
        raise unknown_name("backend", name, BACKENDS)
    reason = "the bundle has no engines"
    if name == "tensorrt" or (name == "auto" and (bundle.path / "engines").is_dir()):
        from lavin_deploy.runtime.backends.tensorrt import make_tensorrt

        try:
            backend: Backend = make_tensorrt(bundle, precision, dialect)
        except LavinError as error:
            if name == "tensorrt":
                raise
            reason = str(error)
        else:
            if name == "auto":
                backend.choice = "backend auto: tensorrt, for the bundle has engines for this GPU"
            return backend
    from lavin_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend

    backend = OnnxRuntimeBackend(bundle, bundle.variant(precision, dialect), threads=threads)
    if name == "auto":
        backend.choice = f"backend auto: {backend.describe()}; {reason}"
    return backend
