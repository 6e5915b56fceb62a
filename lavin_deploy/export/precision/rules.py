"""Which nodes stay in float32 when a graph is lowered: small named rules, each for one reason."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from lavin_deploy.models.pairing import MERGED_EMBEDDERS

Rule = Callable[[onnx.NodeProto], bool]

NORMS = (
    *("RMSNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization"),
    *("ReduceMean", "Pow", "Sqrt", "Reciprocal", "Div"),
)
"""Whole norms, and what they are made of where a dialect has no operator for them."""
EMBEDDERS = ("cond_embedder", "x_embedder", *MERGED_EMBEDDERS)
"""J-DiT's first projections."""
MOVEMENT = (
    *("Reshape", "Transpose", "Concat", "Split", "Slice", "Squeeze", "Unsqueeze", "Gather"),
    *("Expand", "Identity", "Resize", "Pad"),
)
"""Operators that compute nothing: they take the precision of what is around them."""


def module_of(node: onnx.NodeProto) -> str:
    """The torch module that a node comes from, e.g. ``blocks.3.x_mlp``; "" at the top."""
    return next((prop.value for prop in node.metadata_props if prop.key == "module"), "")


def within(module: str, name: str) -> bool:
    """Whether a module is another one or lies in it."""
    return module == name or module.startswith(f"{name}.")


def norm_statistics(node: onnx.NodeProto) -> bool:
    """Sums of squares leave float16's range soonest."""
    return node.op_type in NORMS


def rotation(node: onnx.NodeProto) -> bool:
    """RoPE stands between a norm and the attention: one rounding instead of two."""
    return str(node.op_type) == "RotaryEmbedding"


def softmax(node: onnx.NodeProto) -> bool:
    """Exponentials. Inside Attention every runtime keeps them in float32 by itself, and TensorRT's
    parser refuses the attribute that would ask for it."""
    return str(node.op_type) == "Softmax"


def embedders(node: onnx.NodeProto) -> bool:
    """First projections: few numbers that everything after depends on."""
    return any(within(module_of(node), name) for name in EMBEDDERS)


def update(node: onnx.NodeProto) -> bool:
    """The Euler update adds small steps to large latents."""
    return node.op_type in ("Add", "Mul") and module_of(node) == ""


RULES: dict[str, Rule] = {
    rule.__name__: rule for rule in (norm_statistics, rotation, softmax, embedders, update)
}
"""By name; beside them ``modulation`` (whatever follows from the time alone), ``norm_affine`` (the
weights of a norm in plain operators: rounded once, behind them), ``type`` (the opset allows the
operator no such type) and ``range``. RoPE3D and GroupedQueryAttention keep float32 inside, see
:mod:`lavin_deploy.portable`.
"""
