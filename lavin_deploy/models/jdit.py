"""J-DiT: the joint diffusion transformer (paper section 3.3; names as in the released weights).

Shapes: B batch, C latent channels, T latent frames, h w latent rows and columns (H/8, W/8),
L tokens, D width, R width of a modulation row. Time t is in [0, 1]: 0 is noise, 1 is data.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavin_deploy.config import DiTConfig
from lavin_deploy.models.attention import EPS, JointAttention
from lavin_deploy.models.pairing import MERGED_EMBEDDERS, check_latents, merged_pairs
from lavin_deploy.models.rope3d import rope_tables

TIME_WIDTH = 256


def rms(x: Tensor) -> Tensor:
    """RMSNorm without weight over the last axis."""
    return F.rms_norm(x, (x.shape[-1],), eps=EPS)


def time_sinusoid(t: Tensor) -> Tensor:
    """[cos, sin] of the unscaled time at 128 frequencies 10000^(-i/128): (B,) -> (B, 256)."""
    half = TIME_WIDTH // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(-math.log(10000.0) / half * steps)
    angles = t.float()[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def patchify(z: Tensor, patch: int) -> Tensor:
    """Cut latents into tokens, (B, C, T, h, w) -> (B, T*h/p*w/p, p*p*C), order (ph, pw, c)."""
    batch, channels, frames, rows, cols = z.shape
    z = z.reshape(batch, channels, frames, rows // patch, patch, cols // patch, patch)
    return z.permute(0, 2, 3, 5, 4, 6, 1).flatten(4).flatten(1, 3)


def unpatchify(tokens: Tensor, frames: int, rows: int, cols: int, patch: int) -> Tensor:
    """Inverse of :func:`patchify` for latents of (frames, rows, cols)."""
    batch = tokens.shape[0]
    z = tokens.reshape(batch, frames, rows // patch, cols // patch, patch, patch, -1)
    return z.permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, -1, frames, rows, cols)


class TimeEmbedder(nn.Module):
    """Sinusoid -> Linear -> SiLU -> Linear: (B,) -> (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_WIDTH, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Embed times in [0, 1]."""
        wave = time_sinusoid(t).to(cast(nn.Linear, self.mlp[0]).weight.dtype)
        return cast(Tensor, self.mlp(wave))


class SwiGLU(nn.Module):
    """down(SiLU(gate(x)) * up(x)), no biases: (..., D) -> (..., D)."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.mlp_width, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.mlp_width, bias=False)
        self.down_proj = nn.Linear(config.mlp_width, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the gated unit."""
        return cast(Tensor, self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x)))


class JointBlock(nn.Module):
    """Joint attention, then one SwiGLU per stream, sandwich-normed with tanh gates.

    ``h += tanh(g1) RMS(attention(AdaRN(h; s1)))``, ``h += tanh(g2) RMS(SwiGLU(AdaRN(h; s2)))``,
    ``AdaRN(h; s) = (1 + s) RMS(h)``.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.joint_attn = JointAttention(config)
        self.cond_mlp = SwiGLU(config)
        self.x_mlp = SwiGLU(config)
        self.cond_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 4 * width))
        self.x_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 4 * width))

    def forward(
        self,
        cond: Tensor,
        x: Tensor,
        cond_mod: Tensor,
        x_mod: Tensor,
        cos: Tensor,
        sin: Tensor,
        *,
        last: bool = False,
        frozen_pairs: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Update both streams; in the ``last`` block the context only gives keys and values.

        Args:
            cond: (B, Lc, D), or (B/Q, Lc, D), see :meth:`JointAttention.forward`.
            x: (B, Lx, D).
            cond_mod: (B, 4D) scale1, gate1, scale2, gate2 of the context stream; one row for all
                in a frozen context.
            x_mod: (B, 4D) of the target stream.
            cos: RoPE table of the joint sequence.
            sin: the same.
            last: leave out what nothing reads any more.
            frozen_pairs: tokens of the pairs, for a frozen context; None for a joint one.
        """
        cs1, cg1, cs2, cg2 = cond_mod[:, None].chunk(4, dim=-1)
        xs1, xg1, xs2, xg2 = x_mod[:, None].chunk(4, dim=-1)
        cond_out, x_out = self.joint_attn(
            (1 + cs1) * rms(cond),
            (1 + xs1) * rms(x),
            cos,
            sin,
            cond_output=not last,
            frozen_pairs=frozen_pairs,
        )
        x = x + torch.tanh(xg1) * rms(x_out)
        x = x + torch.tanh(xg2) * rms(self.x_mlp((1 + xs2) * rms(x)))
        if not last:
            cond = cond + torch.tanh(cg1) * rms(cond_out)
            cond = cond + torch.tanh(cg2) * rms(self.cond_mlp((1 + cs2) * rms(cond)))
        return cond, x


class FinalLayer(nn.Module):
    """Linear((1 + s) RMS(x)) with s = Linear(SiLU(tau_x)): (B, L, D) -> (B, L, p*p*C)."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.hidden_size, config.token_width)
        self.adaLN_modulation = nn.Sequential(
            nn.SiLU(), nn.Linear(config.hidden_size, config.hidden_size)
        )

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        """Project tokens under a scale (B, D)."""
        return cast(Tensor, self.linear((1 + scale[:, None]) * rms(x)))


class JDiT(nn.Module):
    """The velocity field v(z_t, t | context) over latents."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.cond_embedder = nn.Sequential(
            nn.Linear(config.token_width, width), nn.LayerNorm(width)
        )
        self.x_embedder = nn.Sequential(nn.Linear(config.token_width, width), nn.LayerNorm(width))
        if config.pairing == "merged":
            for name in MERGED_EMBEDDERS:
                embedder = nn.Sequential(nn.Linear(config.token_width, width), nn.LayerNorm(width))
                self.add_module(name, embedder)
        self.prompt_embed = nn.Parameter(torch.empty(1, width))
        self.answer_embed = nn.Parameter(torch.empty(1, width))
        self.t_embedder = TimeEmbedder(width)
        self.blocks = nn.ModuleList(JointBlock(config) for _ in range(config.depth))
        self.final_layer = FinalLayer(config)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier Linears, zero biases, zero modulation and output, N(0, 0.02) time and types."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for layer in (self.t_embedder.mlp[0], self.t_embedder.mlp[2]):
            nn.init.normal_(cast(nn.Linear, layer).weight, std=0.02)
        nn.init.normal_(self.prompt_embed, std=0.02)
        nn.init.normal_(self.answer_embed, std=0.02)
        zeroed = [self.final_layer.linear, self.final_layer.adaLN_modulation]
        zeroed += [m for name, m in self.named_modules() if name.endswith("_modulation")]
        for layer in zeroed:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def joint_blocks(self) -> list[JointBlock]:
        """The blocks, typed."""
        return [block for block in self.blocks if isinstance(block, JointBlock)]

    def dead_parts(self) -> list[nn.Module]:
        """Parts of the last block that no output depends on; released weights have them."""
        last = self.joint_blocks()[-1]
        attention = last.joint_attn
        names = ("cond_q", "cond_qnorm", "cond_proj")
        return [last.cond_mlp, *(attention.get_submodule(name) for name in names)]

    @property
    def modulation_width(self) -> int:
        """R: numbers of one modulation row, depth x 2 streams x 4 D, and D of the output layer."""
        return (8 * self.config.depth + 1) * self.config.hidden_size

    def modulation(self, t: Tensor) -> Tensor:
        """All that the blocks take from the time.

        Args:
            t: (B,) in [0, 1], 0 = noise.

        Returns:
            (B, R): per block the context's scale1, gate1, scale2, gate2, then the target's; at the
            end the output layer's scale.
        """
        embedded = self.t_embedder(t)
        tau_cond, tau_x = embedded + self.prompt_embed, embedded + self.answer_embed
        rows = [
            layer(tau)
            for block in self.joint_blocks()
            for layer, tau in ((block.cond_modulation, tau_cond), (block.x_modulation, tau_x))
        ]
        return torch.cat((*rows, self.final_layer.adaLN_modulation(tau_x)), dim=-1)

    def tokens(self, x: Tensor, pairs: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Embed latents.

        Args:
            x: (B, C, Tx, h, w).
            pairs: (B/Q, C, Tp, h, w), see :meth:`forward`.
            query: (B, C, Tq, h, w).

        Returns:
            Context tokens (B, Lc, D), (B/Q, Lc, D) where they are pairs alone, and target tokens
            (B, Lx, D).
        """
        patch = self.config.patch_size
        if self.config.pairing == "sequence":
            shares = len(x) // len(pairs)
            cond = torch.cat((pairs.repeat_interleave(shares, dim=0), query), dim=2)
            return self.cond_embedder(patchify(cond, patch)), self.x_embedder(patchify(x, patch))
        inputs, targets = merged_pairs(pairs, x.shape[2])
        c_BLD = self.cond_embedder(patchify(inputs, patch))
        on_target, on_query = (self.get_submodule(name) for name in MERGED_EMBEDDERS)
        c_BLD = c_BLD + on_target(patchify(targets, patch))
        x_BLD = self.x_embedder(patchify(x, patch)) + on_query(patchify(query, patch))
        shared = self.config.context == "frozen"
        return c_BLD if shared else c_BLD.repeat_interleave(len(x) // len(c_BLD), dim=0), x_BLD

    def forward(self, x: Tensor, t: Tensor, cond: Tensor, query: Tensor | None = None) -> Tensor:
        """Velocity dz/dt of the target latents.

        Args:
            x: noisy target latents (B, C, Tx, h, w), scaled; h and w even.
            t: (B,) in [0, 1], 0 = noise, 1 = data.
            cond: clean context latents (B, C, Tc, h, w), scaled: in1, tgt1, ..., query. Where the
                context is frozen or pairs are merged the query is its last Tx frames, and merged
                pairs have Tx frames each in input and target. A single frame before the query is
                the null condition of guidance, a latent of zeros.
            query: (B, C, Tq, h, w); with it ``cond`` holds the pairs alone, (B/Q, C, Tp, h, w):
                those of the first Q targets, of the next Q, and so on.

        Returns:
            (B, C, Tx, h, w), same dtype as ``x``.

        Raises:
            InputError: the shapes do not fit each other or the patch.
        """
        config = self.config
        patch, frames = config.patch_size, x.shape[2] if x.ndim == 5 else 1
        if query is None and cond.ndim == 5 and cond.shape[2] > frames:
            cond, query = cond[:, :, :-frames], cond[:, :, -frames:]
        check_latents(config, x, t, cond, query)
        if query is None:  # no pair at all
            cond, query = cond[:, :, :0], cond
        rows, cols = x.shape[-2] // patch, x.shape[-1] // patch
        *blocks, last = self.modulation(t).split(4 * config.hidden_size, dim=-1)
        c_BLD, x_BLD = self.tokens(x, cond, query)
        frozen_pairs = None
        if config.context == "frozen":
            frozen_pairs = c_BLD.shape[1]
            if config.pairing == "sequence":
                frozen_pairs -= query.shape[2] * rows * cols
            clean = self.modulation(torch.ones_like(t[:1])).split(4 * config.hidden_size, dim=-1)
            blocks[::2] = clean[:-1:2]
        cos, sin = rope_tables(
            (c_BLD.shape[1] + x_BLD.shape[1]) // (rows * cols),
            rows,
            cols,
            config.head_dim,
            x.device,
        )
        for index, block in enumerate(self.blocks):
            c_BLD, x_BLD = block(
                c_BLD,
                x_BLD,
                blocks[2 * index],
                blocks[2 * index + 1],
                cos,
                sin,
                last=index == len(self.blocks) - 1,
                frozen_pairs=frozen_pairs,
            )
        return unpatchify(self.final_layer(x_BLD, last), frames, patch * rows, patch * cols, patch)
