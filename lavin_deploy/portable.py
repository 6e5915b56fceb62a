"""The portable dialect's two operators, as ONNX functions of opset 18 or as nodes for plugins.

Domain ``lavin``, version 1. Shapes: L tokens, N query heads, K key/value heads, E head width, batch
1. "Data" is fp32, fp16 or bf16, the same for all data of a node; "float32" stays so whatever the
precision. A node's form is told by its number of inputs; in the function form the second form is
the overload that its section names, in the bare form overloads are gone. ONNX Runtime knows
overloads; TensorRT's parser does not and takes the inlined or the bare form.

``RoPE3D``: QK-Norm and rotation of queries and keys of one stream, in one pass.

- Inputs: ``q`` (1, L, N E) and ``k`` (1, L, K E), data; ``q_weight`` (N E,), ``k_weight`` (K E,),
  ``cos``, ``sin`` (1, L, E / 2), float32.
- Outputs: ``q_out`` (1, N, L, E), ``k_out`` (1, K, L, E), data. Unlike the inputs, heads lie
  before tokens.
- With x in float32: ``n = x / sqrt(mean(x^2) + epsilon) * weight`` over the *whole* last axis of
  x, all heads together; then within each head, a its first and b its second half:
  ``(a cos - b sin, b cos + a sin)``. Rounded to the data's type once, at the end.
- Form of 4 inputs, overload ``keys``: ``k, k_weight, cos, sin`` -> ``k_out``; ``num_heads`` is K.

``GroupedQueryAttention``: full attention, no mask; query head i reads head i // (N / K).

- Inputs: ``q`` (1, N, Lq, E), ``k``, ``v`` (1, K, L, E), data.
- Output: (1, Lq, N E), data: heads lie side by side again.
- ``softmax(scale q k^T) v`` with the softmax in float32. Keys and values are never repeated: the
  queries of a group are rows of one product.
- Form of 5 inputs, overload ``prefix``: ``q, k, v, past_k, past_v``; the last two (1, K, P, E),
  data, stand before ``k`` and ``v`` and are not copied together with them by the graph.

Attributes of both: ``num_heads`` N, ``kv_num_heads`` K, ``head_dim`` E (int); of ``RoPE3D`` also
``epsilon``, of ``GroupedQueryAttention`` ``scale`` (float). :func:`bare` adds ``plugin_namespace``
("lavin") and ``plugin_version`` ("1") to every node, which is where TensorRT's parser looks, and
``queries`` (int) to ``RoPE3D``: 0 in the form of keys alone, else 1.
"""

from __future__ import annotations

import onnx
from onnx import inliner, parser

DOMAIN = "lavin"
OPSET = 18
IR_VERSION = 10
"""The first with overloads of functions."""
FORMS = {("RoPE3D", 4): "keys", ("GroupedQueryAttention", 5): "prefix"}
"""Operator and number of inputs -> overload; of all others none."""

_ROPE = """<opset_import: ["": 18], domain: "lavin"{overload}>
RoPE3D <epsilon, head_dim, num_heads, kv_num_heads> ({inputs}, cos, sin) => ({outputs}) {{
    eps = Constant <value_float: float = @epsilon> ()
    two = Constant <value = float {{2}}> ()
    last = Constant <value_ints = [-1]> ()
    first = Constant <value_ints = [0]> ()
    heads = Constant <value_ints = [2]> ()
    whole = Constant <value_ints = [0, 0, -1]> ()
    width = Constant <value_int: int = @head_dim> ()
    width_1 = Unsqueeze (width, first)
    shape = Concat <axis = 0> (whole, width_1)
    cos_f = Cast <to = 1> (cos)
    sin_f = Cast <to = 1> (sin)
    c = Unsqueeze (cos_f, heads)
    s = Unsqueeze (sin_f, heads)
    {turns}
}}"""
_TURN = """
    {x}_f = Cast <to = 1> ({x})
    {x}_w = Cast <to = 1> ({x}_weight)
    {x}_square = Pow ({x}_f, two)
    {x}_mean = ReduceMean <keepdims = 1> ({x}_square, last)
    {x}_safe = Add ({x}_mean, eps)
    {x}_root = Sqrt ({x}_safe)
    {x}_unit = Div ({x}_f, {x}_root)
    {x}_normed = Mul ({x}_unit, {x}_w)
    {x}_heads = Reshape ({x}_normed, shape)
    {x}_a, {x}_b = Split <axis = -1, num_outputs = 2> ({x}_heads)
    {x}_ac = Mul ({x}_a, c)
    {x}_bs = Mul ({x}_b, s)
    {x}_bc = Mul ({x}_b, c)
    {x}_as = Mul ({x}_a, s)
    {x}_one = Sub ({x}_ac, {x}_bs)
    {x}_other = Add ({x}_bc, {x}_as)
    {x}_turned = Concat <axis = -1> ({x}_one, {x}_other)
    {x}_typed = CastLike ({x}_turned, {x})
    {x}_out = Transpose <perm = [0, 2, 1, 3]> ({x}_typed)"""

_GQA = """<opset_import: ["": 18], domain: "lavin"{overload}>
GroupedQueryAttention <scale, head_dim, num_heads, kv_num_heads> (q, k, v{past}) => (out) {{
    zero = Constant <value_ints = [0]> ()
    rest = Constant <value_ints = [-1, 0]> ()
    side = Constant <value_ints = [0, 0, -1]> ()
    n = Constant <value_int: int = @num_heads> ()
    n_1 = Unsqueeze (n, zero)
    groups = Constant <value_int: int = @kv_num_heads> ()
    groups_1 = Unsqueeze (groups, zero)
    folded = Concat <axis = 0> (zero, groups_1, rest)
    unfolded = Concat <axis = 0> (zero, n_1, rest)
    factor = Constant <value_float: float = @scale> ()
    factor_q = CastLike (factor, q)
    {keys_values}
    q_groups = Reshape (q, folded)
    q_scaled = Mul (q_groups, factor_q)
    k_turned = Transpose <perm = [0, 1, 3, 2]> (keys)
    scores = MatMul (q_scaled, k_turned)
    scores_f = Cast <to = 1> (scores)
    weights_f = Softmax <axis = -1> (scores_f)
    weights = CastLike (weights_f, q)
    mixed = MatMul (weights, values)
    per_head = Reshape (mixed, unfolded)
    per_token = Transpose <perm = [0, 2, 1, 3]> (per_head)
    out = Reshape (per_token, side)
}}"""
_JOINED = "keys = Concat <axis = 2> (past_k, k)\n    values = Concat <axis = 2> (past_v, v)"
_ALONE = "keys = Identity (k)\n    values = Identity (v)"


def functions() -> list[onnx.FunctionProto]:
    """Both forms of both operators in standard operators of opset 18, for any type of data."""
    turns = {x: _TURN.format(x=x).strip() for x in ("q", "k")}
    texts = [
        _ROPE.format(
            overload="",
            inputs="q, k, q_weight, k_weight",
            outputs="q_out, k_out",
            turns="\n    ".join(turns.values()),
        ),
        _ROPE.format(
            overload=', overload: "keys"',
            inputs="k, k_weight",
            outputs="k_out",
            turns=turns["k"],
        ),
        _GQA.format(overload="", past="", keys_values=_ALONE),
        _GQA.format(overload=', overload: "prefix"', past=", past_k, past_v", keys_values=_JOINED),
    ]
    return [parser.parse_function(text) for text in texts]


def attach(model: onnx.ModelProto) -> None:
    """Name the form of every ``lavin`` node and add the definitions that are needed, in place."""
    used = set()
    for node in _custom(model):
        node.overload = FORMS.get((node.op_type, len(node.input)), "")
        used.add((node.op_type, node.overload))
    if used:
        model.ir_version = max(model.ir_version, IR_VERSION)
    needed = [found for found in functions() if (found.name, found.overload) in used]
    del model.functions[:]
    model.functions.extend(needed)


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in standard operators alone, for runtimes that know no functions.

    Args:
        model: in its function form; external weights stay where they are.

    Returns:
        A new model without functions. Tensors of the outer graph keep their names and types.
    """
    return inliner.inline_local_functions(model)


def bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph without definitions: TensorRT's parser takes the ``lavin`` nodes to plugins.

    Returns:
        A new model; see the top of this file for what a plugin gets.
    """
    found = onnx.ModelProto()
    found.CopyFrom(model)
    del found.functions[:]
    for node in _custom(found):
        node.ClearField("overload")
        node.attribute.append(onnx.helper.make_attribute("plugin_namespace", DOMAIN))
        node.attribute.append(onnx.helper.make_attribute("plugin_version", "1"))
        if node.op_type == "RoPE3D":
            both = int(FORMS.get((node.op_type, len(node.input))) != "keys")
            node.attribute.append(onnx.helper.make_attribute("queries", both))
    return found


def _custom(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.domain == DOMAIN]
