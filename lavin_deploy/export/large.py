"""Variants whose weights are so large that an export must not hold copies of them."""

from __future__ import annotations

from lavin_deploy.bundle import Bundle
from lavin_deploy.manifest import Variant
from lavin_deploy.runtime.onnxruntime_backend import OnnxRuntimeBackend

LARGE = 1 << 30
"""Bytes of weights. From here on they stay mapped from their file, nothing is timed that no limit
asks for, and modules are ranked only where the gate refuses."""


def is_large(bundle: Bundle, variant: Variant) -> bool:
    """Whether a variant's weight files reach ``LARGE``."""
    return sum(bundle.manifest.files[file].size for file in variant.weights) >= LARGE


def in_onnxruntime(bundle: Bundle, variant: Variant) -> OnnxRuntimeBackend:
    """The back end that checks are run in: as a user's, but for large variants mapped."""
    return OnnxRuntimeBackend(bundle, variant, mapped=is_large(bundle, variant))
