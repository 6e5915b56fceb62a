"""Smooth the channels of activations before they are quantised: SmoothQuant (arXiv 2211.10438).

A channel that is large in the activation and small in the weight is divided by s and the weight's
row multiplied by s, with ``s = (largest activation)^a / (largest weight)^(1 - a)``: the same
product, and one scale then fits all channels. What the division is folded into costs nothing: the
factor of an RMSNorm (a vector), or the columns of the projection that made one side of a gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lavin_deploy.export.graphs.trace import Load, Traced
from lavin_deploy.export.precision.ranges import Channels, Numbers
from lavin_deploy.export.precision.rules import module_of

SHARES = (None, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Tried values of a (None: no smoothing); each product takes the one that should err least. Above
0.7 what few samples show of a channel counts too much (``docs/LOG.md``)."""
SPREAD = 1e-3
"""A channel counts as having at least this part of the largest, so that no factor explodes."""

Key = tuple[str, ...]
"""The names of the weights that read an activation: the same in every graph that has them."""


@dataclass(frozen=True, kw_only=True)
class Smoothed:
    """A graph with smoothed activations, and what each of them was divided by, (C,)."""

    traced: Traced
    divisors: Mapping[str, Numbers]


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a division goes: an input of a node, or columns of a stored weight."""

    node: str
    position: int
    weight: str = ""
    start: int = 0


def smoothing_factors(
    graphs: Mapping[str, tuple[Traced, Sequence[onnx.NodeProto], Mapping[str, Channels]]],
) -> dict[Key, Numbers]:
    """Return s (C,) for every set of weights, from what all graphs feed it.

    Args:
        graphs: graph, its products, and the channels of their inputs.
    """
    seen: dict[Key, Channels] = {}
    loads: dict[Key, list[Load]] = {}
    for traced, products, channels in graphs.values():
        for name, readers in _readers(traced.model, products).items():
            key, merged = _key(readers), channels[name]
            if key in seen:
                peak = np.maximum(seen[key].peak, merged.peak)
                merged = Channels(peak=peak, square=np.maximum(seen[key].square, merged.square))
            seen[key] = merged
            loads[key] = [traced.weights[node.input[1]] for node in readers]
    return {key: _best_factor(seen[key], loads[key]) for key in seen}


def _best_factor(channels: Channels, loads: Sequence[Load]) -> Numbers:
    """Choose by the mean square of the product's error, errors of rounding being independent.

    A step of the activation errs by step^2 / 12 times the squares of the weights; a step of a
    column by step^2 / 12 times the squares of the activation.
    """
    weight = np.concatenate([load().astype(np.float32) for load in loads], axis=1)
    rows = np.abs(weight).max(axis=1)
    best: Numbers = np.ones_like(rows)
    least = np.inf
    for share in SHARES:
        s: Numbers = np.ones_like(rows)
        if share is not None:
            s = (_floored(channels.peak) ** share / _floored(rows) ** (1 - share)).astype(
                np.float32
            )
        smoothed = weight * s[:, None]
        step = float((channels.peak / s).max())
        steps = np.abs(smoothed).max(axis=0)
        error = step**2 * float(np.square(smoothed).sum())
        error += float((channels.square / s**2).sum()) * float(np.square(steps).sum())
        if error < least:
            best, least = s, error
    return best


def smooth(
    traced: Traced, products: Sequence[onnx.NodeProto], factors: Mapping[Key, Numbers]
) -> Smoothed:
    """Divide activations and multiply weights, where the division folds into something."""
    model = onnx.ModelProto()
    model.CopyFrom(traced.model)
    weights = dict(traced.weights)
    divisors: dict[str, Numbers] = {}
    extra: dict[str, onnx.NodeProto] = {}
    readers_of = _readers(traced.model, products)
    places = {name: _place(traced.model, traced.weights, name) for name in readers_of}
    fixed = {_key(readers) for name, readers in readers_of.items() if places[name] is None}
    done: set[Key] = set()
    for name, readers in readers_of.items():
        place, key = places[name], _key(readers)
        if place is None or key in fixed:
            continue
        s = divisors[name] = factors[key]
        if key not in done:  # a graph may run the same weights twice
            done.add(key)
            for node in readers:
                weights[node.input[1]] = _scaled_rows(weights[node.input[1]], s)
            if place.weight:
                weights[place.weight] = _scaled_columns(weights[place.weight], s, place.start)
        if place.weight:
            continue
        maker = next(node for node in model.graph.node if node.name == place.node)
        stored, product = f"{name}.levels", f"{name}.factor"
        model.graph.initializer.append(numpy_helper.from_array(1 / s, stored))
        inputs = [maker.input[place.position], stored]
        extra[maker.name] = helper.make_node("Mul", inputs, [product], name=f"{product}.node")
        extra[maker.name].metadata_props.add(key="module", value=module_of(maker))
        maker.input[place.position] = product
    nodes = [part for node in model.graph.node for part in (extra.get(node.name), node) if part]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return Smoothed(traced=Traced(model=model, weights=weights), divisors=divisors)


def _readers(
    model: onnx.ModelProto, products: Sequence[onnx.NodeProto]
) -> dict[str, list[onnx.NodeProto]]:
    """Activations that only matrix products among the chosen read, with those."""
    chosen = {node.name for node in products if node.op_type == "MatMul"}
    readers: dict[str, list[onnx.NodeProto]] = {}
    others = {info.name for info in model.graph.output}
    for node in model.graph.node:
        for name in node.input:
            if node.name in chosen and name == node.input[0]:
                readers.setdefault(name, []).append(node)
            else:
                others.add(name)
    return {name: nodes for name, nodes in readers.items() if name not in others}


def _key(readers: Sequence[onnx.NodeProto]) -> Key:
    return tuple(node.input[1].removeprefix("step.") for node in readers)


def _place(model: onnx.ModelProto, weights: Mapping[str, Load], name: str) -> _Place | None:
    makers = {output: node for node in model.graph.node for output in node.output}
    maker = makers.get(name)
    if maker is None:
        return None
    if maker.op_type == "RMSNormalization":
        return _Place(node=maker.name, position=1)
    if maker.op_type != "Mul":
        return None
    ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in model.graph.value_info}
    for position, operand in enumerate(maker.input):
        if ranks.get(operand) == 1:
            return _Place(node=maker.name, position=position)
    for operand in maker.input:
        source, start = makers.get(operand), 0
        if source is not None and source.op_type == "Split":
            sizes = _sizes(model, source)
            start = sum(sizes[: list(source.output).index(operand)])
            if not _read_once(model, operand):
                continue
            source = makers.get(source.input[0])
        elif not _read_once(model, operand):
            continue
        if source is not None and source.op_type == "MatMul" and source.input[1] in weights:
            return _Place(node=source.name, position=1, weight=source.input[1], start=start)
    return None


def _read_once(model: onnx.ModelProto, name: str) -> bool:
    return sum(list(node.input).count(name) for node in model.graph.node) == 1


def _sizes(model: onnx.ModelProto, split: onnx.NodeProto) -> list[int]:
    stored = next(t for t in model.graph.initializer if t.name == split.input[1])
    return [int(size) for size in numpy_helper.to_array(stored)]


def _scaled_rows(load: Load, s: Numbers) -> Load:
    return lambda: load().astype(np.float32) * s[:, None]


def _scaled_columns(load: Load, s: Numbers, start: int) -> Load:
    def divided() -> NDArray[np.generic]:
        array = load().astype(np.float32)
        array[:, start : start + len(s)] /= s
        return array

    return divided


def _floored(values: Numbers) -> Numbers:
    floored: Numbers = np.maximum(values, max(float(values.max()) * SPREAD, 1e-12))
    return floored.astype(np.float32)
