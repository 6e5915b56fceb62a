"""One J-DiT evaluation under a joint context, as an inference graph of fixed shape.

Shapes: h, w latent rows and columns, Tc context frames, L tokens, R width of a modulation row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavin_deploy.export.graphs.fused import FusedDiT
from lavin_deploy.models.jdit import JDiT, unpatchify
from lavin_deploy.models.rope3d import frequencies, rope_tables


class ModulationGraph(nn.Module):
    """t (1,) -> (1, R): per block and stream 1 + s1, tanh g1, 1 + s2, tanh g2; at the end 1 + s."""

    def __init__(self, dit: JDiT) -> None:
        super().__init__()
        self.dit = dit

    def forward(self, t: Tensor) -> Tensor:
        """Compute one row."""
        width = self.dit.config.hidden_size
        row = self.dit.modulation(t)
        groups = row[:, :-width].unflatten(-1, (-1, 2, width))
        factors = torch.stack((1 + groups[:, :, 0], torch.tanh(groups[:, :, 1])), dim=2)
        return torch.cat((factors.flatten(1), 1 + row[:, -width:]), dim=-1)


class Rope(nn.Module):
    """Tables (1, L, E / 2) of the tokens of frames ``start`` to ``stop``, in token order (T, H, W).

    Constants, or computed from ``positions`` (L, 3) float32 where that rewrite is off.
    """

    def __init__(self, start: int, stop: int, rows: int, cols: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        skipped = start * rows * cols
        cos, sin = rope_tables(stop, rows, cols, head_dim)
        self.register_buffer("cos", cos[skipped:].flatten(1)[None])
        self.register_buffer("sin", sin[skipped:].flatten(1)[None])

    def forward(self, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return cosines and sines."""
        if positions is None:
            return self.get_buffer("cos"), self.get_buffer("sin")
        theta = frequencies(self.head_dim).float()
        angles = (positions[:, :, None] * theta).flatten(1)[None]
        return angles.cos(), angles.sin()


class StepGraph(nn.Module):
    """Velocity of one target under a context of fixed shape.

    Args:
        fused: the weights.
        context_frames: frames of tokens that the context has.
        rows: latent rows h.
        cols: latent columns w.
        time: computes the row from t, where the time is not folded.
        with_context: also give the keys and values of the context in every block.
    """

    def __init__(
        self,
        fused: FusedDiT,
        *,
        context_frames: int,
        rows: int,
        cols: int,
        time: ModulationGraph | None = None,
        with_context: bool = False,
    ) -> None:
        super().__init__()
        self.fused, self.time, self.with_context = fused, time, with_context
        self.rows, self.cols = rows, cols
        patch = fused.config.patch_size
        self.split = context_frames * (rows // patch) * (cols // patch)
        frames = context_frames + 1
        self.rope = Rope(0, frames, rows // patch, cols // patch, fused.config.head_dim)

    def forward(
        self, latent: Tensor, context: Tensor, modulation: Tensor, positions: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Velocity (1, 16, 1, h, w), then, with ``with_context``, k.0, v.0, k.1, ...

        Args:
            latent: z_t (1, 16, 1, h, w), scaled.
            context: (1, 16, Tc, h, w), scaled; its last frame is the query, with merged pairs too.
            modulation: (1, R) factors from :class:`ModulationGraph`; or t (1,) with ``time``.
            positions: see :class:`Rope`.
        """
        fused, patch = self.fused, self.fused.config.patch_size
        row = modulation if self.time is None else self.time(modulation)
        factors = fused.factors(row)
        cos, sin = self.rope(positions)
        query = None
        if fused.merged:
            context, query = context[:, :, :-1], context[:, :, -1:]
        c, x = fused.context_tokens(context), fused.target_tokens(latent, query)
        pasts: list[Tensor] = []
        for block, (cs1, cg1, cs2, cg2, xs1, xg1, xs2, xg2) in zip(
            fused.fused_blocks(), factors, strict=False
        ):
            cq, ck, cv = block.cond_qkv(c, cs1)
            xq, xk, xv = block.x_qkv(x, xs1)
            out, keys, values = block.attention((cq, xq), (ck, xk), (cv, xv), cos, sin)
            if self.with_context:
                pasts += [keys[:, :, : self.split], values[:, :, : self.split]]
            if block.context_output:
                c = block.cond_mlp(block.cond_out(c, out[:, : self.split], cg1), cs2, cg2)
            target = out if cq is None else out[:, self.split :]
            x = block.x_mlp(block.x_out(x, target, xg1), xs2, xg2)
        (last,) = factors[-1]
        tokens = fused.final(fused.ops.rms_norm(x, last))
        return (unpatchify(tokens, 1, self.rows, self.cols, patch), *pasts)


class EulerGraph(nn.Module):
    """A step with the update inside: z + dt v, so that a loop can stay on a device."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step

    def forward(self, latent: Tensor, dt: Tensor, *others: Tensor) -> Tensor:
        """Return the next latent.

        Args:
            latent: z_t (1, 16, 1, h, w), scaled.
            dt: (1,) length of the interval.
            others: what the step takes beside the latent.
        """
        velocity: Tensor = self.step(latent, *others)[0]
        return latent + dt * velocity
