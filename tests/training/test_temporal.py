"""Clips: their truth, and training that changes clips alone."""

from __future__ import annotations

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
from lavin_deploy.models.checkpoint import load_vae, save_vae
from lavin_deploy.models.stvae import STVAE, CausalConv3d, by_frames
from lavin_deploy.models.vae2d import Encoder2d
from lavin_deploy.training import temporal
from lavin_deploy.training.synthesis.camera_clips import animate, pan
from lavin_deploy.training.synthesis.collage import Collage
from tests.helpers.checkpoints import frame_norm_vae

pytestmark = pytest.mark.data


def test_the_flow_of_a_clip_leads_from_each_frame_to_the_next(data: Path) -> None:
    collage = Collage.load(data, "train")
    rows, cols = np.mgrid[0:64, 0:64].astype(np.float32)
    inner = np.s_[8:-8, 8:-8]
    followed, stood = [], []
    for seed in range(6):
        clip = animate(np.random.default_rng(seed), collage, 5, 64)
        assert clip.images.shape == (5, 64, 64, 3)
        assert clip.images.dtype == np.uint8
        assert clip.flow.shape == (5, 64, 64, 2)
        assert clip.flow.dtype == np.float32
        assert clip.instances[2].any()
        for turn in range(4):
            pictures = clip.images[turn : turn + 2].astype(np.float32)
            now, then = (cv2.GaussianBlur(picture, (0, 0), 1) for picture in pictures)
            x, y = cols + clip.flow[turn, ..., 0], rows + clip.flow[turn, ..., 1]
            warped = cv2.remap(then, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            swift = np.hypot(*clip.flow[turn].transpose(2, 0, 1)) > 0.7  # else resampling is all
            followed += [*np.abs(warped - now).mean(axis=2)[inner][swift[inner]]]
            stood += [*np.abs(then - now).mean(axis=2)[inner][swift[inner]]]
    assert np.mean(followed) < 0.5 * np.mean(stood)


def test_a_clip_depends_on_the_generator_alone(data: Path) -> None:
    collage = Collage.load(data, "train")
    for make in (
        lambda rng: animate(rng, collage, 3, 32).images,
        lambda rng: pan(rng, collage, 3, 32),
    ):
        clip, again, other = (make(np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(clip, again)
        assert not np.array_equal(clip, other)
        assert not np.array_equal(clip[0], clip[-1])


def test_a_convolution_by_frames_is_the_convolution() -> None:
    conv = CausalConv3d(5, 7)
    x = torch.randn(2, 5, 5, 8, 6, requires_grad=True)
    whole = conv(x)
    flat = by_frames(conv.padded(x), conv.conv.weight, conv.conv.bias)
    torch.testing.assert_close(flat, whole)
    gradient, flat_gradient = (
        torch.autograd.grad(y.square().sum(), conv.conv.weight)[0] for y in (whole, flat)
    )
    torch.testing.assert_close(gradient, flat_gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("frames", "side"),
    [
        (1, 64),
        (5, 32),
        pytest.param(1, 128, marks=pytest.mark.soak),
        pytest.param(5, 64, marks=pytest.mark.soak),
    ],
)
def test_training_in_bfloat16_has_gradients(frames: int, side: int) -> None:
    """oneDNN's 3D kernels have NaN gradients or kill the process; see ``convolve``."""
    vae = STVAE(preset("edge").vae)
    with torch.autocast("cpu", torch.bfloat16):
        mean = vae.encode(torch.randn(2, 3, frames, side, side)).mean
        vae.decode(mean).square().mean().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_the_2d_form_runs_in_bfloat16() -> None:
    vae = STVAE(preset("edge").vae).eval()
    picture = torch.rand(1, 3, 1, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mean, again = Encoder2d(vae)(picture), vae.encode(picture).mean
    torch.testing.assert_close(mean.float(), again.float(), rtol=0.05, atol=0.02)


def test_what_changes_over_time_leaves_single_frames_as_they_are() -> None:
    vae, plain = frame_norm_vae(), frame_norm_vae()
    temporal.adapt(vae)
    changes = [p for p in vae.parameters() if p.requires_grad]
    assert len(changes) > 10
    for change in changes:
        torch.nn.init.normal_(change, std=0.02)
    merged = frame_norm_vae()
    merged.load_state_dict(temporal.merged(vae.state_dict()))
    picture, clip = torch.randn(1, 3, 1, 32, 32), torch.randn(1, 3, 5, 32, 32)
    with torch.no_grad():
        was, now, again = (m.encode(picture).mean for m in (plain, vae, merged))
        assert torch.equal(was, now)
        torch.testing.assert_close(was, again, rtol=1e-4, atol=1e-5)
        before, after, put_in = (m.decode(m.encode(clip).mean) for m in (plain, vae, merged))
    assert (after - before).abs().max() > 0.01
    torch.testing.assert_close(after, put_in, rtol=1e-3, atol=1e-4)


def test_norms_over_time_are_refused() -> None:
    with pytest.raises(InputError, match="norms are per frame"):
        temporal.adapt(STVAE(replace(preset("tiny").vae, temporal_norm="clip")))


def test_a_temporal_run_keeps_pictures_scale_and_resumes(data: Path, tmp_path: Path) -> None:
    vae = frame_norm_vae()
    config = replace(preset("tiny"), vae=vae.config, latent_shift=0.25, latent_scale=1.5)
    save_vae(tmp_path / "start", vae.state_dict(), config)
    tiny = ("preset=tiny", "bf16=0", "size=32", "batch=2", "warmup=1", "learning_rate=0.01")
    words = [
        "stvae",
        "--recipe",
        "edge-temporal",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "r"),
    ]
    words += [word for each in tiny for word in ("--set", each)]
    start = ["--init-from", str(tmp_path / "start")]
    alone = CliRunner().invoke(train, [*words, "--set", "steps=2"])
    assert alone.exit_code == 2
    assert "--init-from" in alone.output
    for steps, more in ((2, start), (4, ["--resume"])):
        done = CliRunner().invoke(train, [*words, "--set", f"steps={steps}", *more])
        assert done.exit_code == 0, done.output
    trained, trained_config = load_vae(tmp_path / "r")
    assert (trained_config.latent_shift, trained_config.latent_scale) == (0.25, 1.5)
    started, _ = load_vae(tmp_path / "start")
    picture, clip = torch.randn(1, 3, 1, 32, 32), torch.randn(1, 3, 5, 32, 32)
    with torch.no_grad():
        was, now = (m.encode(picture).mean for m in (started, trained))
        before, after = (m.encode(clip).mean for m in (started, trained))
    # Weights are stored as float16, three taps where there was one sum.
    assert (now - was).norm() / was.norm() < 2e-3
    assert (after - before).norm() / before.norm() > 5e-3


def test_a_decoder_run_keeps_all_latents(data: Path, tmp_path: Path) -> None:
    vae = frame_norm_vae()
    config = replace(preset("tiny"), vae=vae.config, latent_shift=0.25, latent_scale=1.5)
    save_vae(tmp_path / "start", vae.state_dict(), config)
    tiny = ("preset=tiny", "bf16=0", "size=32", "batch=2", "warmup=1", "steps=3")
    words = ["stvae", "--recipe", "edge-decoder", "--data", str(data), "--out", str(tmp_path / "r")]
    words += [word for each in tiny for word in ("--set", each)]
    done = CliRunner().invoke(train, [*words, "--init-from", str(tmp_path / "start")])
    assert done.exit_code == 0, done.output
    trained, trained_config = load_vae(tmp_path / "r")
    started, _ = load_vae(tmp_path / "start")
    assert (trained_config.latent_shift, trained_config.latent_scale) == (0.25, 1.5)
    before, after = started.state_dict(), trained.state_dict()
    kept = [name for name in before if name.startswith("encoder.")]
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not torch.equal(
        before["decoder.conv_in.conv.weight"], after["decoder.conv_in.conv.weight"]
    )
