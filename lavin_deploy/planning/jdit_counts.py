"""J-DiT's graphs counted: fused projections, folded time, no dead context work.

Symbols: D width, E head width, K key/value heads, M inner width of SwiGLU, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

from lavin_deploy.config import DiTConfig
from lavin_deploy.planning.counts import Count


def keys_values(dit: DiTConfig, tokens: int) -> int:
    """Numbers in keys and values of all blocks."""
    return 2 * dit.depth * dit.num_kv_heads * dit.head_dim * tokens


def _rows(dit: DiTConfig, tokens: int, *, output: bool = True) -> Count:
    """One stream in one block, attention apart; without ``output`` keys and values alone."""
    d, kv, m = dit.hidden_size, dit.num_kv_heads * dit.head_dim, dit.mlp_width
    weights = 2 * d * kv + (2 * d * d + 3 * d * m if output else 0)
    return Count(
        products=2 * tokens * weights,
        product_weights=weights,
        other_weights=kv + (d if output else 0),  # of the norms of k and q
        # AdaRN, q/k/v, QK-Norm with RoPE, projection, norm and gate, AdaRN, gate, up, SiLU, down,
        # norm and gate: what each reads and writes
        moved=tokens * (19 * d + 4 * kv + 6 * m if output else 3 * d + 4 * kv),
        kernels=11 if output else 3,
    )


def _attention(dit: DiTConfig, queries: int, keys: int) -> Count:
    """Grouped-query attention of one block."""
    d, kv = dit.hidden_size, dit.num_kv_heads * dit.head_dim
    scores = dit.num_heads * queries * keys
    return Count(
        others=4 * queries * keys * d,
        moved=2 * queries * d + 2 * keys * kv,
        scores=scores,
        live_scores=scores,
        kernels=1,
    )


def _embedder(dit: DiTConfig, tokens: int) -> Count:
    """Linear with bias, then LayerNorm with weight and bias; two, and their sum, of merged pairs:
    input and target of a pair, target and query.
    """
    d, w = dit.hidden_size, dit.token_width
    count = 2 if dit.pairing == "merged" else 1
    added = count - 1
    return Count(
        others=count * 2 * tokens * w * d,
        other_weights=count * (w * d + 3 * d),
        moved=tokens * (count * (w + 3 * d) + added * 3 * d),
        kernels=3 * count + added,
    )


def _final(dit: DiTConfig, tokens: int) -> Count:
    """AdaRN and Linear with bias."""
    d, w = dit.hidden_size, dit.token_width
    return Count(
        others=2 * tokens * w * d,
        other_weights=w * d + w,
        moved=tokens * (3 * d + 3 * w),
        kernels=3,
    )


def _live(dit: DiTConfig, tokens: int) -> int:
    """Rows inside a SwiGLU, the widest place: stream, its norm, gate, up and their product."""
    return tokens * (2 * dit.hidden_size + 3 * dit.mlp_width)


def count_joint(dit: DiTConfig, *, tokens: int, context: int) -> Iterator[Count]:
    """A whole step; in the last block the context gives keys and values only."""
    rest = min(tokens, context) * dit.hidden_size
    yield Count(live=_live(dit, max(tokens, context)) + rest)
    yield _embedder(dit, context)
    yield _embedder(dit, tokens)
    for block in range(dit.depth):
        last = block == dit.depth - 1
        yield _rows(dit, context, output=not last)
        yield _rows(dit, tokens)
        yield _attention(dit, tokens if last else context + tokens, context + tokens)
    yield _final(dit, tokens)


def _outside(dit: DiTConfig, taken: int, left: int) -> Count:
    """Keys and values of ``taken`` tokens come in and of ``left`` tokens go out of a graph; with
    those of its own tokens they are copied behind one another, once a block."""
    numbers = keys_values(dit, taken) * 2 + keys_values(dit, left)
    return Count(keys_values=numbers, kernels=2 * dit.depth if taken else 0)


def count_context(dit: DiTConfig, *, tokens: int, past: int) -> Iterator[Count]:
    """Frames of a frozen context behind ``past`` tokens: their keys and values."""
    yield Count(live=_live(dit, tokens))
    yield _outside(dit, past, past + tokens)
    yield _embedder(dit, tokens)
    for block in range(dit.depth):
        last = block == dit.depth - 1
        yield _rows(dit, tokens, output=not last)
        if not last:
            yield _attention(dit, tokens, past + tokens)


def count_target(dit: DiTConfig, *, tokens: int, past: int) -> Iterator[Count]:
    """A step under given keys and values."""
    yield Count(live=_live(dit, tokens))
    yield _outside(dit, past, past + tokens)
    yield _embedder(dit, tokens)
    for _ in range(dit.depth):
        yield _rows(dit, tokens)
        yield _attention(dit, tokens, past + tokens)
    yield _final(dit, tokens)
