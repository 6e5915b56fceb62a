"""What one run of a graph does, counted from the model's sizes: FLOPs, weights, numbers moved.

The graphs are those that the export writes (fused projections, folded time, dead context work gone,
2D ST-VAE). FLOPs are those of matrix products, convolutions and attention, a multiply-add being
two; weights are exact; what activations move and how many kernels run is an estimate, of one kernel
for each product, norm, attention and chain of elementwise operators.

Symbols: D width, E head width, K key/value heads, M inner width of SwiGLU, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from lavin_deploy.config import DiTConfig, ModelConfig, VAEConfig
from lavin_deploy.errors import InputError

CELL = 8
"""Pixels along a side of one latent cell."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """One run of one graph; numbers, not bytes.

    Attributes:
        products: FLOPs of the products that int8 and fp8 quantise: those in J-DiT's blocks.
        others: FLOPs of convolutions, attention, embedders and the last projection.
        product_weights: weights of the products.
        other_weights: all other weights.
        moved: activations read and written.
        keys_values: keys and values read and written that lie outside the graph.
        scores: attention scores, all heads and blocks; moved only where attention is not fused.
        live: activations that exist at once at the most, without scores.
        live_scores: scores of the largest attention.
        kernels: launched.
    """

    products: int = 0
    others: int = 0
    product_weights: int = 0
    other_weights: int = 0
    moved: int = 0
    keys_values: int = 0
    scores: int = 0
    live: int = 0
    live_scores: int = 0
    kernels: int = 0

    @property
    def flops(self) -> int:
        """All FLOPs."""
        return self.products + self.others

    @property
    def weights(self) -> int:
        """All weights."""
        return self.product_weights + self.other_weights

    def __add__(self, other: Count) -> Count:
        """Both, one after the other: they need as much memory as the larger."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Count(**{k: max(v) if k.startswith("live") else sum(v) for k, v in pairs.items()})


def count_graph(
    model: ModelConfig, name: str, *, height: int, width: int, pairs: int, frozen: bool
) -> Count:
    """Count a graph.

    Args:
        model: sizes.
        name: as in a manifest: ``encoder``, ``decoder``, ``step``, ``refresh``, ``context``,
            ``query``, and ``step_null``, ``refresh_null``, ``query_null``.
        height: pixels, a multiple of 16.
        width: likewise.
        pairs: example pairs; the null condition has two frames whatever they are.
        frozen: whether ``step`` takes keys and values of the context.

    Raises:
        InputError: the size cannot be cut into patches.
    """
    patch = CELL * model.dit.patch_size
    if height < 1 or width < 1 or height % patch or width % patch:
        raise InputError(
            f"a size of {height}x{width} cannot be cut into patches; height and width are "
            f"multiples of {patch}."
        )
    cells = (height // CELL) * (width // CELL)
    if name == "encoder":
        return _sum(_encoder(model.vae, cells))
    if name == "decoder":
        return _sum(_decoder(model.vae, cells))
    tokens = (height // patch) * (width // patch)
    kind, _, null = name.partition("_")
    frames = 2 if null else 2 * pairs + 1
    dit = model.dit
    if kind == "context":
        return _sum(_context(dit, tokens=(frames - 1) * tokens, past=0))
    if kind == "query" and null:  # the zero frame, then the query
        both = (_context(dit, tokens=tokens, past=past) for past in (0, tokens))
        return _shared(*map(_sum, both))
    if kind == "query":
        return _sum(_context(dit, tokens=tokens, past=(frames - 1) * tokens))
    if kind == "step" and frozen:
        return _sum(_target(dit, tokens=tokens, past=frames * tokens))
    assert kind in ("step", "refresh"), name
    whole = _sum(_joint(dit, tokens=tokens, context=frames * tokens))
    return whole + Count(keys_values=keys_values(dit, frames * tokens) * (kind == "refresh"))


def keys_values(dit: DiTConfig, tokens: int) -> int:
    """Numbers in keys and values of all blocks."""
    return 2 * dit.depth * dit.num_kv_heads * dit.head_dim * tokens


def _sum(parts: Iterator[Count]) -> Count:
    total = Count()
    for part in parts:
        total += part
    return total


def _shared(first: Count, second: Count) -> Count:
    """Two runs of the same weights, which are there once."""
    once = {"product_weights": second.product_weights, "other_weights": second.other_weights}
    both = first + second
    return Count(**{f.name: getattr(both, f.name) for f in fields(Count)} | once)


# J-DiT ----------------------------------------------------------------------------------------


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
    """Linear with bias, then LayerNorm with weight and bias."""
    d, w = dit.hidden_size, dit.token_width
    return Count(
        others=2 * tokens * w * d,
        other_weights=w * d + 3 * d,
        moved=tokens * (w + 3 * d),
        kernels=3,
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


def _joint(dit: DiTConfig, *, tokens: int, context: int) -> Iterator[Count]:
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


def _outside(dit: DiTConfig, given: int, made: int) -> Count:
    """Keys and values of ``given`` tokens come in and of ``made`` tokens go out of a graph; with
    those of its own tokens they are copied behind one another, once a block."""
    numbers = keys_values(dit, given) * 2 + keys_values(dit, made)
    return Count(keys_values=numbers, kernels=2 * dit.depth if given else 0)


def _context(dit: DiTConfig, *, tokens: int, past: int) -> Iterator[Count]:
    """Frames of a frozen context behind ``past`` tokens: their keys and values."""
    yield Count(live=_live(dit, tokens))
    yield _outside(dit, past, past + tokens)
    yield _embedder(dit, tokens)
    for block in range(dit.depth):
        last = block == dit.depth - 1
        yield _rows(dit, tokens, output=not last)
        if not last:
            yield _attention(dit, tokens, past + tokens)


def _target(dit: DiTConfig, *, tokens: int, past: int) -> Iterator[Count]:
    """A step under given keys and values."""
    yield Count(live=_live(dit, tokens))
    yield _outside(dit, past, past + tokens)
    yield _embedder(dit, tokens)
    for _ in range(dit.depth):
        yield _rows(dit, tokens)
        yield _attention(dit, tokens, past + tokens)
    yield _final(dit, tokens)


# ST-VAE of one frame; ``cells`` are those of the latent, 1/64 of the pixels --------------------


def _conv(cin: int, cout: int, cells: int, *, kernel: int = 3, stride: int = 1) -> Count:
    """A convolution with bias that gives ``cells``; in and out exist at once."""
    moved = (cin * stride * stride + cout) * cells
    weights = cin * cout * kernel * kernel
    return Count(
        others=2 * weights * cells,
        other_weights=weights + cout,
        moved=moved,
        live=moved,
        kernels=1,
    )


def _norm(channels: int, cells: int, latent: tuple[int, int] | None) -> Iterator[Count]:
    """GroupNorm and SiLU: one pass for the statistics, one that writes.

    Args:
        channels: of what is normed.
        cells: of what is normed.
        latent: channels and cells of the latent that conditions it; None in the encoder.
    """
    yield Count(
        other_weights=0 if latent else 2 * channels,  # the decoder's are folded
        moved=3 * channels * cells,
        live=2 * channels * cells,
        kernels=2,
    )
    if latent:
        for _ in range(2):  # scale and shift
            yield _conv(latent[0], channels, latent[1], kernel=1)


def _res_block(
    cin: int, cout: int, cells: int, latent: tuple[int, int] | None = None
) -> Iterator[Count]:
    yield Count(moved=cout * cells, live=(cin + 2 * cout) * cells)  # the sum at the end
    yield from _norm(cin, cells, latent)
    yield _conv(cin, cout, cells)
    yield from _norm(cout, cells, latent)
    yield _conv(cout, cout, cells)
    if cin != cout:
        yield _conv(cin, cout, cells, kernel=1)


def _encoder(vae: VAEConfig, latent: int) -> Iterator[Count]:
    widths = vae.block_out_channels
    yield _conv(3, widths[0], 64 * latent)
    cin = widths[0]
    for stage, width in enumerate(widths):
        cells = (64, 16, 4, 1)[stage] * latent
        for block in range(vae.layers_per_block):
            yield from _res_block(cin if block == 0 else width, width, cells)
        if stage < 3:
            yield _conv(width, width, cells // 4, stride=2)
        cin = width
    for _ in range(2):
        yield from _res_block(cin, cin, latent)
    yield from _norm(cin, latent, None)
    yield _conv(cin, vae.latent_channels, latent)


def _decoder(vae: VAEConfig, latent: int) -> Iterator[Count]:
    widths = vae.block_out_channels[::-1]
    z = (vae.latent_channels, latent)
    yield _conv(vae.latent_channels, widths[0], latent)
    cin = widths[0]
    for _ in range(2):
        yield from _res_block(cin, cin, latent, z)
    for stage, width in enumerate(widths):
        cells = (1, 4, 16, 64)[stage] * latent
        for block in range(vae.layers_per_block + 1):
            yield from _res_block(cin if block == 0 else width, width, cells, z)
        if stage < 3 and vae.upsampler == "resize_conv":
            yield Count(moved=5 * width * cells, live=5 * width * cells, kernels=1)
            yield _conv(width, width, 4 * cells)
        elif stage < 3:
            yield _deconv(width, cells)
        cin = width
    yield from _norm(cin, 64 * latent, z)
    yield _conv(cin, 3, 64 * latent)


def _deconv(width: int, cells: int) -> Count:
    """A transposed convolution, kernel 4 and stride 2: every cell in goes to sixteen."""
    weights = 16 * width * width
    moved = 5 * width * cells
    return Count(
        others=2 * weights * cells,
        other_weights=weights + width,
        moved=moved,
        live=moved,
        kernels=1,
    )
