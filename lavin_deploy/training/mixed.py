"""Mixed precision: matrix work in bfloat16 where it pays, everything kept in float32."""

from __future__ import annotations

import torch
from tqdm import tqdm

from lavin_deploy.training.settings import Recipe


def bfloat16_pays(recipe: Recipe, device: torch.device) -> bool:
    """Whether matrix work is to run in bfloat16: asked for, and the device has instructions for it.

    Without them torch falls back to a loop some 150 times slower than float32 (docs/LOG.md).
    """
    if not recipe.bf16 or device.type != "cpu":
        return recipe.bf16
    able = torch.cpu.get_capabilities()
    if not any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")):
        tqdm.write("This CPU has no bfloat16 instructions: training in float32.")
        return False
    return True
