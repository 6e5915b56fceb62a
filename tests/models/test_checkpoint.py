"""Every way a checkpoint can be bad gives one clear error."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lavin_deploy.config import preset
from lavin_deploy.errors import CheckpointError, InputError
from lavin_deploy.models import load_checkpoint, load_released
from lavin_deploy.models.checkpoint import find_files, read_config, save_dit, save_vae
from tests.helpers.checkpoints import random_models, write_released

pytestmark = pytest.mark.unit
State = dict[str, torch.Tensor]


class Evil:
    """A pickle that would run a command when opened."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        import os

        return os.system, ("touch pwned",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_released(tmp_path / "ckpt", preset("tiny"))
    return tmp_path / "ckpt"


def edit(folder: Path, change: Callable[[State], object]) -> None:
    state = load_file(folder / "lavin_dit.safetensors")
    change(state)
    save_file(state, folder / "lavin_dit.safetensors")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("prompt_embed"), "lacks prompt_embed"),
        (lambda s: s.update(extra=torch.zeros(1)), "has unknown extra"),
        (lambda s: s.update(prompt_embed=torch.zeros(1, 95)), r"prompt_embed is \(1, 95\)"),
        (lambda s: s["answer_embed"].fill_(float("nan")), "answer_embed holds NaN"),
        (lambda s: s["answer_embed"].fill_(float("inf")), "answer_embed holds NaN, infinity"),
        (lambda s: s.update(answer_embed=torch.zeros(1, 96, dtype=torch.int32)), "integers"),
    ],
)
def test_bad_tensors(folder: Path, change: Callable[[State], object], sentence: str) -> None:
    edit(folder, change)
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(folder)


def test_half_precision_weights_become_float32(folder: Path) -> None:
    edit(folder, lambda s: s.update({k: v.half() for k, v in s.items()}))
    dit, _ = load_checkpoint(folder)
    assert all(p.dtype == torch.float32 for p in dit.parameters())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is mapped")
def test_float32_weights_stay_in_their_file(folder: Path) -> None:
    dit, vae = load_checkpoint(folder)
    for module, name in ((dit, "lavin_dit.safetensors"), (vae, "stvae.pt")):
        maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if name in line]
        ranges = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps]
        for parameter in module.parameters():
            assert any(low <= parameter.data_ptr() < high for low, high in ranges)


def test_wrong_width_in_config(folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    data["dit"]["hidden_size"] = 192
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=r"check the sizes in config\.json"):
        load_checkpoint(folder)


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match="width 96, and heads cannot be read off"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="width 96, and heads cannot be read off"):
        read_config(find_files(folder))


def test_config_of_the_released_width_comes_from_one_tensor(folder: Path) -> None:
    (folder / "config.json").unlink()
    file = folder / "lavin_dit.safetensors"
    save_file({"prompt_embed": torch.zeros(1, 2304)}, file)  # the rest is not looked at
    assert read_config(find_files(folder)) == preset("3.4b")
    file.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_config(find_files(folder))


@pytest.mark.parametrize("text", ["[1]", "{", '{"dit": {}}', '{"dit": {}, "vae": {}}'])
def test_bad_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises((CheckpointError, InputError), match="config"):
        load_checkpoint(folder)


def test_pickle_with_code(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "stvae.pt").write_bytes(pickle.dumps({"state_dict": Evil()}))
    with pytest.raises(CheckpointError, match="refused"):
        load_checkpoint(folder)
    torch.save({"state_dict": Evil()}, folder / "stvae.pt")
    with pytest.raises(CheckpointError, match="refused"):
        load_checkpoint(folder)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "content", [b"", b"no tensors here", b"PK\x03\x04 broken", b"hello\n" * 50, bytes(500)]
)
@pytest.mark.parametrize("name", ["lavin_dit.safetensors", "stvae.pt"])
def test_damaged_files(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read as weights: \S"):
        load_checkpoint(folder)


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "nowhere")
    (folder / "stvae.pt").unlink()
    with pytest.raises(CheckpointError, match="--vae"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="no ST-VAE weights"):
        load_released(folder / "lavin_dit.safetensors", folder / "other.pt")


def test_our_own_folder_comes_back(tmp_path: Path) -> None:
    config = preset("edge")
    dit, vae = random_models(config)
    save_vae(tmp_path, vae.state_dict(), config)
    save_dit(tmp_path, dit.state_dict(), config)
    again, vae_again = load_checkpoint(tmp_path)
    assert vae_again.config == config.vae
    for a, b in zip(dit.parameters(), again.parameters(), strict=True):
        assert torch.equal(a.half().float(), b)
    assert (tmp_path / "lavin_dit.safetensors").stat().st_size < 30e6


def test_config_in_every_form(folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    elsewhere = folder.parent / "sizes.json"
    (folder / "config.json").rename(elsewhere)
    files = folder / "lavin_dit.safetensors", folder / "stvae.pt"
    for config in (data, elsewhere, str(elsewhere), preset("tiny")):
        dit, _ = load_released(*files, config)
        assert dit.config == preset("tiny").dit
