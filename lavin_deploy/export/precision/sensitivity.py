"""Where a lower precision hurts: modules ranked by what they add, and the fewest to keep in fp32.

A module's contribution is the error of the graph's outputs when that module alone computes in the
lower precision. The search keeps the worst modules in float32: the shortest head of the ranking
that passes, then without every module that turns out not to be needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from lavin_deploy.export.checks.gate import TensorDistance
from lavin_deploy.export.checks.interpreter import Interpreter, Rounded, to_tensor
from lavin_deploy.export.precision.lowering import data_inputs
from lavin_deploy.export.precision.rules import MOVEMENT, module_of, within

Passes = Callable[[frozenset[str]], bool]


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What one PyTorch module adds to the error of a graph (relative L2; inf: it overflows)."""

    graph: str
    module: str
    rel_l2: float


def units(graph: onnx.GraphProto) -> list[str]:
    """Modules that are ranked: the parts of a block, the res-blocks of the ST-VAE."""
    modules = dict.fromkeys(
        _unit(module_of(node)) for node in graph.node if node.op_type not in MOVEMENT
    )
    names = [name for name in modules if name]
    return [n for n in names if not any(m != n and within(m, n) for m in names)]


def _unit(module: str) -> str:
    """``blocks.3.x_mlp.down`` -> ``blocks.3.x_mlp``."""
    parts = module.split(".")
    return ".".join(parts[: 5 if parts[0] in ("encoder", "decoder") else 3])


def rank(
    graph: str,
    interpreter: Interpreter,
    feed: Mapping[str, NDArray[np.float32]],
    dtype: torch.dtype,
) -> list[Contribution]:
    """Rank the modules of a float32 graph by what they alone add in a lower type, worst first."""
    tensors = {name: to_tensor(array) for name, array in feed.items()}
    every: dict[str, torch.Tensor] = {}
    exact = [tensor.numpy() for tensor in interpreter.run(tensors, every.__setitem__).values()]
    ranking = []
    for unit in units(interpreter.graph):
        nodes = frozenset(
            node.name for node in interpreter.graph.node if within(module_of(node), unit)
        )
        outputs = interpreter.run(tensors, rounded=Rounded(dtype=dtype, nodes=nodes), exact=every)
        distance = TensorDistance.between([tensor.numpy() for tensor in outputs.values()], exact)
        ranking.append(Contribution(graph=graph, module=unit, rel_l2=distance.rel_l2))
    return sorted(ranking, key=lambda one: -one.rel_l2)


def out_of_range(
    model: onnx.ModelProto, largest: Mapping[str, float], limit: float
) -> frozenset[str]:
    """Nodes that must stay in float32 because a float they take or give is beyond ``limit``.

    Args:
        model: a float32 graph.
        largest: tensor -> largest absolute value over validation data.
        limit: of the lower type.
    """
    beyond = {name for name, top in largest.items() if not top <= limit}
    return frozenset(
        node.name
        for node in model.graph.node
        if beyond & {*node.output, *data_inputs(node)} and node.op_type != "Cast"
    )


def smallest_fp32_set(ranking: Sequence[str], passes: Passes) -> frozenset[str] | None:
    """Search the fewest modules that have to stay in float32.

    Args:
        ranking: modules, worst first.
        passes: whether a set of modules in float32 is enough.

    Returns:
        A set from which no single module can be taken away, or None if even all do not pass.
    """
    if passes(frozenset()):
        return frozenset()
    if not passes(frozenset(ranking)):
        return None
    low, high = 0, 1
    while not passes(frozenset(ranking[:high])):
        low, high = high, min(2 * high, len(ranking))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(frozenset(ranking[:middle])) else (middle, high)
    kept = set(ranking[:high])
    for module in reversed(ranking[:high]):
        if len(kept) > 1 and passes(frozenset(kept - {module})):
            kept.discard(module)
    return frozenset(kept)
