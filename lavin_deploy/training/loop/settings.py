"""Settings of a training run: what both trainers share, the ST-VAE's and the J-DiT's.

Named choices of them are in :mod:`recipes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import cast, get_args

from lavin_deploy.config import ContextMode, ModelConfig, Pairing, TemporalNorm, Upsampler, preset
from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.training.loop.ranges import RANGES, check_range, check_side

CELL = 8
"""Pixels of a latent cell's side."""
ALL, EVERYTHING = "all", "everything"

ALL_TASKS: Mapping[str, float] = {
    **{"segmentation": 4, "edges": 2, "depth": 2, "normals": 2, "matting": 1, "removal": 1},
    **{"colorization": 2, "inpainting": 2, "denoising": 1, "deblurring": 1, "low_light": 1},
    **{"motion_deblurring": 1, "glass_deblurring": 1, "deraining": 1, "jpeg_repair": 1},
    **{"super_resolution": 1, "next_frame": 2},
    **{"detection": 2, "panoptic": 2, "pose": 2},
    **{"pose_to_image": 1, "depth_to_image": 1, "normal_to_image": 1},
    **{"land_mask": 1, "relief": 1, "brain_mask": 1, "tissue": 1, "nuclei": 1},
}
"""Every image task that models are trained on, with its weight; what ``tasks=all`` means."""

EVERYTHING_WEIGHTS: Mapping[str, float] = {
    **ALL_TASKS,
    **{"segmentation": 60, "edges": 5, "depth": 4, "normals": 4, "inpainting": 12},
}
"""Image tasks of the default model: those that ship are drawn more often, so that they are kept."""

FAMILY_WEIGHTS: Mapping[str, float] = {
    **{"follow": 100, "class": 4, "region": 10, "rule": 80, "filter": 36, "geometry": 2},
    **{"atlas": 2, "propagate": 4},
}
"""Families of episodes in which only the pair says what is asked."""

CLIP_WEIGHTS: Mapping[str, float] = {
    **{"frame_prediction": 1, "video_segmentation": 1, "video_denoising": 1, "video_depth": 1},
}
"""Clip tasks of the default model."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What both trainers share.

    Attributes:
        preset: model sizes, a name of :data:`lavin_deploy.config.PRESETS`.
        steps: optimiser steps in all.
        warmup: steps over which the learning rate rises from 0.
        decay: share of ``steps``, at the end, over which it falls to 0.
        learning_rate: peak rate of AdamW.
        weight_decay: decoupled decay on matrices.
        clip: largest gradient norm.
        ema: decay per step of the averaged weights.
        bf16: run matrix work in bfloat16 where the CPU can (master weights stay float32).
        seed: of data and noise; sample i of step k draws from (seed, k, i), so a resumed run
            repeats nothing, and the number of processes changes nothing.
        save_minutes: time between checkpoints.
        batch: samples of a step, over all processes.
        accumulate: micro-batches into which each process cuts its share.
        compiled: put the blocks through torch.compile; needs a C++ compiler and a minute or two.
        recompute: keep only the blocks' inputs for the backward pass and compute the rest again.
        sharded: under torchrun, shard parameters and optimiser state (FSDP2), else copy them (DDP).

    Raises:
        InputError: a number is outside of its range, see ``ranges``.
    """

    preset: str = "edge"
    steps: int = 1000
    warmup: int = 200
    decay: float = 0.2
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    bf16: bool = True
    seed: int = 0
    save_minutes: float = 3.0
    batch: int = 64
    accumulate: int = 1
    compiled: bool = False
    recompute: bool = False
    sharded: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name in RANGES:
                check_range(field.name, getattr(self, field.name))

    def fixed(self) -> dict[str, object]:
        """What a run cannot change when it goes on: what makes the model, and what is trained."""
        return {"preset": self.preset}


@dataclass(frozen=True, kw_only=True)
class VAERecipe(Recipe):
    """ST-VAE, phase 1 on pictures (one frame), phase 2 on clips and pictures (paper section 3.2).

    Attributes:
        size: side in pixels.
        frames: of a clip, 4k + 1; 1 is phase 1.
        stills: share of the steps on single frames in phase 2.
        labels: share of single frames that are flat label images, see ``stvae.draw_labels``; the
            rest are inputs and targets of tasks.
        temporal_only: train what clips alone can see and keep single frames as they are, see
            ``temporal``; latent shift and scale stay too.
        decoder_only: train the decoder and keep the encoder, so that all latents stay.
        l1: weight of the mean absolute error.
        mse: weight of the mean square error.
        perceptual: ``none``, ``efficientnet-lite0`` or ``lpips-vgg``, see ``perceptual``.
        perceptual_weight: its weight.
        disc_weight: weight of the patch discriminator's loss beside its adaptive weight; 0: none.
        disc_start: share of the steps after which the discriminator begins.
        kl: weight of the KL divergence per latent element.
        distillation: share of the steps, from the start, in which the linear code is the latent of
            single frames.
        temporal_norm: ``clip``, ``frame``, or empty for the preset's.
        upsampler: ``resize_conv``, ``deconv``, or empty for the preset's.
    """

    steps: int = 3000
    batch: int = 24
    size: int = 64
    frames: int = 1
    stills: float = 0.2
    labels: float = 0.0
    temporal_only: bool = False
    decoder_only: bool = False
    l1: float = 1.0
    mse: float = 1.0
    perceptual: str = "none"
    perceptual_weight: float = 1.0
    disc_weight: float = 0.0
    disc_start: float = 0.5
    kl: float = 3e-4
    distillation: float = 0.5
    temporal_norm: str = ""
    upsampler: str = ""

    def fixed(self) -> dict[str, object]:
        """See :class:`Recipe`."""
        vae = preset(self.preset).vae
        return {
            "preset": self.preset,
            "temporal_only": self.temporal_only,
            "decoder_only": self.decoder_only,
            "temporal_norm": self.temporal_norm or vae.temporal_norm,
            "upsampler": self.upsampler or vae.upsampler,
            "a discriminator": self.disc_weight > 0,
        }

    def adapt(self, config: ModelConfig) -> ModelConfig:
        """Return a model config with the recipe's own choices.

        Raises:
            InputError: one of them is unknown, ``frames`` is not 4k + 1, or the model cannot have
                ``size``.
        """
        check_side("size", self.size, CELL)
        if self.frames < 1 or self.frames % 4 != 1:
            raise InputError(f"frames is {self.frames}; clips have 1, 5, 9, ... frames.")
        norm, upsampler = self.temporal_norm, self.upsampler
        if norm and norm not in get_args(TemporalNorm):
            raise unknown_name("temporal_norm", norm, get_args(TemporalNorm))
        if upsampler and upsampler not in get_args(Upsampler):
            raise unknown_name("upsampler", upsampler, get_args(Upsampler))
        vae = replace(
            config.vae,
            temporal_norm=cast(TemporalNorm, norm or config.vae.temporal_norm),
            upsampler=cast(Upsampler, upsampler or config.vae.upsampler),
        )
        return replace(config, vae=vae)


@dataclass(frozen=True, kw_only=True)
class DiTRecipe(Recipe):
    """J-DiT by conditional flow matching (paper section 3.4).

    Attributes:
        max_pairs: pairs of a sample, drawn from 1 to this.
        one_pair: share, in [0, 1], of the steps with more pairs that have one instead: it is what
            bundles take by default, the least to read from, and the cheapest.
        at_noise: share of samples trained at t = 0 exactly, where the velocity is the conditional
            mean and so the answer of a deterministic task; the rest draw t ~ LogitNormal(0, 1).
        drop: share of batches whose pairs give way to one zero latent, for guidance.
        size: side of the images in pixels.
        groups: groups of 16 items encoded before training starts, shared out by the tasks'
            weights; a run that goes on may have more. Small steps have as many times more as their
            pictures have fewer pixels.
        tasks: ``name:weight`` of every task drawn, separated by commas; or ``all``, which is
            ``ALL_TASKS`` as far as the prepared folder has pictures for them; or ``everything``,
            which is these by ``EVERYTHING_WEIGHTS`` with ``FAMILY_WEIGHTS`` and ``CLIP_WEIGHTS``.
        l1: weight of the mean absolute error beside the mean square one; 0.1 in the release's code.
        context: ``joint``, ``frozen`` (the context never sees the target, see ``config``), or empty
            for the preset's.
        pairing: ``sequence``, ``merged`` (a pair is one token a place, see ``config``), or empty
            for the preset's; weights of the first to start from are converted to the second.
        queries: answers asked under one drawing of pairs, whose keys and values a frozen context
            with merged pairs computes once; ``batch`` counts answers.
        foreground: how much more than the rest the marked places of masks count, on top of 1.
        held_out: groups of held-out pictures of each task that are encoded to validate on; 0: none.
        validate_every: steps between two validations, see ``mix``.
        first_tasks: ``name:weight`` of what a curriculum begins with; empty: none.
        first_size: side of its pictures, and of the small steps'.
        first_reading: held-out reading, see ``validation``, from which on the curriculum is left.
        small_steps: share of the steps after it, in [0, 1], that are drawn at ``first_size``: a
            quarter of the tokens at half the side, so several times the samples.
        segments: K equal segments of [0, 1] whose ends the model learns to reach by one Euler step
            each, see ``consistency``; the weights of ``--init-from`` are the teacher, ``at_noise``
            is the share of samples at the start of a segment. 0: no teacher.
        teacher_steps: Euler steps of the teacher's whole path, a multiple of K: many for a field of
            velocities, and K' for weights that were distilled to K' segments.
        pixel_l1: weight of the mean absolute error of the decoded one-step answer against the
            target's pixels, see ``pixels``; deterministic tasks only.
        pixel_perceptual: weight of the EfficientNet-Lite0 distance of the same two.
        velocity: weight of the velocity's (at t = 0 the latents') loss beside these two.
        lora: rank of adapters that are trained in place of the weights, see ``lora``; 0: none.
    """

    size: int = 64
    groups: int = 1500
    tasks: str = "segmentation:1"
    max_pairs: int = 1
    one_pair: float = 0.0
    at_noise: float = 0.7
    drop: float = 0.05
    l1: float = 0.0
    context: str = ""
    pairing: str = ""
    queries: int = 1
    foreground: float = 0.0
    held_out: int = 0
    validate_every: int = 1000
    first_tasks: str = ""
    first_size: int = 64
    first_reading: float = 0.5
    small_steps: float = 0.0
    segments: int = 0
    teacher_steps: int = 32
    pixel_l1: float = 0.0
    pixel_perceptual: float = 0.0
    velocity: float = 1.0
    lora: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context and self.context not in get_args(ContextMode):
            raise unknown_name("context", self.context, get_args(ContextMode))
        if self.pairing and self.pairing not in get_args(Pairing):
            raise unknown_name("pairing", self.pairing, get_args(Pairing))

    @property
    def in_pixels(self) -> bool:
        """Whether answers are decoded and compared with the targets' pixels."""
        return self.pixel_l1 > 0 or self.pixel_perceptual > 0

    def fixed(self) -> dict[str, object]:
        """See :class:`Recipe`."""
        dit = preset(self.preset).dit
        return {
            "preset": self.preset,
            "context": self.context or dit.context,
            "pairing": self.pairing or dit.pairing,
            "lora": self.lora,
        }

    def adapt(self, config: ModelConfig) -> ModelConfig:
        """Return a model config with the recipe's own choices.

        Few-step models say how they are to be run: as many steps of a uniform grid, unguided.

        Raises:
            InputError: the model cannot have ``size`` or ``first_size``, or answers of one step
                meet several steps.
        """
        for name in ("size", "first_size"):
            check_side(name, getattr(self, name), CELL * config.dit.patch_size)
        if self.in_pixels and (self.segments or self.at_noise < 1 or self.drop > 0):
            raise InputError(
                "pixel_l1 and pixel_perceptual compare answers of one step from t = 0 under pairs; "
                "set at_noise=1, drop=0 and segments=0."
            )
        if self.segments or self.in_pixels:
            few = replace(config.inference, steps=self.segments or 1, grid="uniform", guidance=1.0)
            config = replace(config, inference=few)
        dit = replace(
            config.dit,
            context=cast(ContextMode, self.context or config.dit.context),
            pairing=cast(Pairing, self.pairing or config.dit.pairing),
        )
        return replace(config, dit=dit)
