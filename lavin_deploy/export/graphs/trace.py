"""From a torch module to ONNX: structure and weights apart, so that weights are never copied."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lavin_deploy import portable
from lavin_deploy.export.graphs.laid_out import LaidOut
from lavin_deploy.export.graphs.spec import GraphSpec
from lavin_deploy.names import Dialect

OPSET = 23
OPSETS: dict[Dialect, int] = {"native": OPSET, "portable": portable.OPSET}
LARGE = 1024
"""Initialisers from this many bytes on are kept apart from the structure."""
PENDING = "pending"
"""Location of weights that are not in their file yet."""

Load = Callable[[], NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A graph.

    Attributes:
        model: the structure; large initialisers refer to ``PENDING`` data.
        weights: name of a large initialiser -> its values, made when called for.
    """

    model: onnx.ModelProto
    weights: dict[str, Load] = field(default_factory=dict)


@contextlib.contextmanager
def _one_registry() -> Iterator[None]:
    """Let all traces share torch's table of translations, which takes a fifth of a trace to build.

    The table belongs to torch's own modules (torch 2.13); where it is not found, each trace builds
    its own, and only time is lost. Nothing changes it: no translations of ours are given.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        shared = _remembered(ONNXRegistry.from_torchlib)
    except (ImportError, AttributeError):
        yield
        return
    with mock.patch.object(ONNXRegistry, "from_torchlib", staticmethod(shared)):
        yield


@functools.cache
def _remembered(build: Callable[..., Any]) -> Callable[..., Any]:
    """The one cache of a function, for the whole process."""
    return functools.cache(build)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and deprecation notes off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def trace(spec: GraphSpec) -> Traced:
    """Trace a graph through torch's dynamo exporter; static shapes, float32, the spec's dialect."""
    inputs = [torch.from_numpy(array) for array in spec.example(0).feed.values()]
    inputs += list(spec.overridable.values())
    module = spec.build().eval()
    with _quiet(), _one_registry(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(inputs),
            dynamo=True,
            opset_version=OPSETS[spec.dialect],
            input_names=[*spec.inputs, *spec.overridable],
            output_names=list(spec.outputs),
            verbose=False,
            optimize=False,  # not before the initialisers are what they stand for
        )
        assert program is not None
        _lay_out(program.model, module)
        program.optimize()
    weights = _take_weights(program.model)
    model: onnx.ModelProto = ir.to_proto(program.model)
    model.graph.name = f"lavin_{spec.name}"
    _strip(model)
    if spec.dialect == "portable":
        portable.attach(model)
    for name, value in spec.overridable.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.numpy(), name))
    return Traced(model=model, weights=weights)


def _lay_out(model: ir.Model, module: nn.Module) -> None:
    """Let the initialisers of matrices that are laid out on demand hold those matrices."""
    for path, part in module.named_modules(remove_duplicate=False):
        value = model.graph.initializers.get(f"{path}.weight")
        if isinstance(part, LaidOut) and value is not None:
            value.const_value = ir.LazyTensor(
                _tensor_of(part), ir.DataType.FLOAT, ir.Shape(part.weight.shape), name=value.name
            )


def _tensor_of(part: LaidOut) -> Callable[[], ir.TensorProtocol]:
    return lambda: ir.tensor(part.make().numpy())


def _take_weights(model: ir.Model) -> dict[str, Load]:
    """Replace large initialisers by references; return what they hold."""
    weights: dict[str, Load] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        assert tensor is not None
        if tensor.nbytes < LARGE:
            continue
        raw = tensor.raw
        weights[name] = raw.detach().numpy if isinstance(raw, Tensor) else tensor.numpy
        value.const_value = ir.ExternalTensor(
            PENDING, 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name
        )
    return weights


def _strip(model: onnx.ModelProto) -> None:
    """Keep of the exporter's notes only shapes and which module a node comes from (no paths).

    The module is the innermost one, without the wrappers of the graph: ``blocks.3.x_mlp``.
    """
    for node in model.graph.node:
        scopes = [p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"]
        del node.metadata_props[:]
        for value in scopes:
            node.metadata_props.add(key="module", value=_module(value))
    stored = {tensor.name for tensor in model.graph.initializer}
    kept = [info for info in model.graph.value_info if info.name not in stored]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    for part in (*model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del part.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    del model.metadata_props[:]


def _module(scopes: str) -> str:
    """``"['', 'fused.blocks.3', 'fused.blocks.3.x_mlp', 'matmul']"`` -> ``blocks.3.x_mlp``."""
    names = [part.strip().strip("'\"") for part in scopes.strip("[]").split(",")]
    innermost = names[-2] if len(names) > 1 else ""
    return innermost.removeprefix("step.").rpartition("fused.")[2]
