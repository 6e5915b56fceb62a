"""Lower a graph to fp16 or bf16: strongly typed, so that the builder decides nothing.

Some modules are kept in fp32, and so are inputs and outputs of a graph, but for keys and values.
Casts stand where precisions meet. TensorRT, ONNX Runtime and the torch interpreter then all run
the same types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

from lavin_deploy.export.graphs.trace import Load, Traced
from lavin_deploy.export.precision.rules import MOVEMENT, NORMS, RULES, module_of, within
from lavin_deploy.names import Low

TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
DTYPES = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
TYPE_NAMES = {"fp16": "tensor(float16)", "bf16": "tensor(bfloat16)"}
FLOAT32 = TensorProto.FLOAT

TIME_INPUTS = ("modulation", "t", "dt", "positions")
DATA_INPUTS = {("Resize", ""): (0,), ("RoPE3D", ""): (0, 1), ("RoPE3D", "keys"): (0,)}
"""Operators and overloads of which only some inputs have the precision of the data."""


@dataclass(frozen=True, kw_only=True)
class Lowering:
    """How to lower.

    Attributes:
        low: the lower precision.
        fp32_modules: modules that stay in float32, with what is in them.
        wide: names of further nodes that do, because their range is too large.
        keys_values: whether keys and values go in and out in the lower precision.
    """

    low: Low
    fp32_modules: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()
    keys_values: bool = True


@dataclass(kw_only=True)
class _Graph:
    """A graph's float tensors: who makes and who reads them."""

    model: onnx.ModelProto
    floats: set[str] = field(default_factory=set)
    makers: dict[str, int] = field(default_factory=dict)
    readers: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.model.graph
        for info in (*graph.value_info, *graph.input, *graph.output):
            if info.type.tensor_type.elem_type == FLOAT32:
                self.floats.add(info.name)
        self.floats |= {tensor.name for tensor in graph.initializer if tensor.data_type == FLOAT32}
        for index, node in enumerate(graph.node):
            self.makers |= dict.fromkeys(node.output, index)
            for name in data_inputs(node):
                self.readers.setdefault(name, []).append(index)


def data_inputs(node: onnx.NodeProto) -> list[str]:
    """Names of the inputs that have the precision of the data (their type may still be int)."""
    chosen = DATA_INPUTS.get((node.op_type, node.overload), range(len(node.input)))
    return [node.input[index] for index in chosen if node.input[index]]


def choose_wide(model: onnx.ModelProto, lowering: Lowering) -> dict[str, str]:
    """Decide which nodes stay in float32.

    Returns:
        Output of the node -> name of the rule, the module or ``range``; for all that stay.
    """
    graph = _Graph(model=model)
    nodes = list(model.graph.node)
    stored = set(_constants(model))
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    timely = set(TIME_INPUTS)
    normed: set[str] = set()
    reasons: dict[int, str] = {}
    for index, node in enumerate(nodes):
        live = [name for name in node.input if name and name not in stored]
        if live and all(name in timely for name in live):
            timely |= set(node.output)
            reasons[index] = "modulation"
            continue
        follows = [name for name in live if name not in timely]
        from_norm = len(follows) == 1 and follows[0] in normed
        if node.op_type in NORMS or (from_norm and node.op_type in ("Add", "Mul", "Reshape")):
            normed |= set(node.output)
        reason = next((name for name, rule in RULES.items() if rule(node)), None)
        module = next((m for m in lowering.fp32_modules if within(module_of(node), m)), None)
        if not _accepts(node, lowering.low, opset):
            reasons[index] = "type"
        elif node.op_type not in MOVEMENT and (cause := reason or module):
            reasons[index] = cause
        elif node.op_type not in MOVEMENT and node.output[0] in normed:
            reasons[index] = "norm_affine"
        elif node.name in lowering.wide:
            reasons[index] = "range"
    moved = True
    while moved:
        moved = False
        for index, node in enumerate(nodes):
            if index in reasons or node.op_type not in MOVEMENT:
                continue
            before = [n for n in data_inputs(node) if n in graph.floats and n not in stored]
            after = [reader for name in node.output for reader in graph.readers.get(name, [])]
            if all(graph.makers.get(n, -1) in {-1, *reasons} for n in before) and all(
                reader in reasons for reader in after
            ):
                reasons[index] = "between"
                moved = True
    return {nodes[index].output[0]: reason for index, reason in reasons.items()}


def lower(traced: Traced, lowering: Lowering) -> Traced:
    """Return the graph in the lower precision; ``traced`` is not changed."""
    source = traced.model
    wide = choose_wide(source, lowering)
    graph = _Graph(model=source)
    model = onnx.ModelProto()
    model.CopyFrom(source)
    low, dtype = TYPES[lowering.low], DTYPES[lowering.low]
    stored = _constants(model)
    weights: dict[str, Load] = dict(traced.weights)
    is_low = {
        name
        for node in source.graph.node
        if node.output[0] not in wide
        for name in node.output
        if name in graph.floats
    }
    if lowering.keys_values:
        is_low |= {info.name for info in model.graph.input if _is_key_value(info.name)}
    readers_wide = {
        name
        for node in source.graph.node
        if node.output[0] in wide
        for name in data_inputs(node)
        if name in stored
    }
    for node in source.graph.node:  # operands that never follow the data stay as they are
        readers_wide |= {n for n in node.input if n in stored and n not in data_inputs(node)}
    nodes: list[onnx.NodeProto] = []
    casts: dict[tuple[str, int], str] = {}

    def cast(name: str, to: int) -> str:
        if (name, to) not in casts:
            casts[name, to] = f"{name}.{'wide' if to == FLOAT32 else lowering.low}"
            nodes.append(helper.make_node("Cast", [name], [casts[name, to]], to=to))
            nodes[-1].name = f"{casts[name, to]}.cast"
        return casts[name, to]

    def lowered(name: str) -> str:
        """An initialiser in the lower precision, beside the float32 one if that is needed too."""
        fresh = f"{name}.{lowering.low}" if name in readers_wide else name
        if (name, low) not in casts:
            casts[name, low] = fresh
            tensor = stored[name]
            if name in readers_wide:
                tensor = model.graph.initializer.add()
                tensor.CopyFrom(stored[name])
                tensor.name = fresh
            if name in traced.weights:
                weights[fresh] = _rounded(traced.weights[name], dtype)
                tensor.data_type = low
            else:
                array = onnx.numpy_helper.to_array(stored[name]).astype(dtype)
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, fresh))
        return casts[name, low]

    for node in source.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        keep = node.output[0] in wide
        follows = set(data_inputs(node))
        for position, name in enumerate(node.input):
            if name not in graph.floats or name not in follows:
                continue
            if not keep and name in stored:
                copy.input[position] = lowered(name)
            elif keep == (name in is_low):
                copy.input[position] = cast(name, FLOAT32 if keep else low)
        nodes.append(copy)
    for info in model.graph.output:
        target_type = low if lowering.keys_values and _is_key_value(info.name) else FLOAT32
        if (info.name in is_low) == (target_type == low):
            continue
        inner = f"{info.name}.{lowering.low if target_type == FLOAT32 else 'wide'}"
        for node in nodes:
            _rename(node, info.name, inner)
        nodes.append(helper.make_node("Cast", [inner], [info.name], to=target_type))
        nodes[-1].name = f"{info.name}.cast"
        is_low ^= {info.name}
    for info in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        if info.name in is_low:
            info.type.tensor_type.elem_type = low
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return Traced(model=model, weights=weights)


def _accepts(node: onnx.NodeProto, low: Low, opset: int) -> bool:
    """Whether the operator may have data of this type: Conv in bf16 only since opset 22."""
    if node.op_type == "DequantizeLinear":  # its result has the type of its scale
        return True
    if node.domain:
        return True
    schema = onnx.defs.get_schema(node.op_type, opset)
    allowed = {entry.type_param_str: entry.allowed_type_strs for entry in schema.type_constraints}
    return TYPE_NAMES[low] in allowed.get(schema.inputs[0].type_str, [TYPE_NAMES[low]])


def _constants(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """Initialisers that no run can replace: those that are no inputs as well."""
    inputs = {info.name for info in model.graph.input}
    return {t.name: t for t in model.graph.initializer if t.name not in inputs}


def _is_key_value(name: str) -> bool:
    part = name.removeprefix("pair_").partition(".")[0]
    return part in ("k", "v")


def _rounded(load: Load, dtype: np.dtype[Any]) -> Load:
    return lambda: load().astype(dtype)


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for position, name in enumerate(names):
            if name == old:
                names[position] = new
