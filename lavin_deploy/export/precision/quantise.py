"""Quantise a graph to int8 or fp8: explicit QuantizeLinear/DequantizeLinear around its products.

Weights have one scale for each output channel, activations one for each tensor; both are symmetric,
as TensorRT asks. Before that channels of activations are smoothed (:mod:`smoothing`). The structure
only is touched: weights are quantised when they are written, so no model is too large for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lavin_deploy.export.graphs.trace import LARGE, PENDING, Load, Traced
from lavin_deploy.export.precision.calibration import Feed
from lavin_deploy.export.precision.ranges import Channels, Numbers, Probe, best_clip
from lavin_deploy.export.precision.rules import EMBEDDERS, module_of, within
from lavin_deploy.export.precision.smoothing import Smoothed, smooth, smoothing_factors
from lavin_deploy.names import Quantised

DTYPES: dict[str, np.dtype[Any]] = {
    "int8": np.dtype(np.int8),
    "fp8": np.dtype(ml_dtypes.float8_e4m3fn),
}
TYPES = {"int8": TensorProto.INT8, "fp8": TensorProto.FLOAT8E4M3FN}
LARGEST = {"int8": 127, "fp8": 448}

KEPT = (*EMBEDDERS, "final", "time")
"""First and last projections of J-DiT, and the modulation where a step computes it itself."""
KEPT_ENDS = ("conv_in", "conv_out")
"""First and last convolutions of the ST-VAE."""


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """How to quantise.

    Attributes:
        precision: ``int8`` or ``fp8`` (e4m3).
        convolutions: whether those of the ST-VAE too.
        fp32_modules: modules that stay in fp32, beside those that always do.
    """

    precision: Quantised
    convolutions: bool = False
    fp32_modules: frozenset[str] = frozenset()


def products(model: onnx.ModelProto, quantisation: Quantisation) -> list[onnx.NodeProto]:
    """Nodes that are quantised: matrix products (and convolutions) with stored weights.

    The modulation, first and last projections and whatever belongs to a norm stay.
    """
    if model.graph.name == "lavin_modulation":
        return []
    stored = {t.name for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL}
    operators = ("MatMul", "Conv") if quantisation.convolutions else ("MatMul",)
    return [
        node
        for node in model.graph.node
        if node.op_type in operators
        and node.input[1] in stored
        and not _kept(module_of(node), quantisation.fp32_modules)
    ]


def _kept(module: str, fp32_modules: frozenset[str]) -> bool:
    parts = module.split(".")
    return (
        parts[0] in KEPT
        or parts[-1] in KEPT_ENDS
        or any(part.startswith("norm") for part in parts)
        or any(within(module, name) for name in fp32_modules)
    )


def quantise(
    graphs: Mapping[str, Traced], feeds: Mapping[str, Sequence[Feed]], quantisation: Quantisation
) -> dict[str, Traced]:
    """Quantise graphs that share weights; those without products come back as they are.

    Args:
        graphs: fp32 graphs by any name; they are not changed.
        feeds: by the same names, at least one set of inputs of each.
        quantisation: how.

    Returns:
        The graphs: node names, module names, inputs and outputs stay; what one weight becomes is
        the same in all of them, so that it is still stored once.
    """
    nodes = {name: products(traced.model, quantisation) for name, traced in graphs.items()}
    probes = {
        name: Probe(graphs[name], {n.input[0]: _channels(n) for n in chosen}, feeds[name])
        for name, chosen in nodes.items()
        if chosen
    }
    seen = {name: probe.channels() for name, probe in probes.items()}
    factors = smoothing_factors({name: (graphs[name], nodes[name], seen[name]) for name in probes})
    quantised = dict(graphs)
    for name, probe in probes.items():
        smoothed = smooth(graphs[name], nodes[name], factors)
        scales = _scales(probe, seen[name], smoothed.divisors, quantisation.precision)
        quantised[name] = _insert(smoothed, {n.name for n in nodes[name]}, scales, quantisation)
    return quantised


def _channels(node: onnx.NodeProto) -> int:
    return 1 if node.op_type == "Conv" else -1


def _scales(
    probe: Probe, channels: Mapping[str, Channels], divisors: Mapping[str, Numbers], precision: str
) -> dict[str, np.float32]:
    """Scale of every activation; int8 clips where the mean square error is least."""
    tops = {
        name: max(float((seen.peak / divisors.get(name, 1.0)).max()), 1e-12)
        for name, seen in channels.items()
    }
    largest = LARGEST[precision]
    if precision == "int8":
        counts = probe.histograms(tops, divisors)
        tops = {name: best_clip(counts[name], top, largest) for name, top in tops.items()}
    return {name: np.float32(top / largest) for name, top in tops.items()}


def _insert(
    smoothed: Smoothed,
    chosen: set[str],
    scales: Mapping[str, np.float32],
    quantisation: Quantisation,
) -> Traced:
    """Put the pairs of nodes in."""
    model = onnx.ModelProto()
    model.CopyFrom(smoothed.traced.model)
    weights = dict(smoothed.traced.weights)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    type_, dtype = TYPES[quantisation.precision], DTYPES[quantisation.precision]
    nodes: list[onnx.NodeProto] = []
    shapes = {name: tuple(tensor.dims) for name, tensor in tensors.items()}
    uses: Counter[str] = Counter()
    read: Counter[str] = Counter()
    loads: dict[str, Load] = {}

    def constant(name: str, array: NDArray[Any]) -> str:
        if array.nbytes < LARGE:
            model.graph.initializer.append(numpy_helper.from_array(array, name))
            return name
        weights[name] = lambda: array
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        model.graph.initializer.append(_pending(name, kind, array.shape))
        return name

    def note(node: onnx.NodeProto, module: str) -> None:
        node.metadata_props.add(key="module", value=module)
        nodes.append(node)

    def activation(name: str, module: str) -> str:
        """A pair for this one product. ONNX Runtime has no int8 kernel for products that share a
        pair, and merges equal pairs: scales one ulp apart keep them separate."""
        uses[name] += 1
        own = name if uses[name] == 1 else f"{name}.{uses[name]}"
        step = scales[name]
        for _ in range(1, uses[name]):
            step = np.nextafter(step, np.float32(np.inf))
        scale = constant(f"{own}.scale", np.array(step))
        zero = constant(f"{own}.zero", np.zeros((), dtype))
        quantised, out = f"{own}.quantised", f"{own}.dequantised"
        for operator, source, target in (
            ("QuantizeLinear", name, quantised),
            ("DequantizeLinear", quantised, out),
        ):
            inputs = [source, scale, zero]
            note(helper.make_node(operator, inputs, [target], name=f"{target}.node"), module)
        return out

    def weight(name: str, axis: int, module: str) -> str:
        """A node for this one product. A graph that runs a weight twice has it under two names (and
        once in the file): ONNX Runtime makes a weight unsigned under its name, so once alone."""
        read[name] += 1
        if read[name] == 1:
            loads[name], own, tensor = weights.pop(name), name, tensors[name]
        else:
            own, tensor = f"{name}.{read[name]}", model.graph.initializer.add()
        load, fresh = loads[name], f"{own}.{quantisation.precision}"
        scale = _channel_scale(load(), axis, LARGEST[quantisation.precision])
        weights[fresh] = _rounded(load, scale, axis, dtype)
        tensor.CopyFrom(_pending(fresh, type_, shapes[name]))
        # Written out: ONNX Runtime 1.31 puts a scalar in its place where it makes weights unsigned
        # (session.x64quantprecision), and then refuses it.
        zero = constant(f"{own}.zero", np.zeros(scale.shape, dtype))
        inputs = [fresh, constant(f"{own}.scale", scale), zero]
        node = helper.make_node("DequantizeLinear", inputs, [own], f"{fresh}.node", axis=axis)
        note(node, module)
        return own

    for node in smoothed.traced.model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if node.name in chosen:
            module = module_of(node)
            copy.input[0] = activation(node.input[0], module)
            copy.input[1] = weight(node.input[1], 0 if node.op_type == "Conv" else 1, module)
        nodes.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return Traced(model=model, weights=weights)


def _pending(name: str, type_: int, shape: Sequence[int]) -> TensorProto:
    tensor = TensorProto(name=name, dims=shape, data_type=type_)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=PENDING)
    return tensor


def _channel_scale(array: NDArray[Any], axis: int, largest: int) -> Numbers:
    others = tuple(i for i in range(array.ndim) if i != axis)
    top = np.abs(array).max(axis=others).astype(np.float32)
    scale: Numbers = np.maximum(top, np.float32(1e-12)) / np.float32(largest)
    return scale


def _rounded(load: Load, scale: Numbers, axis: int, dtype: np.dtype[Any]) -> Load:
    def rounded() -> NDArray[np.generic]:
        array: NDArray[Any] = load()
        scaled = array / scale.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
        return (np.rint(scaled) if dtype == np.int8 else scaled).astype(dtype)

    return rounded
