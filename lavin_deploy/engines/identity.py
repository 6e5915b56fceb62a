"""What an engine is: all that makes it useless elsewhere, and sentences about differences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from lavin_deploy.bundle.manifest import Graph, Manifest, Variant
from lavin_deploy.engines.gpu import Gpu

ANY = "any"
"""Compute capability of an engine for all GPUs that TensorRT-RTX knows."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How an engine is built; the precision is the graph's.

    Attributes:
        capabilities: compute capabilities ``"8.9"``, ... in ascending order; ``("any",)``.
        memory: bytes that a builder may take for scratch memory; None leaves it to the library.
        version_compatible: runs on later versions of the library's major version too.
        hardware_compatible: runs on all GPUs from Ampere on.
        stripped: without weights, which are put in when it is loaded.
        refittable: weights can be replaced.
    """

    capabilities: tuple[str, ...] = (ANY,)
    memory: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    stripped: bool = False
    refittable: bool = False


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Everything that an engine depends on.

    Attributes:
        graph: name and shape bucket, e.g. ``step-128x128-p1``.
        precision: of the variant.
        dialect: of the variant.
        onnx: sha256 over the graph's file and its weights'.
        library: ``tensorrt`` or ``tensorrt-rtx``.
        version: of the library.
        options: how it was built, compute capabilities included.
        plugins: sha256 of the plugin library in it; None for an engine without.
    """

    graph: str
    precision: str
    dialect: str
    onnx: str
    library: str
    version: str
    options: BuildOptions = field(default_factory=BuildOptions)
    plugins: str | None = None

    @property
    def digest(self) -> str:
        """Sixteen hex digits that differ where any part does."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        """Where it lies, below ``engines/``."""
        return f"{self.library}/{self.graph}.{self.precision}.{self.dialect}.{self.digest}"


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a runtime needs of an engine.

    Attributes:
        onnx: as the bundle's graph is now.
        library: the library that will load it.
        version: its version.
        gpu: the GPU that will run it.
        plugins: sha256 of the plugin library that is installed; None where none is.
    """

    onnx: str
    library: str
    version: str
    gpu: Gpu
    plugins: str | None = None

    def differences(self, engine: Identity) -> Iterator[str]:
        """Yield a sentence for each part of an engine that does not fit; none: it fits."""
        if engine.onnx != self.onnx:
            yield "it was built from another graph than the bundle has now"
        if engine.library != self.library:
            yield f"it was built by {engine.library}, here is {self.library}"
        elif not self._version_fits(engine):
            yield f"it was built by {self.library} {engine.version}, here is {self.version}"
        if not self._capability_fits(engine):
            built = ", ".join(engine.options.capabilities)
            yield f"it was built for compute capability {built}, the GPU is {self.gpu}"
        if engine.plugins and self.plugins and engine.plugins != self.plugins:
            yield "it holds other plugins than the installed ones"

    def _version_fits(self, engine: Identity) -> bool:
        if engine.version == self.version:
            return True
        mine, its = ([int(n) for n in v.split(".")] for v in (self.version, engine.version))
        return engine.options.version_compatible and mine[0] == its[0] and mine >= its

    def _capability_fits(self, engine: Identity) -> bool:
        built = engine.options.capabilities
        if ANY in built or f"{self.gpu.capability[0]}.{self.gpu.capability[1]}" in built:
            return True
        return engine.options.hardware_compatible and self.gpu.capability >= (8, 0)


def graph_label(graph: Graph) -> str:
    """Name and shape bucket of a graph as a file name: ``step-128x128-p1``, ``modulation``."""
    size = f"-{graph.height}x{graph.width}" if graph.height else ""
    pairs = f"-p{graph.pairs}" if graph.pairs else ""
    frames = f"-f{graph.frames}" if graph.frames else ""
    return f"{graph.name}{size}{pairs}{frames}"


def onnx_digest(manifest: Manifest, variant: Variant, graph: Graph) -> str:
    """Return a sha256 (hex) over what the manifest says of a graph's file and its weights'."""
    sums = [manifest.files[path].sha256 for path in (graph.file, *sorted(variant.weights))]
    return hashlib.sha256("".join(sums).encode()).hexdigest()
