"""Low-rank adaptation (Hu et al., 2021, arXiv 2106.09685): W + B A beside frozen weights W."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.pairing import MERGED_EMBEDDERS

DOWN, UP = ".lora_down", ".lora_up"


class LowRankLinear(nn.Linear):
    """A linear map with a trainable product of two thin matrices beside its frozen weight.

    ``lora_down`` (rank, in) starts as Kaiming-uniform, ``lora_up`` (out, rank) as zero, so that the
    map starts unchanged; the product counts as it is (the paper's alpha equals the rank).
    """

    lora_down: nn.Parameter
    lora_up: nn.Parameter

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        low = F.linear(F.linear(input, self.lora_down), self.lora_up)
        return super().forward(input) + low


def adapt(dit: JDiT, rank: int) -> None:
    """Freeze a model and put adapters beside the products of its blocks' attention and MLPs.

    The embedders of merged pairs are trained whole: converted weights begin with copies.
    """
    dit.requires_grad_(False)
    for name in MERGED_EMBEDDERS if dit.config.pairing == "merged" else ():
        dit.get_submodule(name).requires_grad_(True)
    dead = {id(module) for part in dit.dead_parts() for module in part.modules()}
    for block in dit.joint_blocks():
        for part in (block.joint_attn, block.cond_mlp, block.x_mlp):
            for module in part.modules():
                if isinstance(module, nn.Linear) and id(module) not in dead:
                    module.__class__ = LowRankLinear
                    low = cast(LowRankLinear, module)
                    low.lora_down = nn.Parameter(torch.empty(rank, module.in_features))
                    low.lora_up = nn.Parameter(torch.zeros(module.out_features, rank))
                    nn.init.kaiming_uniform_(low.lora_down, a=5**0.5)


def merged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the plain model: every W + B A in place of W, without the adapters."""
    plain = {name: w for name, w in weights.items() if not name.endswith((DOWN, UP))}
    for name in weights:
        if name.endswith(DOWN):
            stem = name.removesuffix(DOWN)
            plain[f"{stem}.weight"] = plain[f"{stem}.weight"] + weights[stem + UP] @ weights[name]
    return plain
