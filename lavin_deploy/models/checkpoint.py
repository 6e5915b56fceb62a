"""Weights from disk: the released layout, our own checkpoint folders, and every way they can fail.

A checkpoint folder holds ``config.json``, ``lavin_dit.safetensors`` and ``stvae.pt`` (as released)
or ``stvae.safetensors`` (ours). Pickles are opened with ``weights_only=True``.

Float32 weights stay mapped from their file: a model of 3.4 B takes no memory that the system cannot
take back. Other types are copied to float32.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lavin_deploy.config import PRESETS, ModelConfig
from lavin_deploy.errors import CheckpointError
from lavin_deploy.files import replaced_file
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE

DIT_FILE = "lavin_dit.safetensors"
VAE_FILES = ("stvae.safetensors", "stvae.pt")
CONFIG_FILE = "config.json"


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """Where a checkpoint's parts are; ``config`` is None when there is no ``config.json``."""

    dit: Path
    vae: Path
    config: ModelConfig | None

    def sha256(self) -> str:
        """One hash over both weight files, in order."""
        digest = hashlib.sha256()
        for path in (self.dit, self.vae):
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
    dit = path / DIT_FILE if path.is_dir() else path
    if not dit.is_file():
        raise CheckpointError(
            f"no checkpoint at {dit}; give a folder with {DIT_FILE}, or that file itself."
        )
    if vae is not None:
        vae_path = Path(vae)
    else:
        vae_path = next((folder / n for n in VAE_FILES if (folder / n).is_file()), folder / "stvae")
    if not vae_path.is_file():
        raise CheckpointError(
            f"no ST-VAE weights beside {dit} ({' or '.join(VAE_FILES)}); give them with --vae."
        )
    return CheckpointFiles(dit=dit, vae=vae_path, config=read_folder_config(folder))


def read_folder_config(folder: Path) -> ModelConfig | None:
    """The ``config.json`` of a checkpoint folder, or None.

    Raises:
        CheckpointError: it is damaged.
    """
    return _read_config(folder / CONFIG_FILE)


def _read_config(path: Path) -> ModelConfig | None:
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold an object with 'dit' and 'vae'.")
    return ModelConfig.from_dict(data)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or from a pickle that holds nothing but tensors.

    The tensors are mapped from the file where its format allows.

    Raises:
        CheckpointError: the file is damaged, holds code, or is no state dict.
    """
    try:
        if path.suffix == ".safetensors":
            tensors: dict[str, Tensor] = load_file(path)
            return tensors
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other pickle protocols; what matters is below
            mapped = zipfile.is_zipfile(path)  # pickles of old versions cannot be
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle can raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        if isinstance(error, pickle.UnpicklingError) and _is_pickle(path, str(error)):
            raise CheckpointError(
                f"{path} was refused: it holds something else than tensors, and such a file can "
                "run code when opened; ask its author for safetensors."
            ) from error
        raise CheckpointError(f"{path} cannot be read as weights: {reason}.") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} must hold a state dict of tensors, or one as 'state_dict'.")
    return state


def _is_pickle(path: Path, message: str) -> bool:
    """Whether torch refused a real pickle, for what it holds, rather than a damaged file."""
    with path.open("rb") as file:
        return "unsupported global" in message.lower() or file.read(1) == pickle.PROTO


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Give a module (on any device, meta included) the weights of ``state`` as float32.

    Raises:
        CheckpointError: names or shapes differ, or a value is not finite.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    if missing or extra:
        parts = [f"lacks {_listed(missing)}"] if missing else []
        parts += [f"has unknown {_listed(extra)}"] if extra else []
        raise CheckpointError(
            f"{path} does not fit this model: it {' and '.join(parts)}; check config.json."
        )
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name} is {tuple(tensor.shape)} where the config asks for "
                f"{tuple(expected[name].shape)}; check the sizes in config.json."
            )
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{path}: {name} holds NaN, infinity or integers; the file is damaged or the "
                "training diverged."
            )
    module.load_state_dict({k: v.float() for k, v in state.items()}, assign=True)


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
        config = ModelConfig.from_dict(config)
    config = config or files.config or _config_of_release(files.dit, dit_state)
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
    try:
        with safe_open(files.dit, framework="pt") as opened:
            state = {k: opened.get_tensor(k) for k in opened.keys() if k == "prompt_embed"}  # noqa: SIM118
    except (SafetensorError, OSError):
        state = read_state(files.dit)  # a pickle, or damaged: then this says how
    return _config_of_release(files.dit, state)


def _config_of_release(path: Path, state: Mapping[str, Tensor]) -> ModelConfig:
    embed = state.get("prompt_embed")
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
    path = next((folder / n for n in VAE_FILES if (folder / n).is_file()), None)
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
