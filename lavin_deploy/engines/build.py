"""All engines of one variant of a bundle, built where they are missing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lavin_deploy.bundle.manifest import Graph, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.engines.engine import ahead_of_time, build_engine
from lavin_deploy.engines.gpu import Gpu, find_gpu
from lavin_deploy.engines.identity import ANY, BuildOptions, Identity, graph_label, onnx_digest
from lavin_deploy.engines.library import Library, load_library
from lavin_deploy.engines.plugins import plugin_digest, register_plugins, require_plugins
from lavin_deploy.engines.store import EngineStore
from lavin_deploy.errors import InputError

CURRENT = "current"
FP8_SINCE = (8, 9)


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What to build.

    Attributes:
        target: ``tensorrt`` or ``tensorrt-rtx``.
        capabilities: as written: ``8.9``, ``12.0``, ...; ``current``; none for all GPUs
            (TensorRT-RTX) or the current one (TensorRT).
        precision: of the variant; None takes the bundle's default.
        dialect: of the variant; None takes what the library's parser knows.
        decomposed: portable graphs in standard operators, without plugins.
        options: how; its capabilities are set from the above.
        timing_cache: file to read and extend.
    """

    target: str
    capabilities: tuple[str, ...] = ()
    precision: str | None = None
    dialect: str | None = None
    decomposed: bool = False
    options: BuildOptions = field(default_factory=BuildOptions)
    timing_cache: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Built:
    """What became of one graph.

    Attributes:
        graph: its label.
        folder: of the engine.
        bytes: of the plan.
        seconds: that the build took; 0 where the engine was there.
        reused: whether it was there.
    """

    graph: str
    folder: Path
    bytes: int
    seconds: float
    reused: bool


class Watcher:
    """Told of a build's progress; this one ignores it."""

    def begin(self, graph: str, number: int, count: int) -> None:
        """A graph's build begins, the number-th of count."""

    def expect(self, steps: int) -> None:
        """The builder announces so many more steps."""

    def advance(self) -> None:
        """A step is done."""


def build_bundle(
    bundle: Bundle, request: BuildRequest, watcher: Watcher | None = None
) -> list[Built]:
    """Build every graph of a variant that has no such engine yet; engines appear one by one.

    Args:
        bundle: open, in its folder form.
        request: what to build.
        watcher: told of the progress.

    Returns:
        One entry a graph, in the variant's order.

    Raises:
        InputError: the request cannot be met here; the message says why.
        BundleError: the bundle has no such variant.
        WorkError: a graph is refused or its build failed.
    """
    store = EngineStore(bundle)
    library = load_library(request.target)
    capabilities = choose_capabilities(request, library, find_gpu)
    variant = choose_variant(bundle, request, library)
    check_precision(variant.precision, capabilities)
    options = replace(request.options, capabilities=capabilities)
    plugins = None
    if variant.dialect == "portable" and not request.decomposed:
        plugins = require_plugins()
        register_plugins(library, plugins)
    watcher = watcher or Watcher()
    engines = []
    for number, graph in enumerate(variant.graphs):
        label = graph_label(graph)
        watcher.begin(label, number + 1, len(variant.graphs))
        with _buildable(bundle, variant, graph, decomposed=request.decomposed) as (file, custom):
            carried = plugins if custom else None
            identity = Identity(
                graph=label,
                precision=variant.precision,
                dialect=variant.dialect,
                onnx=onnx_digest(bundle.manifest, variant, graph),
                library=library.target,
                version=library.version,
                options=options,
                plugins=plugin_digest(carried),
            )
            size, seconds = store.size(identity), 0.0
            reused = size is not None
            if size is None:
                engine = build_engine(
                    library,
                    file,
                    options,
                    plugins=carried,
                    timing_cache=request.timing_cache,
                    expect=watcher.expect,
                    advance=watcher.advance,
                )
                store.add(identity, engine.plan, engine.log, engine.seconds)
                size, seconds = len(engine.plan), engine.seconds
        folder = store.folder / identity.folder
        engines.append(
            Built(graph=label, folder=folder, bytes=size, seconds=seconds, reused=reused)
        )
    return engines


def choose_variant(bundle: Bundle, request: BuildRequest, library: Library) -> Variant:
    """Return the variant to build: by default of the dialect that the library's parser takes.

    Raises:
        InputError: the dialect asked for is not known to the library, or keeps its weights.
        BundleError: the bundle has no such variant.
    """
    if request.dialect == "native" and library.dialect == "portable":
        raise InputError(
            f"{library.target} {library.version} does not know the operators of the native "
            "dialect; build the portable one (lavin-export --dialect portable)."
        )
    variant = bundle.variant(request.precision, request.dialect or library.dialect)
    if request.options.stripped and variant.dialect == "portable":
        raise InputError(
            "engines of the portable dialect keep their weights: what is parsed is not the "
            "bundle's file; leave --stripped out, or build the native dialect."
        )
    return variant


def choose_capabilities(
    request: BuildRequest, library: Library, gpu_here: Callable[[], Gpu]
) -> tuple[str, ...]:
    """Return the compute capabilities to build for, ascending.

    Args:
        request: what was asked.
        library: that builds.
        gpu_here: returns the GPU of this machine or raises InputError.

    Raises:
        InputError: the library cannot build for one of them here.
    """
    asked, options = request.capabilities, request.options
    ahead = ahead_of_time(library)
    here = CURRENT in asked or library.target == "tensorrt" or options.stripped
    if not here and not options.refittable:
        strange = [each for each in asked if each not in ahead]
        if strange:
            raise InputError(
                f"{library.target} {library.version} does not build for compute capability "
                f"{strange[0]} ahead of time; it does for {', '.join(ahead)}, and on the GPU "
                f"itself with {CURRENT!r}."
            )
        return tuple(sorted(set(asked), key=_numbers)) or (ANY,)
    gpu = gpu_here()
    mine = f"{gpu.capability[0]}.{gpu.capability[1]}"
    others = sorted(set(asked) - {mine, CURRENT})
    if others:
        raise InputError(
            f"such an engine is built on its GPU, which is {gpu} here, not {others[0]}; build "
            "there, or leave --compute-capability out."
        )
    return (mine,)


def check_precision(precision: str, capabilities: tuple[str, ...]) -> None:
    """Refuse FP8 for GPUs without it.

    Raises:
        InputError: one of them is older than Ada (8.9), as Orin (8.7) is.
    """
    old = [each for each in capabilities if each != ANY and _numbers(each) < FP8_SINCE]
    if precision == "fp8" and old:
        orin = " (Orin)" if old[0] == "8.7" else ""
        raise InputError(
            f"compute capability {old[0]}{orin} has no FP8, which needs 8.9 or later; export and "
            "build int8 instead (lavin-export --precision int8)."
        )


def _numbers(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))


@contextmanager
def _buildable(
    bundle: Bundle, variant: Variant, graph: Graph, *, decomposed: bool
) -> Iterator[tuple[Path, bool]]:
    """Give the file that the parser takes, and whether it has plugin nodes."""
    file = bundle.graph_file(variant, graph)
    if variant.dialect == "native":
        yield file, False
        return
    try:
        import onnx

        from lavin_deploy.portable import DOMAIN, bare, inlined
    except ImportError as error:
        raise InputError(
            f"portable graphs are read by the package onnx, which cannot be imported ({error}); "
            "install it with: pip install onnx."
        ) from error

    model = onnx.load(file, load_external_data=False)
    custom = not decomposed and any(node.domain == DOMAIN for node in model.graph.node)
    with tempfile.TemporaryDirectory(prefix="lavin-") as folder:
        for weights in variant.weights:
            real = bundle.file(weights)
            os.symlink(real.absolute(), Path(folder, real.name))
        changed = Path(folder, file.name)
        onnx.save(bare(model) if custom else inlined(model), changed)
        yield changed, custom
