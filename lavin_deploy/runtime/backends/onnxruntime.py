"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavin_deploy.arrays import Array
from lavin_deploy.bundle.manifest import Graph, Variant
from lavin_deploy.bundle.reader import Bundle
from lavin_deploy.errors import BundleError, InputError, WorkError
from lavin_deploy.limits import LIMITS
from lavin_deploy.runtime.backends.base import Backend

MOST_THREADS = LIMITS.threads
"""Threads of one graph; each takes memory, and more than there are cores only get in the way."""


EXACT_INT8 = "session.x64quantprecision"
"""Without it sums of two 8-bit products saturate at 16 bits on x86-64 that has no VNNI
(``onnxruntime_session_options_config_keys.h``)."""


class OnnxRuntimeBackend(Backend):
    """One session for each graph, made when the graph first runs.

    Sessions share nothing with those of other instances or of the rest of the process.

    Attributes:
        threads: worker threads of one operator.
    """

    name = "onnxruntime"

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        *,
        threads: int | None = None,
        mapped: bool = False,
    ) -> None:
        """Prepare; nothing is loaded before ``activate``.

        Args:
            bundle: open bundle.
            variant: the variant to run.
            threads: worker threads; None takes the physical cores that this process may use.
            mapped: leave weights in their file, for models that memory cannot hold: nothing is
                rewritten or packed for speed, because that copies them.

        Raises:
            InputError: ``threads`` is not 1 to ``MOST_THREADS``.
        """
        super().__init__(bundle, variant)
        whole = isinstance(threads, int) and not isinstance(threads, bool)
        if threads is not None and not (whole and 1 <= threads <= MOST_THREADS):
            raise InputError(
                f"threads is {threads!r}; give 1 to {MOST_THREADS}, or nothing for all cores."
            )
        self.threads = physical_cores() if threads is None else threads
        self.mapped = mapped
        self._ort: Any = None
        self._sessions: dict[str, Any] = {}

    def activate(self) -> None:
        """Import ONNX Runtime.

        Raises:
            InputError: it is not installed.
        """
        if self._ort is None:
            self._ort = import_onnxruntime()

    def deactivate(self) -> None:
        """Drop every session."""
        self._sessions.clear()
        self._ort = None

    def describe(self) -> str:
        """See :class:`Backend`."""
        version = import_onnxruntime().__version__
        return f"onnxruntime {version} on the CPU, {self.threads} threads"

    def prepare(self, graph: Graph) -> None:
        """See :class:`Backend`."""
        self.session(graph)

    def infer_impl(self, graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
        """See :class:`Backend`."""
        session = self.session(graph)
        names = [spec.name for spec in graph.outputs]
        try:
            outputs = session.run(names, dict(feed))
        except Exception as error:  # the library has a dozen types without a common base
            raise WorkError(f"the graph {graph.name!r} failed in onnxruntime: {error}") from error
        return dict(zip(names, outputs, strict=True))

    def session(self, graph: Graph) -> Any:
        """Return ONNX Runtime's session of a graph, made when it is first asked for."""
        if self._ort is None:
            raise RuntimeError("the back end is not active; use it in a with block")
        if graph.file not in self._sessions:
            self._sessions[graph.file] = self._load(graph)
        return self._sessions[graph.file]

    def _load(self, graph: Graph) -> Any:
        ort = self._ort
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors; they also arrive as exceptions
        # Workers spin within a run, not after it: those of the other three sessions must not burn
        # the cores that this graph, Pillow and the video encoder need; measured in docs/LOG.md.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if self.mapped:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.disable_prepacking", "1")
        if self.variant.precision == "int8":  # exact products where a CPU has no VNNI
            options.add_session_config_entry(EXACT_INT8, "1")
        if self.variant.precision == "fp8":  # it would fuse them into kernels that are int8 only
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        file = self.bundle.graph_file(self.variant, graph)
        try:
            session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # as above
            raise BundleError(
                f"onnxruntime {ort.__version__} cannot load {graph.file!r}: {error}"
            ) from error
        for specs, nodes in (
            (graph.inputs, session.get_inputs()),
            (graph.outputs, session.get_outputs()),
        ):
            shapes = {node.name: tuple(node.shape) for node in nodes}
            if shapes != {spec.name: spec.shape for spec in specs}:
                raise BundleError(
                    f"{graph.file!r} has {shapes} where the manifest says "
                    f"{ {spec.name: spec.shape for spec in specs} }; export the bundle again."
                )
        return session


def import_onnxruntime() -> Any:
    """Return the module.

    Raises:
        InputError: it is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise InputError(
            "the back end 'onnxruntime' needs the package onnxruntime, which cannot be imported "
            f"({error}); install it with: pip install 'lavin-deploy[cpu]'."
        ) from error


def physical_cores() -> int:
    """Count the physical cores this process may use, within a container's quota; at least 1."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
    cores = set()
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(path.read_text())
        except OSError:
            cores.add(str(cpu))
    return max(1, min(len(cores), _quota()))


def _quota() -> int:
    """Return the processors that the control group grants, rounded up."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no control group, or "max"
        return 1 << 16
