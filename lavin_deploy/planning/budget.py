"""The paper budget of a model in one setting: memory, and what each stage computes and moves.

Sizes in bytes follow what the export writes: fp16 and bf16 lower everything; int8 and fp8 quantise
the products in J-DiT's blocks and leave the rest, the ST-VAE with it, in float32; keys and values
are float16 in an fp16 variant and float32 in all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lavin_deploy.config import DiTConfig, ModelConfig
from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.planning.counts import Count, run_twice, total_of
from lavin_deploy.planning.jdit_counts import count_context, count_joint, count_target, keys_values
from lavin_deploy.planning.stvae_counts import count_decoder, count_encoder

CELL = 8
"""Pixels along a side of one latent cell."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Types of a variant.

    Attributes:
        name: as in a manifest.
        rank: higher is closer to float32; equal ranks are not compared.
        products: precision whose peak the products in J-DiT's blocks run at.
        rest: that of everything else.
        product_bytes: of one weight of those products.
        rest_bytes: of any other weight, and of an activation.
        kv_bytes: of a key or value.
    """

    name: str
    rank: int
    products: str
    rest: str
    product_bytes: int
    rest_bytes: int
    kv_bytes: int


def _precision(name: str, rank: int, rest: str, sizes: tuple[int, int, int]) -> Precision:
    return Precision(
        name=name,
        rank=rank,
        products=name,
        rest=rest,
        product_bytes=sizes[0],
        rest_bytes=sizes[1],
        kv_bytes=sizes[2],
    )


PRECISIONS = {
    "fp32": _precision("fp32", 3, "fp32", (4, 4, 4)),
    "fp16": _precision("fp16", 2, "fp16", (2, 2, 2)),
    "bf16": _precision("bf16", 2, "bf16", (2, 2, 4)),
    "fp8": _precision("fp8", 1, "fp32", (1, 4, 4)),
    "int8": _precision("int8", 1, "fp32", (1, 4, 4)),
}

Often = Literal["task", "answer", "step"]
"""When a stage runs: when the task changes, once an answer, in steps."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is fixed before a run.

    Attributes:
        model: sizes.
        height: pixels, a multiple of 16.
        width: likewise.
        pairs: example pairs.
        precision: name of one of :data:`PRECISIONS`.
        frozen: whether steps take keys and values of the context.
        refresh: for joint models that do: a whole step every N steps; None for others.
        guidance: weight; 1 runs no null branch.
    """

    model: ModelConfig
    height: int
    width: int
    pairs: int
    precision: str
    frozen: bool
    refresh: int | None = None
    guidance: float = 1.0

    @property
    def context(self) -> str:
        """``joint``, ``frozen`` or ``refresh R``."""
        if self.refresh is not None:
            return f"refresh {self.refresh}"
        return "frozen" if self.frozen else "joint"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One graph of a setting.

    Attributes:
        graph: its name in a manifest.
        often: when it runs.
        count: what one run does.
        weights: bytes of weights, each read once a run.
        traffic: bytes of one run from and to memory, weights included.
        scratch: bytes of activations that exist at once.
    """

    graph: str
    often: Often
    count: Count
    weights: int
    traffic: int
    scratch: int

    def runs(self, steps: int, refresh: int | None) -> int:
        """Runs an answer of so many steps takes of the stage."""
        if self.often != "step":
            return int(self.often == "answer")
        refreshed = 0 if refresh is None else -(-steps // refresh)
        return refreshed if self.graph.startswith("refresh") else steps - refreshed


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a setting takes.

    Attributes:
        setting: what.
        stages: its graphs.
        weights: bytes; every engine has its own copy.
        keys_values: bytes between the engines.
        activations: bytes; every engine has its own scratch memory.
    """

    setting: Setting
    stages: tuple[Stage, ...]
    weights: int
    keys_values: int
    activations: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.weights + self.keys_values + self.activations


def budget(setting: Setting) -> Budget:
    """Count a setting.

    Raises:
        InputError: an unknown precision, or a size that cannot be cut into patches.
    """
    if setting.precision not in PRECISIONS:
        raise unknown_name("precision", setting.precision, PRECISIONS)
    stages = tuple(_stage(setting, name, often) for name, often in _graphs(setting))
    return Budget(
        setting=setting,
        stages=stages,
        weights=sum(stage.weights for stage in stages),
        keys_values=_keys_values(setting),
        activations=sum(stage.scratch for stage in stages),
    )


def count_graph(
    model: ModelConfig, name: str, *, height: int, width: int, pairs: int, frozen: bool
) -> Count:
    """Count a graph.

    Args:
        model: sizes.
        name: as in a manifest: ``encoder``, ``decoder``, ``step``, ``refresh``, ``context``,
            ``query``, and ``step_null``, ``refresh_null``, ``query_null``, ``context_null``.
        height: pixels, a multiple of 16.
        width: likewise.
        pairs: example pairs; the null condition has two frames whatever they are.
        frozen: whether ``step`` takes keys and values of the context.

    Raises:
        InputError: the size cannot be cut into patches.
    """
    patch = CELL * model.dit.patch_size
    if height < 1 or width < 1 or height % patch or width % patch:
        raise InputError(
            f"a size of {height}x{width} cannot be cut into patches; height and width are "
            f"multiples of {patch}."
        )
    cells = (height // CELL) * (width // CELL)
    if name == "encoder":
        return total_of(count_encoder(model.vae, cells))
    if name == "decoder":
        return total_of(count_decoder(model.vae, cells))
    tokens = (height // patch) * (width // patch)
    kind, _, null = name.partition("_")
    dit = model.dit
    frames = context_frames(dit, pairs, null=bool(null))
    if kind == "context" and dit.pairing == "merged":
        return total_of(count_context(dit, tokens=frames * tokens, past=0))
    if kind == "context":
        return total_of(count_context(dit, tokens=(frames - 1) * tokens, past=0))
    if kind == "query" and null:  # the zero frame, then the query
        both = (count_context(dit, tokens=tokens, past=past) for past in (0, tokens))
        return run_twice(*map(total_of, both))
    if kind == "query":
        return total_of(count_context(dit, tokens=tokens, past=(frames - 1) * tokens))
    if kind == "step" and frozen:
        return total_of(count_target(dit, tokens=tokens, past=frames * tokens))
    assert kind in ("step", "refresh"), name
    whole = total_of(count_joint(dit, tokens=tokens, context=frames * tokens))
    return whole + Count(keys_values=keys_values(dit, frames * tokens) * (kind == "refresh"))


def _graphs(setting: Setting) -> Iterator[tuple[str, Often]]:
    null = setting.guidance != 1
    yield "encoder", "answer"
    if setting.refresh is not None:
        yield "refresh", "step"
        if null:
            yield "refresh_null", "step"
    elif setting.frozen:
        merged = setting.model.dit.pairing == "merged"
        yield "context", "task"
        if not merged:
            yield "query", "answer"
        if null:
            yield ("context_null", "task") if merged else ("query_null", "answer")
    yield "step", "step"
    if null:
        yield "step_null", "step"
    yield "decoder", "answer"


def _stage(setting: Setting, name: str, often: Often) -> Stage:
    precision = PRECISIONS[setting.precision]
    count = count_graph(
        setting.model,
        name,
        height=setting.height,
        width=setting.width,
        pairs=setting.pairs,
        frozen=setting.frozen,
    )
    weights = (
        count.product_weights * precision.product_bytes + count.other_weights * precision.rest_bytes
    )
    traffic = weights + count.moved * precision.rest_bytes
    traffic += count.keys_values * precision.kv_bytes
    scratch = count.live * precision.rest_bytes
    if precision.rest == "fp32":
        # TensorRT's fused attention is for 16 bits: here scores are written, normed and read.
        traffic += 4 * count.scores * precision.rest_bytes
        scratch += count.live_scores * precision.rest_bytes
    return Stage(
        graph=name,
        often=often,
        count=count,
        weights=weights,
        traffic=traffic,
        scratch=scratch,
    )


def _keys_values(setting: Setting) -> int:
    """Bytes of the keys and values that a run holds: of the pairs, and of pairs and query."""
    if not setting.frozen:
        return 0
    patch = CELL * setting.model.dit.patch_size
    tokens = (setting.height // patch) * (setting.width // patch)
    dit = setting.model.dit
    frames = context_frames(dit, setting.pairs)
    if setting.refresh is None and dit.pairing == "sequence":
        frames += 2 * setting.pairs  # the query's graph gives those of the pairs again
    if setting.guidance != 1:
        frames += context_frames(dit, setting.pairs, null=True)
    return keys_values(dit, frames * tokens) * PRECISIONS[setting.precision].kv_bytes


def context_frames(dit: DiTConfig, pairs: int, *, null: bool = False) -> int:
    """Frames of tokens that a context has: merged pairs one each, and no query."""
    if dit.pairing == "merged":
        return 1 if null else pairs
    return 2 if null else 2 * pairs + 1
