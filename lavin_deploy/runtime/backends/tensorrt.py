"""Make the TensorRT back end: the GPU is checked first, then libraries, then the engines."""

from __future__ import annotations

from collections.abc import Callable

from lavin_deploy.bundle.manifest import Graph
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.engines.gpu import Gpu, find_gpu
from lavin_deploy.engines.identity import Requirements, onnx_digest
from lavin_deploy.engines.library import Library, load_library
from lavin_deploy.engines.plugins import find_plugins, plugin_digest, register_plugins
from lavin_deploy.engines.store import EngineStore, StoredEngine
from lavin_deploy.errors import InputError
from lavin_deploy.names import TARGETS
from lavin_deploy.runtime.backends.device import DeviceBackend
from lavin_deploy.runtime.device.device import Device


def make_tensorrt(
    bundle: Bundle,
    precision: str | None = None,
    dialect: str | None = None,
    *,
    gpu_here: Callable[[], Gpu] = find_gpu,
    library_here: Callable[[str], Library] = load_library,
) -> DeviceBackend:
    """Make the back end for a bundle's engines; it is not active yet.

    Args:
        bundle: open, in its folder form.
        precision: of the variant; None takes the bundle's default.
        dialect: of the variant; None takes what the library's parser knows.
        gpu_here: returns the GPU or raises InputError.
        library_here: imports a library of ``TARGETS`` or raises InputError.

    Raises:
        InputError: there is no GPU, no library, or the bundle is packed.
        BundleError: an engine is missing, stale or of another machine.
    """
    gpu = gpu_here()
    store = EngineStore(bundle)
    library = choose_library(store, library_here)
    variant = bundle.variant(precision, dialect or library.dialect)
    plugins = find_plugins() if variant.dialect == "portable" else None
    if plugins is not None and library.target == "tensorrt":
        register_plugins(library, plugins)

    def find_engine(graph: Graph) -> StoredEngine:
        required = Requirements(
            onnx=onnx_digest(bundle.manifest, variant, graph),
            library=library.target,
            version=library.version,
            gpu=gpu,
            plugins=plugin_digest(plugins),
        )
        return store.find(variant, graph, required)

    def open_device() -> Device:
        from lavin_deploy.runtime.device.cuda.device import CudaDevice

        return CudaDevice(gpu, library)

    find_engine(
        variant.graph("modulation")
    )  # say now that nothing was built, not at the first frame
    return DeviceBackend(bundle, variant, open_device=open_device, find_engine=find_engine)


def choose_library(store: EngineStore, library_here: Callable[[str], Library]) -> Library:
    """Return the library that is installed; of two, the one that the bundle has engines of.

    Raises:
        InputError: neither is installed.
    """
    installed, faults = [], []
    for target in TARGETS:
        try:
            installed.append(library_here(target))
        except InputError as error:
            faults.append(str(error))
    if not installed:
        raise InputError(" Or: ".join(faults))
    used = {record.identity.library for _, record in store.records()}
    return next((library for library in installed if library.target in used), installed[0])
