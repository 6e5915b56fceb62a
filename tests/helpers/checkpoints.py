"""Random checkpoints in the released layout."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from lavin_deploy.config import ModelConfig, preset
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
                _fill(name, parameter)
    return dit, vae


def _fill(name: str, tensor: torch.Tensor) -> None:
    if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "layer.weight")):
        tensor.uniform_(0.5, 1.5)
    elif tensor.ndim > 1:
        tensor.normal_(std=tensor[0].numel() ** -0.5)
    else:
        tensor.normal_(std=0.2)


def write_released(folder: Path, config: ModelConfig, seed: int = 0) -> tuple[JDiT, STVAE]:
    """Write ``lavin_dit.safetensors``, ``stvae.pt`` and ``config.json`` as the release lays out."""
    dit, vae = random_models(config, seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dit.state_dict(), folder / "lavin_dit.safetensors")
    torch.save({"state_dict": vae.state_dict()}, folder / "stvae.pt")
    sizes = {"dit": asdict(config.dit), "vae": asdict(config.vae)}
    (folder / "config.json").write_text(json.dumps(sizes))
    return dit, vae


def stream_released(folder: Path, config: ModelConfig, seed: int = 0) -> None:
    """Write ``lavin_dit.safetensors`` and ``stvae.pt`` as released: random, float32, no config.

    The first is written tensor by tensor: a model of any size takes the memory of one matrix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        shapes = {name: part.shape for name, part in JDiT(config.dit).named_parameters()}
    torch.manual_seed(seed)
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * shape.numel()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "lavin_dit.safetensors").open("wb") as file, torch.no_grad():
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            tensor = torch.empty(shape)
            _fill(name, tensor)
            file.write(tensor.numpy().data)
    vae = STVAE(config.vae, config.latent_shift, config.latent_scale)
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            _fill(name, parameter)
    torch.save({"state_dict": vae.state_dict()}, folder / "stvae.pt")


def frame_norm_vae() -> STVAE:
    """A tiny ST-VAE with random weights whose norms are per frame."""
    tiny = preset("tiny")
    return random_models(replace(tiny, vae=replace(tiny.vae, temporal_norm="frame")))[1]
