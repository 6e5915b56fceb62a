from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lavin_deploy.config import ModelConfig, Upsampler, preset
from lavin_deploy.errors import InputError
from lavin_deploy.models.stvae import STVAE, CausalConv3d
from tests.helpers.checkpoints import random_models

pytestmark = pytest.mark.unit


def framewise(upsampler: Upsampler = "resize_conv") -> STVAE:
    tiny = preset("tiny")
    vae = replace(tiny.vae, temporal_norm="frame", upsampler=upsampler)
    return random_models(ModelConfig(dit=tiny.dit, vae=vae))[1]


@pytest.mark.parametrize("upsampler", ["resize_conv", "deconv"])
@torch.no_grad()
def test_causal_in_time_with_frame_norm(upsampler: Upsampler) -> None:
    vae = framewise(upsampler)
    pixels = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    whole, begin = vae.encode(pixels).mean, vae.encode(pixels[:, :, :5]).mean
    torch.testing.assert_close(whole[:, :, :2], begin, rtol=1e-4, atol=1e-5)
    decoded, decoded_begin = vae.decode(whole), vae.decode(begin)
    assert decoded.shape == pixels.shape
    torch.testing.assert_close(decoded[:, :, :5], decoded_begin, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_clip_norm_looks_ahead() -> None:
    vae = random_models(preset("tiny"))[1]
    pixels = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    whole, begin = vae.encode(pixels).mean, vae.encode(pixels[:, :, :5]).mean
    assert (whole[:, :, :2] - begin).abs().max() > 1e-3


@torch.no_grad()
def test_one_frame_takes_the_equal_2d_path() -> None:
    torch.manual_seed(0)
    conv = CausalConv3d(4, 5)
    frame = torch.randn(2, 4, 1, 6, 7)
    still = conv(frame.expand(-1, -1, 3, -1, -1))  # the 3D path on a clip that does not move
    torch.testing.assert_close(conv(frame), still[:, :, :1])
    torch.testing.assert_close(conv(frame), still[:, :, 2:])


def test_scaling_comes_back() -> None:
    vae = STVAE(preset("tiny").vae, latent_shift=0.3, latent_scale=1.7)
    z = torch.randn(5)
    torch.testing.assert_close(vae.unscale(vae.scale(z)), z)
    torch.testing.assert_close(vae.scale(torch.tensor(0.3)), torch.tensor(0.0))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((1, 3, 4, 16, 16), "4k \\+ 1 frames"),
        ((1, 3, 1, 16, 12), "divisible by 8"),
        ((3, 1, 16, 16), r"\(B, 3, T, H, W\)"),
    ],
)
def test_clips_that_do_not_round_trip(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        STVAE(preset("tiny").vae).encode(torch.zeros(shape))
