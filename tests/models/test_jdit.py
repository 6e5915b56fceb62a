from __future__ import annotations

import pytest
import torch

from lavin_deploy.config import DiTConfig, preset
from lavin_deploy.errors import InputError
from lavin_deploy.models.jdit import JDiT, patchify, time_sinusoid, unpatchify
from lavin_deploy.models.stvae import STVAE
from tests.helpers.checkpoints import random_models

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "dit_millions", "vae_millions"), [("3.4b", 3399.0, 215.58), ("1b", 1004.1, 215.58)]
)
def test_parameter_counts(name: str, dit_millions: float, vae_millions: float) -> None:
    config = preset(name)
    with torch.device("meta"):
        dit, vae = JDiT(config.dit), STVAE(config.vae)
    assert sum(p.numel() for p in dit.parameters()) / 1e6 == pytest.approx(dit_millions, abs=0.1)
    assert sum(p.numel() for p in vae.parameters()) / 1e6 == pytest.approx(vae_millions, abs=0.01)


def test_edge_has_at_most_20_million_parameters() -> None:
    config = preset("edge")
    with torch.device("meta"):
        models = JDiT(config.dit), STVAE(config.vae)
    assert sum(p.numel() for m in models for p in m.parameters()) <= 20e6


def test_patchify_comes_back() -> None:
    z = torch.randn(2, 16, 3, 4, 6)
    tokens = patchify(z, 2)
    assert tokens.shape == (2, 18, 64)
    # The second token is the patch at row 0, columns 2 and 3; its first 16 numbers one cell.
    torch.testing.assert_close(tokens[:, 1, :16], z[:, :, 0, 0, 2])
    torch.testing.assert_close(tokens[:, 1, 16:32], z[:, :, 0, 0, 3])
    torch.testing.assert_close(unpatchify(tokens, 3, 4, 6, 2), z)


def test_time_is_not_scaled() -> None:
    wave = time_sinusoid(torch.tensor([0.0, 1.0]))
    assert (wave[0, :128] == 1).all()
    assert (wave[0, 128:] == 0).all()
    assert wave[1, 0] == pytest.approx(0.5403023)


def test_dead_context_weights_do_not_matter() -> None:
    dit, _ = random_models(preset("tiny"))
    x, cond = torch.randn(1, 16, 1, 4, 4), torch.randn(1, 16, 3, 4, 4)
    t = torch.tensor([0.3])
    with torch.no_grad():
        before = dit(x, t, cond)
        last = dit.joint_blocks()[-1]
        for part in (last.cond_mlp, last.joint_attn.cond_q, last.joint_attn.cond_proj):
            for parameter in part.parameters():
                parameter.normal_()
        assert torch.equal(dit(x, t, cond), before)
        last.joint_attn.cond_v.weight.normal_()
        assert not torch.equal(dit(x, t, cond), before)


@pytest.mark.parametrize(
    ("x", "cond"), [((1, 16, 1, 4, 4), (1, 16, 3, 4, 6)), ((1, 16, 1, 3, 4), (1, 16, 3, 3, 4))]
)
def test_shapes_that_do_not_fit(x: tuple[int, ...], cond: tuple[int, ...]) -> None:
    dit = JDiT(preset("tiny").dit)
    with pytest.raises(InputError, match=r"same h and w|patches"):
        dit(torch.randn(x), torch.zeros(1), torch.randn(cond))


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"hidden_size": 100, "num_heads": 3}, "heads divide"),
        ({"hidden_size": 100, "num_heads": 4}, "multiple of 6"),
        ({"hidden_size": 144, "num_heads": 6, "kv_group": 4}, "kv_group"),
    ],
)
def test_sizes_that_cannot_be(sizes: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        DiTConfig(**{"depth": 1, **sizes})


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    dit, vae = random_models(preset("tiny"))
    x, cond, t = torch.randn(2, 16, 1, 4, 4), torch.randn(2, 16, 3, 4, 4), torch.rand(2)
    with torch.no_grad():
        expected = dit(x, t, cond)
        output = dit.to(dtype)(x.to(dtype), t.to(dtype), cond.to(dtype))
        decoded = vae.to(dtype).decode(x.to(dtype))
    assert output.dtype == decoded.dtype == dtype
    tolerance = 0.2 if dtype == torch.bfloat16 else 1e-3
    assert (output.float() - expected).abs().max() / expected.abs().max() < tolerance


@pytest.mark.parametrize(
    ("x", "t", "cond"),
    [
        ((2, 16, 1, 4, 4), (1,), (2, 16, 3, 4, 4)),
        ((1, 16, 1, 4, 4), (), (1, 16, 3, 4, 4)),
        ((1, 16, 1, 4, 4), (1,), (2, 16, 3, 4, 4)),
        ((1, 8, 1, 4, 4), (1,), (1, 8, 3, 4, 4)),
    ],
)
def test_batches_and_channels_that_do_not_fit(
    x: tuple[int, ...], t: tuple[int, ...], cond: tuple[int, ...]
) -> None:
    dit = JDiT(preset("tiny").dit)
    with pytest.raises(InputError, match=r"batch size|channels"):
        dit(torch.randn(x), torch.zeros(t), torch.randn(cond))


def test_no_output_depends_on_the_dead_parts_and_on_all_others() -> None:
    dit, _ = random_models(preset("tiny"))
    latents = torch.randn(1, 16, 1, 4, 4), torch.rand(1), torch.randn(1, 16, 3, 4, 4)
    dit(*latents).sum().backward()
    dead = {id(p) for part in dit.dead_parts() for p in part.parameters()}
    assert dead == {id(p) for p in dit.parameters() if p.grad is None}
