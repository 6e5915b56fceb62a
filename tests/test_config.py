"""Configs from outside: every wrong value is one sentence of the error family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lavin_deploy.config import PRESETS, ModelConfig, preset
from lavin_deploy.errors import InputError

pytestmark = pytest.mark.unit
GOOD: dict[str, Any] = {
    "dit": {"hidden_size": 96, "depth": 3, "num_heads": 4, "kv_group": 2},
    "vae": {"block_out_channels": [32, 32, 64, 64], "layers_per_block": 1},
}


def edited(path: str, value: Any) -> dict[str, Any]:
    data: dict[str, Any] = {key: dict(part) for key, part in GOOD.items()}
    *folders, name = path.split(".")
    place = data
    for folder in folders:
        place = place.setdefault(folder, {})
    place[name] = value
    return data


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back_from_json_data(name: str) -> None:
    config = preset(name)
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_other_keys_are_ignored_and_the_release_is_the_default() -> None:
    config = ModelConfig.from_dict({**GOOD, "height": 64, "time_grid": [0, 1]})
    assert config == replace(preset("tiny"), inference=config.inference)
    assert config.inference.steps == 19


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("dit.num_heads", 0, "num_heads"),
        ("dit.kv_group", 0, "kv_group"),
        ("dit.hidden_size", 96.0, "hidden_size"),
        ("dit.hidden_size", -96, "hidden_size"),
        ("dit.depth", 0, "depth"),
        ("dit.depth", "3", "depth"),
        ("vae.norm_groups", 0, "norm_groups"),
        ("vae.norm_groups", 7, "multiple"),
        ("vae.block_out_channels", [32, 32], "four"),
        ("vae.temporal_norm", "frames", "Did you mean 'frame'"),
        ("latent_shift", "x", "latent_shift"),
        ("latent_scale", 0, "latent_scale"),
        ("inference.grid", "unifrom", "Did you mean 'uniform'"),
        ("inference.size", [64], "inference.size"),
        ("inference.steps", 0, "steps"),
        ("dit", None, "dit"),
        ("vae", [], "vae"),
    ],
)
def test_wrong_values(path: str, value: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        ModelConfig.from_dict(edited(path, value))


def test_unknown_preset() -> None:
    with pytest.raises(InputError, match=r"Did you mean '0\.1b'"):
        preset("0.2b")
