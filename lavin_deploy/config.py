"""Sizes of the models as frozen configs, with named presets.

The published size is ``3.4b`` (LaVin-DiT, arXiv 2411.11505); the authors gave no shapes for their
0.1 B and 1 B models, so ``0.1b`` and ``1b`` are ours. ``edge`` is what the default bundle holds and
``tiny`` is for tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.flow.grids import GRID_KINDS, GridKind

LATENT_SHIFT = 0.032470703125
LATENT_SCALE = 1.08936170213

TemporalNorm = Literal["clip", "frame"]
TEMPORAL_NORMS: tuple[TemporalNorm, ...] = get_args(TemporalNorm)
ContextMode = Literal["joint", "frozen"]
CONTEXTS: tuple[ContextMode, ...] = get_args(ContextMode)
Pairing = Literal["sequence", "merged"]
PAIRINGS: tuple[Pairing, ...] = get_args(Pairing)
Upsampler = Literal["resize_conv", "deconv"]
UPSAMPLERS: tuple[Upsampler, ...] = get_args(Upsampler)


def _require_positive(config: Any) -> None:
    """Refuse sizes that are not whole numbers of at least 1; other fields have checks of their own.

    Raises:
        InputError: naming the field.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if field.type not in ("int", "tuple[int, int]", "tuple[int, int, int, int]"):
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(type(number) is int and number >= 1 for number in numbers):
            raise InputError(
                f"{field.name} is {value!r} in the config; it takes whole numbers from 1 on."
            )


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """Sizes of J-DiT (paper section 3.3).

    Attributes:
        hidden_size: width D of a token.
        depth: number of joint blocks.
        num_heads: query heads; D / num_heads is the head width, a multiple of 6 (three RoPE axes).
        kv_group: query heads that share one key/value head.
        in_channels: channels of a latent.
        patch_size: side of the square patch, in latent cells, that makes a token.
        context: ``"joint"`` as published, every token attends to all and both streams see one t;
            ``"frozen"``: pairs attend to pairs, the query to pairs and itself, the target to all,
            and the context is modulated at t = 1, so that its keys and values never change.
        pairing: ``"sequence"`` as published, in1, tgt1, ..., query, target as frames one after
            another; ``"merged"``, input and target of a pair are one token a place, the query's
            tokens are added to the target's, frames count pairs and then the target. What a token
            of a pair shows is bound to its label from the start, so pairs are read (docs/LOG.md).
    """

    hidden_size: int
    depth: int
    num_heads: int
    kv_group: int = 4
    in_channels: int = 16
    patch_size: int = 2
    context: ContextMode = "joint"
    pairing: Pairing = "sequence"

    def __post_init__(self) -> None:
        _require_positive(self)
        if self.pairing not in PAIRINGS:
            raise unknown_name("pairing", self.pairing, PAIRINGS)
        if self.context not in CONTEXTS:
            raise unknown_name("context", self.context, CONTEXTS)
        if self.hidden_size % self.num_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}; "
                "choose a width that the heads divide."
            )
        if self.head_dim % 6:
            raise InputError(
                f"head width {self.head_dim} (hidden_size / num_heads) is not a multiple of 6, "
                "which 3D RoPE needs; 24, 48, 72 and 96 work and fuse well."
            )
        if self.num_heads % self.kv_group:
            raise InputError(
                f"num_heads {self.num_heads} is not a multiple of kv_group {self.kv_group}; "
                "every key/value head must serve the same number of query heads."
            )

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden_size // self.num_heads

    @property
    def num_kv_heads(self) -> int:
        """Number K of key/value heads."""
        return self.num_heads // self.kv_group

    @property
    def mlp_width(self) -> int:
        """Inner width of SwiGLU: (8/3) D rounded down to a multiple of 64."""
        return 8 * self.hidden_size // 3 // 64 * 64

    @property
    def token_width(self) -> int:
        """Numbers in one patch: patch_size^2 x in_channels."""
        return self.patch_size**2 * self.in_channels


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Sizes of ST-VAE (paper section 3.2).

    Attributes:
        block_out_channels: width of each of the four stages.
        layers_per_block: residual blocks of an encoder stage; a decoder stage has one more.
        latent_channels: channels of a latent.
        norm_groups: groups of every GroupNorm.
        temporal_norm: ``"clip"`` takes GroupNorm statistics over (T, H, W) as the released weights
            do; ``"frame"`` per frame, which makes the model strictly causal in time.
        upsampler: ``"resize_conv"`` as released, ``"deconv"`` as the paper's text says.
    """

    block_out_channels: tuple[int, int, int, int]
    layers_per_block: int
    latent_channels: int = 16
    norm_groups: int = 32
    temporal_norm: TemporalNorm = "clip"
    upsampler: Upsampler = "resize_conv"

    def __post_init__(self) -> None:
        _require_positive(self)
        if len(self.block_out_channels) != 4:
            raise InputError(
                f"block_out_channels has {len(self.block_out_channels)} stages; ST-VAE has four."
            )
        for width in self.block_out_channels:
            if width % self.norm_groups:
                raise InputError(
                    f"block_out_channels holds {width}, which is not a multiple of "
                    f"norm_groups {self.norm_groups}."
                )
        if self.temporal_norm not in TEMPORAL_NORMS:
            raise unknown_name("temporal_norm", self.temporal_norm, TEMPORAL_NORMS)
        if self.upsampler not in UPSAMPLERS:
            raise unknown_name("upsampler", self.upsampler, UPSAMPLERS)


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How a model is meant to be run; the defaults are those of the release.

    Attributes:
        size: (H, W) in pixels, multiples of 16.
        pairs: example pairs.
        steps: model evaluations.
        grid: kind of the time grid.
        guidance: weight w of the context; 1 leaves the null branch out.
    """

    size: tuple[int, int] = (512, 512)
    pairs: int = 4
    steps: int = 19
    grid: GridKind = "linear-quadratic"
    guidance: float = 1.5

    def __post_init__(self) -> None:
        _require_positive(self)
        if len(self.size) != 2:
            raise InputError(f"inference.size {list(self.size)} is not [height, width].")
        if self.grid not in GRID_KINDS:
            raise unknown_name("inference.grid", self.grid, GRID_KINDS)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that fixes the numbers of a model beside its weights.

    Attributes:
        dit: sizes of J-DiT.
        vae: sizes of ST-VAE.
        latent_shift: s in ``scaled = (mean - s) * f``.
        latent_scale: f in the same.
        inference: how to run it unless the user says otherwise.
    """

    dit: DiTConfig
    vae: VAEConfig
    latent_shift: float = LATENT_SHIFT
    latent_scale: float = LATENT_SCALE
    inference: Inference = Inference()

    def __post_init__(self) -> None:
        for name in ("latent_shift", "latent_scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"{name} is {value!r}; it is a number.")
        if not (math.isfinite(self.latent_shift) and 0 < abs(self.latent_scale) < math.inf):
            raise InputError("latent_shift must be finite and latent_scale finite and not 0.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data that ``from_dict`` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Read a ``config.json``; keys that are not ours are ignored.

        Raises:
            InputError: a part is missing or of the wrong type or size.
        """
        for part in ("dit", "vae"):
            if not isinstance(data.get(part), Mapping):
                raise InputError(f"the config has no object {part!r}; it needs 'dit' and 'vae'.")
        try:
            return cls(
                dit=DiTConfig(**_accepted(DiTConfig, data["dit"])),
                vae=VAEConfig(**_accepted(VAEConfig, data["vae"])),
                latent_shift=data.get("latent_shift", LATENT_SHIFT),
                latent_scale=data.get("latent_scale", LATENT_SCALE),
                inference=Inference(**_accepted(Inference, data.get("inference", {}))),
            )
        except (TypeError, AttributeError) as error:
            raise InputError(f"the config is incomplete or of wrong types: {error}.") from error


def _accepted(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``cls`` in ``data``, JSON's lists as tuples."""
    names = {field.name for field in fields(cls)}
    accepted = {key: value for key, value in data.items() if key in names}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in accepted.items()}


PRESETS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(
        dit=DiTConfig(hidden_size=96, depth=3, num_heads=4, kv_group=2),
        vae=VAEConfig(block_out_channels=(32, 32, 64, 64), layers_per_block=1),
        inference=Inference(size=(64, 64), pairs=2),
    ),
    "edge": ModelConfig(
        dit=DiTConfig(hidden_size=288, depth=6, num_heads=6, kv_group=3),
        vae=VAEConfig(
            block_out_channels=(32, 32, 64, 96),
            layers_per_block=1,
            norm_groups=16,
            temporal_norm="frame",
        ),
        inference=Inference(size=(128, 128), pairs=1, steps=1, grid="uniform", guidance=1.0),
    ),
    "0.1b": ModelConfig(
        dit=DiTConfig(hidden_size=576, depth=10, num_heads=8),
        vae=VAEConfig(block_out_channels=(64, 128, 128, 256), layers_per_block=2),
        inference=Inference(size=(256, 256)),
    ),
    "1b": ModelConfig(
        dit=DiTConfig(hidden_size=1152, depth=26, num_heads=16),
        vae=VAEConfig(block_out_channels=(128, 256, 256, 512), layers_per_block=3),
    ),
    "3.4b": ModelConfig(
        dit=DiTConfig(hidden_size=2304, depth=22, num_heads=32),
        vae=VAEConfig(block_out_channels=(128, 256, 256, 512), layers_per_block=3),
    ),
}


def preset(name: str) -> ModelConfig:
    """Return the preset of that name: ``tiny``, ``edge``, ``0.1b``, ``1b`` or ``3.4b``.

    Raises:
        InputError: no preset has that name.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]
