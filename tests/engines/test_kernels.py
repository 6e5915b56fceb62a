"""The CUDA kernels' source, run on the CPU block by block, against formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest

from lavin_deploy.engines.plugins.functions import AttentionArgs, PluginKernels
from lavin_deploy.errors import WorkError
from lavin_deploy.portable import functions
from tests.helpers import plugins

pytestmark = pytest.mark.parity
ERRORS = {"fp32": 2e-6, "fp16": 1e-3, "bf16": 8e-3}
"""Largest error of one value; the values are of size 1. Half a unit of a type, and the sums'."""


def normal(rng: np.random.Generator, shape: tuple[int, ...], precision: str) -> np.ndarray:
    return rng.standard_normal(shape).astype(plugins.TYPES[precision])


def exact_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """softmax(q k^T / sqrt(E)) v in float64, keys and values repeated."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    k, v = (x.repeat(q.shape[0] // x.shape[0], 0) for x in (k, v))
    scores = q @ k.transpose(0, 2, 1) * q.shape[2] ** -0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = weights / weights.sum(-1, keepdims=True) @ v
    return mixed.transpose(1, 0, 2).reshape(q.shape[1], -1)


def tiled_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, tile: int) -> np.ndarray:
    """One head of the same, tile after tile with a running maximum, as the kernel goes."""
    top = np.full(len(q), -np.inf)
    total, out = np.zeros(len(q)), np.zeros((len(q), v.shape[1]))
    for first in range(0, len(k), tile):
        scores = q @ k[first : first + tile].T * q.shape[1] ** -0.5
        new = np.maximum(top, scores.max(1))
        weights, fade = np.exp(scores - new[:, None]), np.exp(top - new)
        total = total * fade + weights.sum(1)
        out = out * fade[:, None] + weights @ v[first : first + tile]
        top = new
    return out / total[:, None]


def exact_rope(x: np.ndarray, weight: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Norm over the whole row, then each head turned; (L, heads E) -> (heads, L, E)."""
    x = x.astype(np.float64)
    normed = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6) * weight
    heads = normed.reshape(len(x), -1, 2 * cos.shape[1])
    a, b = np.split(heads, 2, axis=2)
    c, s = cos[:, None], sin[:, None]
    return np.concatenate([a * c - b * s, b * c + a * s], 2).transpose(1, 0, 2)


@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize("precision", list(plugins.TYPES))
@pytest.mark.parametrize("width", range(8, 129, 8))
def test_attention_of_every_head_width(width: int, precision: str, tall: bool) -> None:
    rng = np.random.default_rng(width)
    q = normal(rng, (4, 37, width), precision)
    k, v = (normal(rng, (2, 70, width), precision) for _ in range(2))
    out = plugins.attention(q, k, v, tall=tall).astype(np.float64)
    assert np.abs(out - exact_attention(q, k, v)).max() < ERRORS[precision]


@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (3, 3), (6, 2), (8, 1), (32, 8)])
@pytest.mark.parametrize(
    ("queries", "keys", "past"),
    [(1, 1, 0), (1, 63, 1), (64, 64, 0), (65, 1, 64), (130, 129, 63), (16, 5, 200)],
)
def test_attention_of_all_groups_and_ragged_lengths(
    heads: int, groups: int, queries: int, keys: int, past: int, tall: bool
) -> None:
    rng = np.random.default_rng(heads * 1000 + queries)
    q = normal(rng, (heads, queries, 24), "fp16")
    k, v, past_k, past_v = (
        normal(rng, (groups, length, 24), "fp16") for length in (keys, keys, past, past)
    )
    out = plugins.attention(q, k, v, (past_k, past_v) if past else None, tall=tall)
    expected = exact_attention(
        q, np.concatenate([past_k, k], axis=1), np.concatenate([past_v, v], axis=1)
    )
    assert np.abs(out.astype(np.float64) - expected).max() < ERRORS["fp16"]


def test_scores_that_overflow_half_precision_are_no_trouble() -> None:
    rng = np.random.default_rng(1)
    q, k = (normal(rng, (1, 66, 72), "fp16") * np.float16(60) for _ in range(2))
    v = normal(rng, (1, 66, 72), "fp16")
    assert np.abs(q.astype(np.float64) @ k.astype(np.float64).transpose(0, 2, 1)).max() > 65504
    out = plugins.attention(q, k, v).astype(np.float64)
    assert np.abs(out - exact_attention(q, k, v)).max() < ERRORS["fp16"]


def test_the_online_softmax_is_the_softmax() -> None:
    rng = np.random.default_rng(2)
    q, k, v = (rng.standard_normal((length, 24)) for length in (5, 150, 150))
    tiled = tiled_attention(q, k, v, 64)
    np.testing.assert_allclose(tiled, exact_attention(q[None], k[None], v[None]), atol=1e-12)
    single = [x.astype(np.float32)[None] for x in (q, k, v)]
    np.testing.assert_allclose(plugins.attention(*single), tiled, atol=ERRORS["fp32"])


@pytest.mark.parametrize("precision", list(plugins.TYPES))
@pytest.mark.parametrize(
    ("heads", "groups", "width", "tokens"),
    [(4, 2, 24, 1), (6, 2, 48, 13), (32, 8, 72, 5), (1, 1, 8, 4), (16, 16, 128, 3)],
)
def test_rope(precision: str, heads: int, groups: int, width: int, tokens: int) -> None:
    rng = np.random.default_rng(heads)
    q, k = (normal(rng, (tokens, n * width), precision) for n in (heads, groups))
    q_weight, k_weight = (rng.uniform(0.5, 1.5, n * width).astype("f") for n in (heads, groups))
    angles = rng.uniform(0, 6, (tokens, width // 2)).astype("f")
    cos, sin = np.cos(angles), np.sin(angles)
    turned = plugins.rope3d(q, k, q_weight, k_weight, cos, sin)
    alone = plugins.rope3d(None, k, None, k_weight, cos, sin)
    expected = exact_rope(q, q_weight, cos, sin), exact_rope(k, k_weight, cos, sin)
    for out, right in zip(turned, expected, strict=True):
        assert out is not None
        off = np.abs(out.astype(np.float64) - right).max() / np.abs(right).max()
        assert off < ERRORS[precision]
    np.testing.assert_array_equal(alone[1], turned[1])


def test_the_onnx_functions_say_the_same() -> None:
    """The definition that ONNX Runtime runs, on the same numbers."""
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(4)
    inputs = {
        "q": normal(rng, (1, 4, 9, 24), "fp32"),
        **{name: normal(rng, (1, 2, 7, 24), "fp32") for name in ("k", "v")},
        **{name: normal(rng, (1, 2, 3, 24), "fp32") for name in ("past_k", "past_v")},
    }
    node = onnx.helper.make_node(
        "GroupedQueryAttention", list(inputs), ["out"], domain="lavin", overload="prefix",
        num_heads=4, kv_num_heads=2, head_dim=24, scale=24**-0.5,
    )  # fmt: skip
    infos = [onnx.helper.make_tensor_value_info(n, 1, x.shape) for n, x in inputs.items()]
    out = onnx.helper.make_tensor_value_info("out", 1, (1, 9, 96))
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("lavin", 1)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "one", infos, [out]),
        functions=[f for f in functions() if f.overload == "prefix"],
        opset_imports=opsets,
        ir_version=10,
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, inputs)[0][0]
    q, k, v, past_k, past_v = (x[0] for x in inputs.values())
    answer = plugins.attention(q, k, v, (past_k, past_v))
    np.testing.assert_allclose(answer, expected, atol=ERRORS["fp32"])


@pytest.mark.parametrize(
    "wrong",
    [{"head_dim": 12}, {"head_dim": 136}, {"kv_heads": 3}, {"keys": 0}, {"past": 2}, {"q": None}],
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, int | None]) -> None:
    x = np.zeros((4, 4, 8), np.float16)
    place = x.ctypes.data
    args = AttentionArgs(place, place, place, None, None, place, 4, 4, 0, 4, 4, 8, 1.0)
    plugins.reference().attention(args, "float16")
    for name, value in wrong.items():
        setattr(args, name, value)
    with pytest.raises(WorkError, match="arguments out of range"):
        plugins.reference().attention(args, "float16")


def test_the_library_carries_kernels_for_each_architecture() -> None:
    """SASS for Ampere and Orin, PTX for what comes; the plugin's two entry points."""
    content = plugins.plugin_library().read_bytes()
    for name in (b"lavin_attention", b"lavin_rope3d", b"getCreators", b"setLoggerFinder"):
        assert name in content
    with pytest.raises(WorkError, match="out of range"):  # it loads without a driver
        PluginKernels(plugins.plugin_library()).attention(AttentionArgs(), "float16")
