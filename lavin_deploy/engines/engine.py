"""One graph to one engine, by Polygraphy and the TensorRT API, strongly typed."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavin_deploy.engines.identity import ANY, BuildOptions
from lavin_deploy.engines.library import Library, load_polygraphy
from lavin_deploy.errors import InputError, WorkError

Step = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class BuiltEngine:
    """A built engine.

    Attributes:
        plan: its bytes.
        log: what the library said.
        seconds: that parsing and building took.
    """

    plan: bytes
    log: str
    seconds: float


def build_engine(
    library: Library,
    file: Path,
    options: BuildOptions,
    *,
    plugins: Path | None = None,
    timing_cache: Path | None = None,
    expect: Callable[[int], None] = lambda _: None,
    advance: Step = lambda: None,
) -> BuiltEngine:
    """Parse an ONNX file and build it.

    Args:
        library: that builds.
        file: the graph, its external weights beside it; with plugin nodes in their bare form.
        options: how.
        plugins: registered library of plugins to put into the engine; None for a graph without.
        timing_cache: file that is read where it exists, and extended.
        expect: called with the number of steps that the builder announces.
        advance: called after each of them.

    Raises:
        InputError: the library lacks an option or a timing cache.
        WorkError: the graph is refused, or the build failed; the message has the reasons.
    """
    trt, config = load_polygraphy(library)
    settled = _settings(library, options)
    if timing_cache is not None and library.target == "tensorrt-rtx":
        raise InputError(
            "tensorrt-rtx does without a timing cache (it tunes nothing ahead of time); leave "
            "--timing-cache out."
        )
    started = time.perf_counter()
    with _captured() as lines, warnings.catch_warnings():
        # Polygraphy sets an empty timing cache, which TensorRT-RTX calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            builder, network, _parser = trt.network_from_onnx_path(str(file), strongly_typed=True)
            _split_attention(library.module, network)
            settings = config(
                progress_monitor=_monitor(library.module, expect, advance),
                load_timing_cache=_existing(timing_cache),
                **settled,
            )(builder, network)
            if library.target == "tensorrt-rtx":  # else a captured run might allocate
                settings.set_flag(library.module.BuilderFlag.REQUIRE_USER_ALLOCATION)
            if plugins is not None:
                settings.plugins_to_serialize = [str(plugins)]
            cache = None if timing_cache is None else str(timing_cache)
            plan = trt.engine_bytes_from_network((builder, network), settings, cache)
        except Exception as error:  # polygraphy raises its own type, the library several
            raise WorkError(
                f"{library.target} {library.version} does not build {file.name}: "
                f"{_reason(lines) or error}"
            ) from error
    return BuiltEngine(
        plan=bytes(plan), log="\n".join(lines), seconds=time.perf_counter() - started
    )


def _settings(library: Library, options: BuildOptions) -> dict[str, Any]:
    """Options as Polygraphy's arguments."""
    module = library.module
    arguments: dict[str, Any] = {}
    if options.memory is not None:
        arguments["memory_pool_limits"] = {module.MemoryPoolType.WORKSPACE: options.memory}
    if options.version_compatible:
        arguments["version_compatible"] = True
    if options.hardware_compatible:
        level = getattr(module, "HardwareCompatibilityLevel", None)
        if level is None:
            raise InputError(f"{library.target} {library.version} has no hardware compatibility.")
        arguments["hardware_compatibility_level"] = level.AMPERE_PLUS
    if options.stripped:
        arguments["strip_plan"] = True
    if options.refittable:
        arguments["refittable"] = True
    if library.target == "tensorrt-rtx" and options.capabilities != (ANY,):
        if set(options.capabilities) <= set(ahead_of_time(library)):
            pairs = [each.split(".") for each in options.capabilities]
            arguments["compute_capabilities"] = [(int(major), int(minor)) for major, minor in pairs]
        else:  # of the GPU that is here, which the library may know without naming it
            arguments["use_gpu"] = True
    return arguments


def ahead_of_time(library: Library) -> tuple[str, ...]:
    """Return the compute capabilities that a library builds for without such a GPU."""
    names = getattr(getattr(library.module, "ComputeCapability", None), "__members__", {})
    return tuple(f"{name[2:-1]}.{name[-1]}" for name in names if name.startswith("SM"))


def _split_attention(module: Any, network: Any) -> None:
    """Let float32 attention be built from parts, for which there is no fused kernel."""
    kind = getattr(module.LayerType, "ATTENTION_INPUT", None)
    if kind is None:
        return
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == kind and layer.get_input(0).dtype == module.float32:
            layer.__class__ = module.IAttentionInputLayer  # its real type, hidden by the binding
            layer.attention.decomposable = True


def _monitor(module: Any, expect: Callable[[int], None], advance: Step) -> Any:
    """A progress monitor of the library's own type; only outermost phases are counted."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self._outer: set[str] = set()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if not parent:
                self._outer.add(phase)
                expect(steps)

        def step_complete(self, phase: str, _step: int) -> bool:
            if phase in self._outer:
                advance()
            return True

        def phase_finish(self, phase: str) -> None:
            self._outer.discard(phase)

    return Monitor()


def _existing(file: Path | None) -> str | None:
    return str(file) if file is not None and file.is_file() else None


@contextmanager
def _captured() -> Iterator[list[str]]:
    """Collect what Polygraphy's logger says, and keep it from the screen."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("Polygraphy")
    collector, passed, level = Collector(), logger.propagate, logger.level
    logger.addHandler(collector)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(collector)
        logger.propagate, logger.level = passed, level


def _reason(lines: list[str]) -> str:
    """The parser's sentences about nodes, else the last error."""
    errors = [line.removeprefix("[E] ") for line in lines if line.startswith("[E] ")]
    nodes = [line for line in errors if line.startswith("In node")]
    return " ".join("; ".join(nodes or errors[-1:]).split())
