"""Checkpoints from disk: the released layout, our own folders, and every way they can fail.

A checkpoint folder holds ``config.json``, ``lavin_dit.safetensors`` (or the index of its shards, or
``lavin_dit.pt``) and ``stvae.pt`` (as released) or ``stvae.safetensors`` (ours).

Float32 weights stay mapped from their file: a model of 3.4 B takes no memory that the system cannot
take back. Other types are copied to float32.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lavin_deploy.config import PRESETS, DiTConfig, Inference, ModelConfig, VAEConfig
from lavin_deploy.errors import CheckpointError
from lavin_deploy.files import replaced_file
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.weights import (
    INDEX,
    as_float32,
    check_names,
    named_for,
    read_json,
    read_state,
    read_tensor,
    weight_files,
)

DIT_FILE = "lavin_dit.safetensors"
DIT_FILES = (DIT_FILE, DIT_FILE + INDEX, "lavin_dit.pt")
VAE_FILES = ("stvae.safetensors", "stvae.safetensors" + INDEX, "stvae.pt")
CONFIG_FILE = "config.json"

_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_NEAR = 0.8
"""Likeness from which on an unknown key of a config is taken for a slip of the pen."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """Where a checkpoint's parts are; ``config`` is None when there is no ``config.json``."""

    dit: Path
    vae: Path
    config: ModelConfig | None

    def sha256(self) -> str:
        """One hash over all weight files, in order."""
        digest = hashlib.sha256()
        for path in (*weight_files(self.dit), *weight_files(self.vae)):
            with path.open("rb") as file:
                while chunk := file.read(1 << 22):
                    digest.update(chunk)
        return digest.hexdigest()


def find_files(path: str | Path, vae: str | Path | None = None) -> CheckpointFiles:
    """Find the parts of a checkpoint.

    Args:
        path: a folder, or the ``lavin_dit.safetensors`` itself.
        vae: the ST-VAE's weights when they lie elsewhere.

    Raises:
        CheckpointError: a part is missing.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    dit = find_weights(path, DIT_FILES) if path.is_dir() else path
    if dit is None or not dit.is_file():
        raise CheckpointError(_no_weights(path, folder))
    vae_path = find_weights(folder, VAE_FILES) if vae is None else Path(vae)
    if vae_path is None or not vae_path.is_file():
        raise CheckpointError(
            f"no ST-VAE weights beside {dit} ({VAE_FILES[0]} or {VAE_FILES[-1]}); give them with "
            "--vae."
        )
    return CheckpointFiles(dit=dit, vae=vae_path, config=read_folder_config(folder))


def find_weights(folder: Path, names: Sequence[str]) -> Path | None:
    """The first file of these names that a folder has, or None."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _no_weights(path: Path, folder: Path) -> str:
    others = [
        file.name
        for file in (sorted(folder.iterdir()) if path.is_dir() else ())
        if file.name.endswith((*_WEIGHTS, INDEX))
        and file.name not in VAE_FILES
        and not file.name.startswith(".")
    ]
    if not others:
        missing = path / DIT_FILE if path.is_dir() else path
        return f"no checkpoint at {missing}; give a folder with {DIT_FILE}, or that file itself."
    best = next((name for name in others if name.endswith(INDEX)), others[0])
    return (
        f"no {DIT_FILE} in {path}, which holds {', '.join(others[:3])}; if {best} is J-DiT, give "
        f"that file itself: {path / best}."
    )


def read_folder_config(folder: Path) -> ModelConfig | None:
    """The ``config.json`` of a checkpoint folder, or None.

    Raises:
        CheckpointError: it is damaged.
    """
    return _read_config(folder / CONFIG_FILE)


def _read_config(path: Path) -> ModelConfig | None:
    if not path.is_file():
        return None
    data = read_json(path)
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold an object with 'dit' and 'vae'.")
    _check_keys(data, path)
    return ModelConfig.from_dict(data)


def _check_keys(data: Mapping[str, Any], path: Path) -> None:
    """Refuse keys that look like a slip of the pen for ours; others are ignored, in parts named."""
    ignored = []
    for key, near in _unknown_keys(data):
        if near:
            raise CheckpointError(
                f"{path} has an unknown key {key!r}; did you mean {near!r}? Correct or remove it."
            )
        if "." in key:  # beside the parts, released configs have keys of their own
            ignored.append(key)
    if ignored:
        _log.warning("%s: unknown keys are ignored: %s.", path, ", ".join(ignored))


def _unknown_keys(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that no config has, each with the nearest that one has, or with ''."""
    parts = {"": ModelConfig, "dit": DiTConfig, "vae": VAEConfig, "inference": Inference}
    for part, form in parts.items():
        keys = data if not part else data.get(part)
        names = [field.name for field in fields(form)]
        for key in keys if isinstance(keys, Mapping) else ():
            if key not in names:
                near = difflib.get_close_matches(str(key), names, n=1, cutoff=_NEAR)
                yield f"{part}.{key}".lstrip("."), near[0] if near else ""


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Give a module (on any device, meta included) the weights of ``state`` as float32.

    Raises:
        CheckpointError: names or shapes differ, or a value is not finite.
    """
    expected = module.state_dict()
    state = named_for(expected, state, path)
    check_names(expected, state, path)
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name} is {tuple(tensor.shape)} where the config asks for "
                f"{tuple(expected[name].shape)}; check the sizes in config.json."
            )
    weights = {name: as_float32(name, tensor, path) for name, tensor in state.items()}
    module.load_state_dict(weights, assign=True)


def load_released(
    dit_path: str | Path,
    vae_path: str | Path,
    config: ModelConfig | Mapping[str, Any] | str | Path | None = None,
) -> tuple[JDiT, STVAE]:
    """Load weights in the released layout, float32, in evaluation mode.

    Args:
        dit_path: ``lavin_dit.safetensors``.
        vae_path: ``stvae.pt``, a pickle ``{"state_dict": ...}``, or safetensors.
        config: sizes, as a config, as the content of a ``config.json`` or as its path; without it
            a ``config.json`` beside ``dit_path`` is read, and without that only the heads of the
            released width, 2304, are known.

    Raises:
        CheckpointError: a file is missing or damaged, or does not fit the config.
    """
    files = find_files(dit_path, vae_path)
    dit_state, vae_state = read_state(files.dit), read_state(files.vae)
    if isinstance(config, str | Path):
        config = _read_config(Path(config))
    elif isinstance(config, Mapping):
        _check_keys(config, Path("the config"))
        config = ModelConfig.from_dict(config)
    config = config or read_config(files)
    with torch.device("meta"):
        dit = JDiT(config.dit)
        vae = STVAE(config.vae, config.latent_shift, config.latent_scale)
    fill(dit, dit_state, files.dit)
    fill(vae, vae_state, files.vae)
    return dit.eval(), vae.eval()


def read_config(files: CheckpointFiles) -> ModelConfig:
    """The config of a checkpoint: its ``config.json``, or the full size if the width says so.

    Of a safetensors file only one tensor is read (the released weights are 13 GB).

    Raises:
        CheckpointError: neither tells the sizes.
    """
    if files.config is not None:
        return files.config
    return _config_of_release(files.dit, read_tensor(files.dit, "prompt_embed"))


def _config_of_release(path: Path, embed: Tensor | None) -> ModelConfig:
    width = embed.shape[-1] if embed is not None and embed.ndim else None
    if width != PRESETS["3.4b"].dit.hidden_size:
        raise CheckpointError(
            f"{path} has width {width}, and heads cannot be read off the tensors; put a "
            f"{CONFIG_FILE} with 'dit' and 'vae' sizes beside it (only 2304 needs none)."
        )
    return PRESETS["3.4b"]


def load_checkpoint(path: str | Path) -> tuple[JDiT, STVAE]:
    """Load a checkpoint folder; see :func:`load_released` for what can go wrong."""
    files = find_files(path)
    return load_released(files.dit, files.vae, files.config)


def load_vae(folder: Path) -> tuple[STVAE, ModelConfig]:
    """Load the ST-VAE and the config of a checkpoint folder that may have no J-DiT yet.

    Raises:
        CheckpointError: the weights or the config are missing or damaged.
    """
    config = _read_config(folder / CONFIG_FILE)
    path = find_weights(folder, VAE_FILES)
    if config is None or path is None:
        raise CheckpointError(
            f"{folder} holds no ST-VAE ({CONFIG_FILE} and {VAE_FILES[0]}); train it first."
        )
    with torch.device("meta"):
        vae = STVAE(config.vae, config.latent_shift, config.latent_scale)
    fill(vae, read_state(path), path)
    return vae.eval(), config


def save_vae(folder: Path, state: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Write ``stvae.safetensors`` (float16) and ``config.json`` into ``folder``."""
    _save(folder / VAE_FILES[0], state)
    _write_config(folder, config)


def save_dit(folder: Path, state: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Write ``lavin_dit.safetensors`` (float16) and ``config.json`` into ``folder``.

    Finished weights are rounded once, here, so that a bundle can store them as float16 unchanged.
    """
    _save(folder / DIT_FILE, state)
    _write_config(folder, config)


def _save(path: Path, state: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as part:
        save_file({name: tensor.half().contiguous() for name, tensor in state.items()}, part)


def _write_config(folder: Path, config: ModelConfig) -> None:
    with replaced_file(folder / CONFIG_FILE) as part:
        part.write_text(json.dumps(config.to_dict(), indent=1) + "\n")
