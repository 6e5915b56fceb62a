"""Video tasks, next frames, and the pools that hold them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from lavin_deploy.cli.train import train
from lavin_deploy.config import preset
from lavin_deploy.models.checkpoint import load_checkpoint
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.tasks.flow_colours import end_point_error, read_flow
from lavin_deploy.training.latents.make import make_pool, open_pool
from lavin_deploy.training.latents.pool import GROUP, Chunk, LatentPools, Pool
from lavin_deploy.training.loop.settings import DiTRecipe
from lavin_deploy.training.stvae import to_clip
from lavin_deploy.training.synthesis.camera_clips import animate
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.clips import AFTER, CLIP_TASKS, FRAMES, largest_speed
from lavin_deploy.training.tasks.heldout import HeldOut
from lavin_deploy.training.tasks.next_frame import NextFrame
from lavin_deploy.training.tasks.registry import episode
from tests.helpers.checkpoints import frame_norm_vae

pytestmark = pytest.mark.data

RECIPE = DiTRecipe(preset="tiny", size=32, bf16=False)


@pytest.fixture(scope="module")
def collage(data: Path) -> Collage:
    return Collage.load(data, "train")


@pytest.fixture(scope="module")
def vae() -> STVAE:
    return frame_norm_vae()


@pytest.mark.parametrize("name", CLIP_TASKS)
def test_a_clip_task_draws_clips(name: str, collage: Collage) -> None:
    task = CLIP_TASKS[name](collage)
    assert task.name == name
    style = task.draw_style(np.random.default_rng(0))
    sample, again = (task.sample(np.random.default_rng(1), style, 32) for _ in range(2))
    assert sample.input.shape == (FRAMES, 32, 32, 3)
    assert sample.target.shape == (AFTER if task.follows else FRAMES, 32, 32, 3)
    assert sample.input.dtype == sample.target.dtype == np.uint8
    assert np.array_equal(sample.input, again.input)
    assert np.array_equal(sample.target, again.target)
    assert not np.array_equal(sample.input[0], sample.input[-1])


def test_the_reverse_tasks_are_the_reverse(collage: Collage) -> None:
    for name, reverse in (("video_depth", "depth_to_video"), ("video_normals", "normal_to_video")):
        task, back = CLIP_TASKS[name](collage), CLIP_TASKS[reverse](collage)
        style = task.draw_style(np.random.default_rng(0))
        forward = task.sample(np.random.default_rng(5), style, 32)
        backward = back.sample(np.random.default_rng(5), style, 32)
        assert np.array_equal(forward.input, backward.target)
        assert np.array_equal(forward.target, backward.input)


def test_flow_is_painted_so_that_it_can_be_read(collage: Collage) -> None:
    task = CLIP_TASKS["optical_flow"](collage)
    drawn = task.sample(np.random.default_rng(7), task.draw_style(np.random.default_rng(0)), 32)
    moving = animate(np.random.default_rng(7), collage, FRAMES, 32)
    largest = largest_speed(moving.flow)
    assert largest > 0.3
    for painted, flow in zip(drawn.target, moving.flow, strict=True):
        assert end_point_error(read_flow(painted, largest), flow) < 0.02 * largest


def test_an_episode_of_next_frames_is_one_clip(collage: Collage, data: Path) -> None:
    task = NextFrame(collage)
    samples = episode(
        task, np.random.default_rng(0), task.draw_style(np.random.default_rng(0)), 32, 5
    )
    for before, after in pairwise(samples):
        assert np.array_equal(before.target, after.input)
    held = HeldOut(data, size=32, pairs=2).episode("next_frame", 0)
    assert np.array_equal(held.spare[1], held.pairs[0][0])
    assert np.array_equal(held.pairs[0][1], held.pairs[1][0])
    assert np.array_equal(held.pairs[1][1], held.query)


def test_pools_of_ordered_tasks_keep_the_order(
    collage: Collage, vae: STVAE, tmp_path: Path
) -> None:
    task = NextFrame(collage)
    make_pool(vae, task, tmp_path / "next", groups=2, recipe=RECIPE)
    pools = LatentPools.of([open_pool(task, tmp_path / "next", 1.0)], preset("tiny"))
    starts = set()
    for seed in range(30):
        drawn = pools.draw(np.random.default_rng(seed), 2, queries=3)
        assert np.array_equal(drawn.pairs[:, 1], drawn.pairs[:, 2])
        assert all(np.array_equal(drawn.pairs[:, 3], query[:, 0]) for query in drawn.queries)
        starts.add(drawn.pairs[0, 0, 0, 0])
    assert len(starts) > GROUP // 2


def test_pools_of_clips(collage: Collage, vae: STVAE, tmp_path: Path) -> None:
    task = CLIP_TASKS["frame_prediction"](collage)
    make_pool(vae, task, tmp_path / "clips", groups=1, recipe=RECIPE)
    pool = open_pool(task, tmp_path / "clips", 1.0)
    latents = pool.chunks[0].latents
    assert latents.shape == (GROUP, 4, 16, 4, 4)
    assert pool.frames == 2
    drawn = episode(
        task, np.random.default_rng((0, 0)), task.draw_style(np.random.default_rng(0)), 32, 1
    )
    whole = np.concatenate([drawn[0].input, drawn[0].target])
    with torch.no_grad():
        expected = vae.encode(to_clip([whole])).mean[0].transpose(0, 1).numpy()
    # The query's latents do not depend on what comes after, so the whole clip gives them as well.
    np.testing.assert_allclose(latents[0], expected, rtol=2e-3, atol=2e-3)
    pools = LatentPools.of([pool], preset("tiny"))
    assert pools.draw_frames(np.random.default_rng(0)) == 2
    shown = pools.draw(np.random.default_rng(0), 3, queries=4, frames=2)
    assert shown.pairs.shape == (16, 12, 4, 4)
    assert shown.queries.shape == shown.targets.shape == (4, 16, 2, 4, 4)
    null = pools.draw(np.random.default_rng(0), 0, frames=2)
    assert null.pairs.shape == (16, 1, 4, 4)
    assert not null.pairs.any()


def test_steps_share_pictures_and_clips_out_by_weight() -> None:
    def pool(frames: int, weight: float) -> Pool:
        latents = np.zeros((GROUP, 2 * frames, 16, 2, 2), np.float16)
        chunk = Chunk(latents=latents, ids=np.arange(GROUP), present=np.ones((GROUP, 1), bool))
        return Pool(name="any", chunks=[chunk], weight=weight, frames=frames)

    pools = LatentPools.of([pool(1, 2), pool(1, 4), pool(2, 2)], preset("tiny"))
    drawn = [pools.draw_frames(np.random.default_rng(seed)) for seed in range(400)]
    assert 0.19 < drawn.count(2) / 400 < 0.31


def test_a_frozen_context_of_clips_ends_with_the_query() -> None:
    """What the pairs become depends on nothing else; the query's two latents see each other."""
    torch.manual_seed(0)
    config = replace(preset("tiny").dit, context="frozen")
    dit = JDiT(config)
    for parameter in dit.parameters():
        nn.init.normal_(parameter, std=0.05)
    seen: list[torch.Tensor] = []
    first = dit.joint_blocks()[0]
    first.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs[0].detach()))
    x, t = torch.randn(1, 16, 2, 4, 4), torch.tensor([0.3])
    context = torch.randn(1, 16, 6, 4, 4)
    changed = context.clone()
    changed[:, :, 5] += 1  # the query's last latent
    for cond in (context, changed):
        dit(x, t, cond)
    pairs, query = 4 * 4, 5 * 4
    assert torch.equal(seen[0][:, :pairs], seen[1][:, :pairs])
    assert not torch.allclose(seen[0][:, pairs:query], seen[1][:, pairs:query], atol=1e-5)


def test_pictures_and_clips_train_together(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["stvae", "--recipe=tiny", f"--data={data}", f"--out={out}", "--set=steps=1"]
    assert CliRunner().invoke(train, [*words, "--set=temporal_norm=frame"]).exit_code == 0
    tasks = "segmentation:1,next_frame:1,frame_prediction:1,video_segmentation:1"
    words = ["jdit", "--recipe=tiny", f"--data={data}", f"--out={out}", "--set=steps=4"]
    words += [f"--set=tasks={tasks}", "--set=size=32", "--set=context=frozen"]
    done = CliRunner().invoke(train, words)
    assert done.exit_code == 0, done.output
    dit, _ = load_checkpoint(out)
    assert dit.config.context == "frozen"
