"""The ST-VAE's losses: a perceptual network, a discriminator and its adaptive weight, clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lavin_deploy.cli.train import train
from lavin_deploy.config import preset
from lavin_deploy.errors import InputError
from lavin_deploy.models.checkpoint import load_vae
from lavin_deploy.training.loop.settings import VAERecipe
from lavin_deploy.training.losses.adversarial import (
    PatchDiscriminator,
    adversarial,
    discriminator_loss,
)
from lavin_deploy.training.losses.perceptual import make_perceptual
from lavin_deploy.training.stvae import draw_clips
from lavin_deploy.training.synthesis.camera_clips import pan
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.registry import TASKS

pytestmark = pytest.mark.data


def photo() -> torch.Tensor:
    """(1, 3, 128, 128) in [-1, 1]: what scikit-image ships."""
    from skimage.data import astronaut

    picture = cv2.resize(astronaut(), (128, 128), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_the_perceptual_distance_grows_with_noise_and_has_gradients() -> None:
    network = make_perceptual("efficientnet-lite0")
    assert network is not None
    network.train()
    target = photo()
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    distances = [float(network(target + s * noise, target)) for s in (0.0, 0.04, 0.1, 0.2, 0.4)]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[1]
    noisy = (target + 0.1 * noise).requires_grad_()
    network(noisy, target).sum().backward()
    assert noisy.grad is not None
    assert noisy.grad.abs().max() > 0
    assert all(p.grad is None for p in network.parameters())


def test_unavailable_networks_are_refused() -> None:
    assert make_perceptual("none") is None
    with pytest.raises(InputError, match="unknown perceptual network 'vgg'"):
        make_perceptual("vgg")
    with pytest.raises(InputError, match="perceptual=efficientnet-lite0"):
        make_perceptual("lpips-vgg")  # not installed here: it replaces torch


@pytest.mark.parametrize("frames", [1, 5])
def test_the_discriminator_learns_to_tell(frames: int) -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator()
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3)
    real, fake = torch.rand(4, 3, frames, 32, 32), torch.zeros(4, 3, frames, 32, 32)
    assert discriminator(real).shape == (4, 1, frames, 4, 4)
    first = None
    for _ in range(20):
        loss = discriminator_loss(discriminator(torch.cat((real, fake))))
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first


def test_the_adaptive_weight_balances_the_gradients() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator()
    decoded = torch.rand(2, 3, 1, 32, 32, requires_grad=True)
    other_loss = 7 * decoded.square().mean()
    value, weight = adversarial(discriminator, decoded, other_loss)
    (pull,) = torch.autograd.grad(value, decoded, retain_graph=True)
    (rest,) = torch.autograd.grad(other_loss, decoded, retain_graph=True)
    assert float(pull.norm()) == pytest.approx(float(rest.norm()), rel=1e-3)
    assert weight > 0
    value.backward()
    assert all(p.grad is None and p.requires_grad for p in discriminator.parameters())


def test_a_pan_moves_and_shows_no_border(data: Path) -> None:
    collage = Collage.load(data, "train")
    bright = [np.full_like(photo, 255) for photo in collage.photos]
    white = Collage(bright, [np.full((40, 40, 4), 255, np.uint8)])
    for seed in range(30):
        clip = pan(np.random.default_rng(seed), white, 5, 64)
        assert clip.shape == (5, 64, 64, 3)
        corners = clip[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.min() > 60  # jitter may darken; outside the picture it would be black
    clip = pan(np.random.default_rng(1), collage, 5, 64).astype(int)
    steps = np.abs(np.diff(clip, axis=0)).mean(axis=(1, 2, 3))
    assert (steps > 0.5).all()


@pytest.mark.parametrize("norm", ["clip", "frame"])
@pytest.mark.parametrize("upsampler", ["resize_conv", "deconv"])
def test_phase_two_trains_every_variant(
    norm: str, upsampler: str, data: Path, tmp_path: Path
) -> None:
    choices = {"frames": 5, "stills": 0.3, "distillation": 0, "disc_weight": 0.1, "disc_start": 0.5}
    choices |= {"temporal_norm": norm, "upsampler": upsampler, "steps": 6, "size": 32, "batch": 2}
    words = ["stvae", "--recipe=tiny", f"--data={data}", f"--out={tmp_path}"]
    if norm == "frame":
        choices["perceptual"] = "efficientnet-lite0"
    result = CliRunner().invoke(train, [*words, *(f"--set={k}={v}" for k, v in choices.items())])
    assert result.exit_code == 0, result.stderr
    row = json.loads((tmp_path / "stvae.log.jsonl").read_text().splitlines()[-1])
    assert row["judge_loss"] > 0
    assert row["adaptive_weight"] > 0
    assert ("efficientnet-lite0" in row) == (norm == "frame")
    vae, config = load_vae(tmp_path)
    assert (config.vae.temporal_norm, config.vae.upsampler) == (norm, upsampler)
    clip = torch.rand(1, 3, 5, 32, 32) * 2 - 1
    with torch.no_grad():
        assert vae.decode(vae.encode(clip).mean).shape == clip.shape


def test_flat_label_images_take_their_share_of_single_frames(data: Path) -> None:
    collage = Collage.load(data, "train")
    tasks = [TASKS["deblurring"](collage)]

    def few_colours(share: float) -> int:
        recipe = VAERecipe(labels=share, size=32)
        clips, _ = draw_clips(collage, tasks, recipe, 0, range(40))
        flat = clips[:, :, 0].permute(0, 2, 3, 1).flatten(1, 2)
        return sum(len(picture.unique(dim=0)) <= 4 for picture in flat)

    assert [few_colours(share) for share in (0.0, 1.0)] == [0, 40]
    assert 10 <= few_colours(0.5) <= 30


def test_choices_are_checked() -> None:
    with pytest.raises(InputError, match="1, 5, 9"):
        VAERecipe(frames=6).adapt(preset("tiny"))
    with pytest.raises(InputError, match="unknown temporal_norm"):
        VAERecipe(temporal_norm="group").adapt(preset("tiny"))
    with pytest.raises(InputError, match="unknown upsampler"):
        VAERecipe(upsampler="bilinear").adapt(preset("tiny"))
    assert VAERecipe().adapt(preset("edge")) == preset("edge")
    changed = replace(VAERecipe(), upsampler="deconv").adapt(preset("edge"))
    assert changed.vae.upsampler == "deconv"
