"""Checkpoints as people have them: read as what they are, or refused with what to do."""

from __future__ import annotations

import argparse
import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lavin_deploy.config import preset
from lavin_deploy.errors import CheckpointError
from lavin_deploy.models import load_checkpoint
from lavin_deploy.models.checkpoint import fill, find_files, read_config
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.pairing import merged_state
from lavin_deploy.models.weights import named_for, read_state, read_tensor
from tests.helpers.checkpoints import write_released

pytestmark = pytest.mark.unit
State = dict[str, Tensor]
DIT, VAE = "lavin_dit.safetensors", "stvae.pt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_released(tmp_path / "ckpt", preset("tiny"))
    return tmp_path / "ckpt"


def states(folder: Path) -> tuple[State, State]:
    both = load_file(folder / DIT), torch.load(folder / VAE, weights_only=True)["state_dict"]
    dit, vae = ({name: x.clone() for name, x in state.items()} for state in both)  # not mapped
    return dit, vae


def assert_loads(folder: Path, dit: State, vae: State) -> None:
    for module, expected in zip(load_checkpoint(folder), (dit, vae), strict=True):
        loaded = module.state_dict()
        assert loaded.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(loaded[name], tensor), name
            assert loaded[name].dtype == torch.float32


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "ema.", "net."],
)
def test_what_wrappers_put_before_names_is_left_out(folder: Path, prefix: str) -> None:
    dit, vae = states(folder)
    save_file(prefixed(dit, prefix), folder / DIT)
    torch.save({"state_dict": prefixed(vae, prefix)}, folder / VAE)
    assert_loads(folder, dit, vae)


def test_blocks_that_were_compiled_or_wrapped_one_by_one(folder: Path) -> None:
    dit, vae = states(folder)
    wrapped = {name.replace("blocks.0.", "blocks.0._orig_mod."): x for name, x in dit.items()}
    wrapped = {
        name.replace("blocks.1.", "blocks.1._checkpoint_wrapped_module."): x
        for name, x in wrapped.items()
    }
    assert len(wrapped.keys() - dit.keys()) > 20
    save_file(wrapped, folder / DIT)
    assert_loads(folder, dit, vae)


OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-3}]}


@pytest.mark.parametrize(
    "nest",
    [
        lambda v: v,
        lambda v: {"model": v},
        lambda v: {"state_dict": v, "epoch": 3, "optimizer": OPTIMIZER, "args": {"lr": 0.1}},
        lambda v: {"model_state_dict": v, "step": torch.tensor(7)},
        lambda v: {"checkpoint": {"model": {"module": v}}},
        lambda v: {"state_dict": prefixed(v, "model."), "hyper_parameters": {"size": 3}},
        lambda v: {**prefixed(v, "module."), "n_averaged": torch.tensor(9)},
    ],
)
def test_the_state_of_a_training_around_the_weights(
    folder: Path, nest: Callable[[State], dict[str, Any]]
) -> None:
    dit, vae = states(folder)
    torch.save(nest(vae), folder / VAE)
    assert_loads(folder, dit, vae)


@pytest.mark.parametrize(
    "nest",
    [
        lambda v, raw: {"model": raw, "ema": v},
        lambda v, raw: {"ema": v, "state_dict": raw, "optimizer": OPTIMIZER},
        lambda v, raw: {"state_dict": {**prefixed(raw, "model."), **prefixed(v, "ema_model.")}},
        lambda v, raw: {**raw, **prefixed(v, "model_ema.")},
    ],
)
def test_averaged_weights_are_taken_with_a_notice(
    folder: Path,
    nest: Callable[[State, State], dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    dit, vae = states(folder)
    raw = {name: tensor + 1 for name, tensor in vae.items()}
    torch.save(nest(vae, raw), folder / VAE)
    with caplog.at_level(logging.WARNING):
        assert_loads(folder, dit, vae)
    (notice,) = caplog.messages
    assert "stvae.pt holds the weights" in notice
    assert "ema" in notice.split(":")[-1]


def test_several_sets_of_weights_are_refused(folder: Path) -> None:
    _, vae = states(folder)
    torch.save({"student": vae, "teacher": vae}, folder / VAE)
    with pytest.raises(CheckpointError, match=r"several sets of weights, student\.\*, teacher\.\*"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float64]
)
def test_every_floating_type_becomes_float32(folder: Path, dtype: torch.dtype) -> None:
    dit, vae = ({name: x.to(dtype) for name, x in state.items()} for state in states(folder))
    save_file(dit, folder / DIT)
    torch.save({"state_dict": vae}, folder / VAE)
    dit, vae = ({name: x.float() for name, x in state.items()} for state in (dit, vae))
    assert_loads(folder, dit, vae)


def test_nan_in_float8_is_found(folder: Path) -> None:
    dit, _ = states(folder)
    small = {name: x.to(torch.float8_e4m3fn) for name, x in dit.items()}
    small["answer_embed"] = torch.full_like(dit["answer_embed"], torch.nan).to(torch.float8_e4m3fn)
    save_file(small, folder / DIT)
    with pytest.raises(CheckpointError, match="answer_embed holds NaN"):
        load_checkpoint(folder)


def shard(folder: Path, dit: State, prefix: str = "") -> Path:
    """Cut J-DiT into three shards with an index, as large models are published."""
    (folder / DIT).unlink(missing_ok=True)
    index = {}
    for number in range(3):
        name = f"lavin_dit-{number + 1:05}-of-00003.safetensors"
        part = {f"{prefix}{key}": dit[key] for key in sorted(dit)[number::3]}
        save_file(part, folder / name)
        index |= dict.fromkeys(part, name)
    path = folder / f"{DIT}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))
    return path


@pytest.mark.parametrize("prefix", ["", "module."])
def test_shards_with_an_index_are_one_checkpoint(folder: Path, prefix: str) -> None:
    dit, vae = states(folder)
    index = shard(folder, dit, prefix)
    assert_loads(folder, dit, vae)
    assert find_files(index).dit == index
    embed = read_tensor(index, "prompt_embed")
    assert embed is not None
    assert torch.equal(embed, dit["prompt_embed"])
    before = find_files(folder).sha256()
    first = folder / "lavin_dit-00001-of-00003.safetensors"
    changed = {name: x + 1 for name, x in load_file(first).items()}
    save_file(changed, first)
    assert find_files(folder).sha256() != before
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match="width 96, and heads cannot be read off"):
        read_config(find_files(folder))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: next(f.glob("*00002-of*")).unlink(), "00002-of-00003.*is missing; copy or dow"),
        (lambda f: next(f.glob("*index.json")).write_text("{}"), "no index of shards"),
        (
            lambda f: next(f.glob("*index.json")).write_text('{"weight_map": {"a": "../b"}}'),
            "'../b', which does not lie beside it",
        ),
    ],
)
def test_incomplete_shards_are_refused(
    folder: Path, change: Callable[[Path], object], sentence: str
) -> None:
    shard(folder, states(folder)[0])
    change(folder)
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(folder)


def test_pickles_and_safetensors_are_told_by_what_is_in_them(folder: Path) -> None:
    dit, vae = states(folder)
    torch.save(dit, folder / DIT)
    save_file(vae, folder / VAE)
    assert_loads(folder, dit, vae)
    (folder / DIT).rename(folder / "lavin_dit.pt")
    assert_loads(folder, dit, vae)


def test_weights_of_another_name_are_named(folder: Path) -> None:
    (folder / DIT).rename(folder / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"which holds model\.ckpt; if model\.ckpt is J-DiT"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", [DIT, VAE, "config.json"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n", "'git lfs pull'"),
        ("<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page"),
    ],
)
def test_what_lies_in_a_file_s_place(folder: Path, name: str, content: str, sentence: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=f"{name} is .*{sentence}"):
        load_checkpoint(folder)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_config_in_every_encoding_of_json(folder: Path, encoding: str) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text, encoding=encoding)
    assert load_checkpoint(folder)[0].config == preset("tiny").dit


def test_unknown_keys_of_a_config(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = json.loads((folder / "config.json").read_text())
    data |= {"_class_name": "LaVinDiT", "height": 64}
    data["dit"]["flash"] = True
    (folder / "config.json").write_text(json.dumps(data))
    with caplog.at_level(logging.WARNING):
        load_checkpoint(folder)
    assert "unknown keys are ignored: dit.flash." in caplog.text
    for part, key, near in (
        ("dit", "hiddensize", "hidden_size"),
        ("vae", "temporal_norms", "temporal_norm"),
        ("", "latent_shfit", "latent_shift"),
    ):
        changed = json.loads(json.dumps(data))
        (changed[part] if part else changed)[key] = 1
        (folder / "config.json").write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match=f"'{part}.?{key}'; did you mean '{near}'"):
            load_checkpoint(folder)


def test_an_unknown_tensor_is_named_with_what_it_may_have_meant(folder: Path) -> None:
    dit, _ = states(folder)
    dit["answer_embd"] = dit.pop("answer_embed")
    save_file(dit, folder / DIT)
    with pytest.raises(
        CheckpointError,
        match=r"lacks answer_embed and has unknown answer_embd \(did you mean answer_embed\?\)",
    ):
        load_checkpoint(folder)
    save_file(prefixed({**dit, "step": torch.tensor(1.0)}, "module."), folder / DIT)
    with pytest.raises(CheckpointError, match="unknown answer_embd, step"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "content", [{"state_dict": {}, "args": argparse.Namespace(a=1)}, torch.nn.Linear(2, 2)]
)
def test_pickles_of_more_than_tensors_say_what_to_do(folder: Path, content: object) -> None:
    torch.save(content, folder / VAE)
    with pytest.raises(CheckpointError, match=r"refused.*save its state_dict alone"):
        load_checkpoint(folder)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_of_any_protocol_are_told_from_garbage(
    folder: Path, protocol: int, legacy: bool
) -> None:
    content = {"state_dict": {}, "args": argparse.Namespace(a=1)}
    if legacy:
        (folder / VAE).write_bytes(pickle.dumps(content, protocol=protocol))
    else:
        torch.save(content, folder / VAE, pickle_protocol=max(protocol, 1))
    with pytest.raises(CheckpointError, match=r"refused.*save its state_dict alone"):
        load_checkpoint(folder)
    for garbage in (b"(dp0\nnot a pickle", bytes(range(128, 256)), b"cos\n"):
        (folder / VAE).write_bytes(garbage)
        with pytest.raises(CheckpointError, match=r"cannot be read as weights.*again"):
            load_checkpoint(folder)


def test_prefixed_weights_of_a_sequence_model_start_a_merged_one(folder: Path) -> None:
    dit, _ = states(folder)
    save_file(prefixed(dit, "module."), folder / DIT)
    merged = JDiT(replace(preset("tiny").dit, pairing="merged"))
    state = named_for(merged.state_dict(), read_state(folder / DIT), folder / DIT)
    fill(merged, merged_state(state), folder / DIT)
    loaded = merged.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in dit.items())


def test_a_short_name_inside_others_is_no_prefix() -> None:
    tensor = torch.zeros(1)
    state = {"norm.weight": tensor, "block.norm.weight": tensor, "block.bias": tensor}
    assert named_for(state, state, Path("x")) == state
