"""The ST-VAE's graphs of one frame counted: 2D convolutions, norms folded where the export does.

``latent`` is the number of latent cells, 1/64 of the pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

from lavin_deploy.config import VAEConfig
from lavin_deploy.planning.counts import Count


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


def count_encoder(vae: VAEConfig, latent: int) -> Iterator[Count]:
    """Pixels to the latent mean."""
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


def count_decoder(vae: VAEConfig, latent: int) -> Iterator[Count]:
    """Latents to pixels."""
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
