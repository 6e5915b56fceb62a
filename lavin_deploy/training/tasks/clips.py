"""Video tasks: what a clip of 5 frames is turned into, another one as long or the 8 frames after.

Pairs and query are clips; targets have as many latents as their inputs (two), which is what a
frozen context needs to know where the query begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from lavin_deploy.arrays import F32, U8
from lavin_deploy.tasks.flow_colours import paint_flow
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis import rendered, rendered_clips
from lavin_deploy.training.synthesis.camera_clips import animate, pan
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import FromCollage, Sample, Task, add_noise
from lavin_deploy.training.tasks.composed import Segmentation
from lavin_deploy.training.tasks.rendered import Depth
from lavin_deploy.training.tasks.restoration import Colorization, Denoising
from lavin_deploy.training.tasks.reverse import Reverse

FRAMES = 5
AFTER = 8
"""Frames that two latents more stand for."""


def clip(rng: np.random.Generator, data: Collage, frames: int, size: int) -> U8:
    """A camera's pan, or cut-outs that move: (T, S, S, 3) uint8."""
    if rng.random() < 0.3:
        return pan(rng, data, frames, size)
    return animate(rng, data, frames, size).images


class FramePrediction(FromCollage):
    """The 8 frames that follow 5; motion is even."""

    name = "frame_prediction"
    deterministic = False
    frames = FRAMES
    follows = True

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a clip of 13 frames and cut it."""
        whole = clip(rng, self.data, FRAMES + AFTER, size)
        return Sample(whole[:FRAMES], whole[FRAMES:])


class VideoSegmentation(Segmentation):
    """Paint what moves in front in one colour and the rest in another."""

    name = "video_segmentation"
    frames = FRAMES

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a clip and its masks."""
        moving = animate(rng, self.data, FRAMES, size)
        masks = (moving.instances > 0).astype(np.float32)
        return Sample(moving.images, paint(masks, style.foreground, style.background))


class VideoInstances(FromCollage):
    """Paint every object in a colour of its own, the same in all frames, on black."""

    name = "video_instances"
    deterministic = False
    frames = FRAMES

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a clip, and a bright random colour for each object."""
        moving = animate(rng, self.data, FRAMES, size)
        colours = rng.integers(60, 256, (int(moving.instances.max()) + 1, 3)).astype(np.uint8)
        colours[0] = 0
        return Sample(moving.images, colours[moving.instances])


class OpticalFlow(FromCollage):
    """Paint where each pixel goes until the next frame; the clip's swiftest pixel is brightest."""

    name = "optical_flow"
    deterministic = True
    frames = FRAMES

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a clip and its flow, see ``tasks.flow_colours``."""
        moving = animate(rng, self.data, FRAMES, size)
        largest = largest_speed(moving.flow)
        return Sample(moving.images, np.stack([paint_flow(f, largest) for f in moving.flow]))


def largest_speed(flow: F32) -> float:
    """Of all pixels of a clip's flow (T, S, S, 2), in px a frame; at least 1e-3."""
    return max(float(np.hypot(flow[..., 0], flow[..., 1]).max()), 1e-3)


class VideoDepth(Depth):
    """Paint inverse depth of a rendered clip, scaled over the whole clip."""

    name = "video_depth"
    frames = FRAMES

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a rendered clip and its inverse depth."""
        shots = rendered_clips.film(rng, self.data.photos, FRAMES, size)
        depth = np.stack([shot.depth for shot in shots if shot.depth is not None])
        near = rendered.depth_image(depth).astype(np.float32) / np.float32(255)
        painted = paint(near, style.foreground, style.background)
        return Sample(np.stack([shot.image for shot in shots]), painted)


class VideoNormals(FromCollage):
    """Paint the surface normals of a rendered clip as (n + 1) / 2."""

    name = "video_normals"
    deterministic = True
    frames = FRAMES

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a rendered clip and its normals."""
        shots = rendered_clips.film(rng, self.data.photos, FRAMES, size)
        normals = np.stack([shot.normals for shot in shots if shot.normals is not None])
        return Sample(np.stack([shot.image for shot in shots]), rendered.normal_image(normals))


class DepthToVideo(Reverse):
    """Make a clip whose inverse depth is given, near bright or far bright."""

    def __init__(self, data: Collage) -> None:
        super().__init__("depth_to_video", VideoDepth, data)

    def draw_style(self, rng: np.random.Generator) -> Style:
        """That of the depth."""
        return self.forward.draw_style(rng)


class VideoColorization(Colorization):
    """Give a grey clip its colours back."""

    name = "video_colorization"
    frames = FRAMES

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a clip; the input holds its grey in three channels."""
        target = clip(rng, self.data, FRAMES, size)
        grey = np.round(target @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
        return Sample(np.repeat(grey[..., None], 3, axis=-1), target)


class VideoDenoising(Denoising):
    """Take Gaussian noise off, anew in every frame."""

    name = "video_denoising"
    frames = FRAMES

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Draw a clip and add noise, clipped to [0, 255]."""
        target = clip(rng, self.data, FRAMES, size)
        return Sample(add_noise(rng, target, style.strength), target)


CLIP_TASKS: Mapping[str, Callable[[Collage], Task]] = {
    **{
        task.name: task
        for task in (
            *(FramePrediction, VideoSegmentation, VideoInstances, OpticalFlow, VideoDepth),
            *(VideoNormals, VideoColorization, VideoDenoising),
        )
    },
    "depth_to_video": DepthToVideo,
    "normal_to_video": partial(Reverse, "normal_to_video", VideoNormals),
}
"""Tasks whose inputs and targets are clips."""
