"""The ONNX operators of the torch interpreter: those that this package's graphs use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor

Attributes = dict[str, Any]
Operator = Callable[[Sequence[Tensor], Attributes], Tensor | Sequence[Tensor]]

DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
}


def _accumulated(operator: Operator) -> Operator:
    """The operator with its sums in float32 and its result rounded to the type of its input."""

    def run(x: Sequence[Tensor], a: Attributes) -> Tensor:
        result = operator([part.float() for part in x], a)
        assert isinstance(result, Tensor)
        return result.to(x[0].dtype)

    return run


def _axes(x: Sequence[Tensor]) -> list[int]:
    return [int(axis) for axis in x[1].reshape(-1)]


def _slice(x: Sequence[Tensor], a: Attributes) -> Tensor:
    data, starts, ends = x[0], x[1].tolist(), x[2].tolist()
    axes = x[3].tolist() if len(x) > 3 else list(range(len(starts)))
    steps = x[4].tolist() if len(x) > 4 else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, end, step)
    return data[tuple(index)]


def _split(x: Sequence[Tensor], a: Attributes) -> Sequence[Tensor]:
    sizes = x[1].tolist() if len(x) > 1 else x[0].shape[a.get("axis", 0)] // a["outputs"]
    parts: Sequence[Tensor] = x[0].split(sizes, dim=a.get("axis", 0))
    return parts


def _reshape(x: Sequence[Tensor], a: Attributes) -> Tensor:
    keep = not a.get("allowzero", 0)
    shape = [x[0].shape[i] if keep and n == 0 else n for i, n in enumerate(x[1].tolist())]
    return x[0].reshape(shape)


def _conv(x: Sequence[Tensor], a: Attributes) -> Tensor:
    space = x[0].ndim - 2
    pads = a.get("pads", [0] * 2 * space)
    before, after = pads[:space], pads[space:]
    padded = F.pad(x[0], [p for pair in zip(before[::-1], after[::-1], strict=True) for p in pair])
    convolve = (F.conv1d, F.conv2d, F.conv3d)[space - 1]
    stride = tuple(a.get("strides", [1] * space))
    bias = x[2] if len(x) > 2 else None
    result: Tensor = convolve(padded, x[1], bias, stride=stride)
    return result


def _conv_transpose(x: Sequence[Tensor], a: Attributes) -> Tensor:
    space = x[0].ndim - 2
    pads = a.get("pads", [0] * 2 * space)
    convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[space - 1]
    stride, padding = tuple(a.get("strides", [1] * space)), tuple(pads[:space])
    bias = x[2] if len(x) > 2 else None
    result: Tensor = convolve(x[0], x[1], bias, stride=stride, padding=padding)
    return result


def _gemm(x: Sequence[Tensor], a: Attributes) -> Tensor:
    left, right = (m.T if a.get(f"trans{s}") else m for m, s in zip(x[:2], "AB", strict=True))
    product = left @ right * a.get("alpha", 1.0)
    result: Tensor = product + x[2] * a.get("beta", 1.0) if len(x) > 2 else product
    return result


def _resize(x: Sequence[Tensor], a: Attributes) -> Tensor:
    factors = x[-1].tolist()
    sizes = factors if x[-1].dtype == torch.int64 else None
    shape = sizes or [round(n * f) for n, f in zip(x[0].shape, factors, strict=True)]
    return F.interpolate(x[0], size=shape[2:])


def _heads(x: Tensor, count: int) -> Tensor:
    """(1, L, count E) -> (1, count, L, E)."""
    heads: Tensor = x.unflatten(-1, (count, -1))
    return heads.transpose(1, 2)


def _rows(x: Tensor) -> Tensor:
    """The way back."""
    return x.transpose(1, 2).flatten(2)


def _attention(x: Sequence[Tensor], a: Attributes) -> Tensor:
    q, k, v = x[:3]
    if q.ndim == 3:  # rows of tokens (1, L, heads E)
        count = a["kv_num_heads"]
        heads = (_heads(q, a["q_num_heads"]), _heads(k, count), _heads(v, count))
        return _rows(_attention(heads, a))
    group = q.shape[1] // k.shape[1]
    k, v = (part.repeat_interleave(group, dim=1) for part in (k, v))
    scores = (q * a.get("scale", q.shape[-1] ** -0.5)) @ k.mT
    mixed: Tensor = scores.softmax(dim=-1) @ v
    return mixed


def _rotary(x: Sequence[Tensor], a: Attributes) -> Tensor:
    if x[0].ndim == 3:
        return _rows(_rotary((_heads(x[0], a["num_heads"]), *x[1:]), a))
    data, cos, sin = x[0], x[1][:, None], x[2][:, None]
    first, second = data.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _rope3d(x: Sequence[Tensor], a: Attributes) -> Sequence[Tensor]:
    count = a["outputs"]
    turned = []
    for data, weight in zip(x[:count], x[count:-2], strict=True):
        normed = F.rms_norm(data.float(), weight.shape, weight.float(), a["epsilon"])
        heads = _heads(normed, normed.shape[-1] // a["head_dim"])
        turned.append(_rotary((heads, x[-2].float(), x[-1].float()), a).to(data.dtype))
    return turned


def _grouped_query_attention(x: Sequence[Tensor], a: Attributes) -> Tensor:
    q, k, v, *past = x
    if past:
        k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
    return _rows(_attention((q, k, v), a))


def _group_norm(x: Sequence[Tensor], a: Attributes) -> Tensor:
    return F.group_norm(x[0], a["num_groups"], x[1], x[2], a.get("epsilon", 1e-5))


def _pad(x: Sequence[Tensor], a: Attributes) -> Tensor:
    before, after = x[1].reshape(2, -1).tolist()
    pairs = zip(before[::-1], after[::-1], strict=True)
    return F.pad(x[0], [p for pair in pairs for p in pair])


def _reduce_mean(x: Sequence[Tensor], a: Attributes) -> Tensor:
    return x[0].mean(dim=_axes(x), keepdim=bool(a.get("keepdims", 1)))


def _pool(x: Sequence[Tensor], a: Attributes) -> Tensor:
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x[0].ndim - 3]
    result: Tensor = pool(x[0], tuple(a["kernel_shape"]), tuple(a["strides"]))
    return result


def _unsqueeze(x: Sequence[Tensor], a: Attributes) -> Tensor:
    for axis in sorted(_axes(x)):
        x = (x[0].unsqueeze(axis),)
    return x[0]


def _along(scale: Tensor, data: Tensor, a: Attributes) -> Tensor:
    """A scale or zero point for each channel, ready to be combined with the data."""
    if scale.ndim != 1:
        return scale
    shape = [1] * data.ndim
    shape[a.get("axis", 1)] = -1
    return scale.reshape(shape)


def _quantise(x: Sequence[Tensor], a: Attributes) -> Tensor:
    scaled = x[0] / _along(x[1], x[0], a)
    zero = x[2]
    if zero.is_floating_point():  # float8: saturates
        top = torch.finfo(zero.dtype).max
        return scaled.clamp(-top, top).to(zero.dtype)
    low = torch.iinfo(zero.dtype)
    moved = scaled.round() + _along(zero, x[0], a).float()
    return moved.clamp(low.min, low.max).to(zero.dtype)


def _dequantise(x: Sequence[Tensor], a: Attributes) -> Tensor:
    moved = x[0].to(x[1].dtype)
    if len(x) > 2:
        moved = moved - _along(x[2], x[0], a).to(x[1].dtype)
    return moved * _along(x[1], x[0], a)


OPERATORS: dict[str, Operator] = {
    "Add": lambda x, a: x[0] + x[1],
    "Attention": _accumulated(_attention),
    "AveragePool": _accumulated(_pool),
    "Cast": lambda x, a: x[0].to(DTYPES[a["to"]]),
    "Concat": lambda x, a: torch.cat(list(x), dim=a["axis"]),
    "Conv": _accumulated(_conv),
    "ConvTranspose": _accumulated(_conv_transpose),
    "Cos": lambda x, a: x[0].cos(),
    "Div": lambda x, a: x[0] / x[1],
    "DequantizeLinear": _dequantise,
    "Gather": lambda x, a: torch.index_select(x[0], a.get("axis", 0), x[1].reshape(-1)).reshape(
        (*x[0].shape[: a.get("axis", 0)], *x[1].shape, *x[0].shape[a.get("axis", 0) + 1 :])
    ),
    "Gemm": _accumulated(_gemm),
    "GroupNormalization": _group_norm,
    "GroupedQueryAttention": _accumulated(_grouped_query_attention),
    "InstanceNormalization": lambda x, a: F.instance_norm(
        x[0], weight=x[1], bias=x[2], eps=a.get("epsilon", 1e-5)
    ),
    "LayerNormalization": lambda x, a: F.layer_norm(
        x[0], x[1].shape, x[1], x[2], a.get("epsilon", 1e-5)
    ),
    "MatMul": _accumulated(lambda x, a: x[0] @ x[1]),
    "Mul": lambda x, a: x[0] * x[1],
    "Pad": _pad,
    "Pow": lambda x, a: x[0] ** x[1],
    "QuantizeLinear": _quantise,
    "RMSNormalization": lambda x, a: F.rms_norm(x[0], x[1].shape, x[1], a.get("epsilon", 1e-5)),
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Resize": _resize,
    "RoPE3D": _rope3d,
    "RotaryEmbedding": _rotary,
    "Sigmoid": lambda x, a: x[0].sigmoid(),
    "Sin": lambda x, a: x[0].sin(),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": lambda x, a: x[0].sqrt(),
    "Squeeze": lambda x, a: x[0].squeeze(_axes(x)),
    "Tanh": lambda x, a: x[0].tanh(),
    "Transpose": lambda x, a: x[0].permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
}
"""By ONNX's names; what the graphs of this package use, and no more."""
