"""Random checkpoints in the released layout."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from lavin_deploy.config import ModelConfig
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE


def random_models(config: ModelConfig, seed: int = 0) -> tuple[JDiT, STVAE]:
    """Models whose every weight is random: nothing of an initialisation can hide a mistake."""
    torch.manual_seed(seed)
    dit = JDiT(config.dit).eval()
    vae = STVAE(config.vae, config.latent_shift, config.latent_scale).eval()
    with torch.no_grad():
        for module in (dit, vae):
            for name, parameter in module.named_parameters():
                if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "layer.weight")):
                    parameter.uniform_(0.5, 1.5)
                elif parameter.ndim > 1:
                    fan_in = parameter[0].numel()
                    parameter.normal_(std=fan_in**-0.5)
                else:
                    parameter.normal_(std=0.2)
    return dit, vae


def write_released(folder: Path, config: ModelConfig, seed: int = 0) -> tuple[JDiT, STVAE]:
    """Write ``lavin_dit.safetensors``, ``stvae.pt`` and ``config.json`` as the release lays out."""
    dit, vae = random_models(config, seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dit.state_dict(), folder / "lavin_dit.safetensors")
    torch.save({"state_dict": vae.state_dict()}, folder / "stvae.pt")
    sizes = {"dit": asdict(config.dit), "vae": asdict(config.vae)}
    (folder / "config.json").write_text(json.dumps(sizes))
    return dit, vae
