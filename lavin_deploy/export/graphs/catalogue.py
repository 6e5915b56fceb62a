"""Which graphs a bundle has: those of single frames here, those of video in :mod:`clip`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from lavin_deploy.config import ContextMode
from lavin_deploy.export.graphs.clip import clip_specs
from lavin_deploy.export.graphs.dialects import DIALECT_OPS
from lavin_deploy.export.graphs.frozen import ContextGraph, NullQueryGraph, TargetGraph
from lavin_deploy.export.graphs.fused import FusedDiT
from lavin_deploy.export.graphs.savings import DEFAULT, GraphRewrites
from lavin_deploy.export.graphs.spec import Arrays, Example, GraphSpec
from lavin_deploy.export.graphs.step import EulerGraph, ModulationGraph, StepGraph
from lavin_deploy.models.clip3d import ClipDecoder, ClipEncoder
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.rope3d import positions
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Decoder2d, Encoder2d
from lavin_deploy.names import Dialect

__all__ = ["Arrays", "Example", "GraphChoice", "GraphSpec", "graph_specs"]


@dataclass(frozen=True, kw_only=True)
class GraphChoice:
    """Which graphs to make.

    Attributes:
        sizes: (H, W) in pixels, multiples of 16.
        pairs: numbers of example pairs.
        context: ``joint``: whole steps; ``frozen``: keys and values of the context apart, for
            models trained so computed once, for others by a ``refresh`` step now and then.
        euler: also a step with the Euler update inside.
        rewrites: what to leave out.
        clips: frames of whole clips to encode and decode at once, each 4k + 1.
        chunk: latents of a stream's chunk, which has ``4 * chunk`` frames; None: no streams.
        dialect: of the ONNX files.
    """

    sizes: Sequence[tuple[int, int]]
    pairs: Sequence[int]
    context: ContextMode = "joint"
    euler: bool = False
    rewrites: GraphRewrites = DEFAULT
    clips: Sequence[int] = ()
    chunk: int | None = None
    dialect: Dialect = "native"


def graph_specs(dit: JDiT, vae: STVAE, choice: GraphChoice) -> Iterator[GraphSpec]:
    """All graphs of a bundle; weights are laid out once for all of them."""
    for spec in _specs(dit, vae, choice):
        yield replace(spec, dialect=choice.dialect)


def _specs(dit: JDiT, vae: STVAE, choice: GraphChoice) -> Iterator[GraphSpec]:
    fused = FusedDiT(dit, DIALECT_OPS[choice.dialect], choice.rewrites)
    modulation = ModulationGraph(dit)
    yield GraphSpec(
        name="modulation",
        inputs={"t": (1,)},
        outputs=("modulation",),
        build=lambda: modulation,
        reference=lambda t: (modulation(t),),
    )
    for height, width in choice.sizes:
        yield from _vae_specs(vae, height, width, flat=choice.rewrites.single_frame_vae)
        for pairs in (None, *choice.pairs):
            steps = _StepSpecs(dit, fused, modulation, choice, height, width, pairs)
            yield from steps.joint() if choice.context == "joint" else steps.frozen()
    yield from clip_specs(vae, choice.sizes, choice.chunk, choice.clips)


def _vae_specs(vae: STVAE, height: int, width: int, *, flat: bool) -> Iterator[GraphSpec]:
    latent = (1, vae.config.latent_channels, 1, height // 8, width // 8)
    yield GraphSpec(
        name="encoder",
        height=height,
        width=width,
        inputs={"pixels": (1, 3, 1, height, width)},
        outputs=("mean",),
        build=lambda: Encoder2d(vae) if flat else ClipEncoder(vae),
        reference=lambda pixels: (vae.encode(pixels).mean,),
    )
    yield GraphSpec(
        name="decoder",
        height=height,
        width=width,
        inputs={"latents": latent},
        outputs=("pixels",),
        build=lambda: Decoder2d(vae) if flat else ClipDecoder(vae),
        reference=lambda latents: (vae.decode(latents),),
    )


class _StepSpecs:
    """Step graphs of one size and number of pairs; None is the null condition of two frames."""

    def __init__(
        self,
        dit: JDiT,
        fused: FusedDiT,
        modulation: ModulationGraph,
        choice: GraphChoice,
        height: int,
        width: int,
        pairs: int | None,
    ) -> None:
        self.dit, self.fused, self.modulation, self.choice = dit, fused, modulation, choice
        self.suffix = "_null" if pairs is None else ""
        self.bucket: dict[str, Any] = {"height": height, "width": width, "pairs": pairs}
        self.shown = 2 if pairs is None else 2 * pairs + 1
        # The context's tokens: merged pairs have one frame each, and the query has none.
        self.merged = dit.config.pairing == "merged"
        self.frames = (pairs or 1) if self.merged else self.shown
        self.grid = {"rows": height // 8, "cols": width // 8}
        self.row = (1, dit.modulation_width)
        patch = dit.config.patch_size
        self.tokens = (self.grid["rows"] // patch) * (self.grid["cols"] // patch)

    def joint(self) -> Iterator[GraphSpec]:
        """``step``, and perhaps ``step_euler``."""
        yield self._whole("step", self._step())
        if self.choice.euler:
            spec = self._whole("step_euler", EulerGraph(self._step()))
            latent, *others = spec.inputs.items()

            def reference(
                latent: Tensor, dt: Tensor, t: Tensor, context: Tensor
            ) -> Sequence[Tensor]:
                return (latent + dt * self.dit(latent, t, context),)

            inputs = dict([latent, ("dt", (1,)), *others])
            yield replace(spec, inputs=inputs, outputs=("next",), reference=reference)

    def frozen(self) -> Iterator[GraphSpec]:
        """``context`` and ``step``, and ``query`` but for merged pairs; or ``refresh`` and ``step``
        for joint models.
        """
        keys_values = self._keys_values(self.frames)
        if self.dit.config.context == "joint":
            refresh = self._step(with_context=True)
            yield replace(
                self._whole("refresh", refresh),
                outputs=("velocity", *keys_values),
                reference=lambda latent, context, t: refresh(latent, context, self.modulation(t)),
            )
        elif self.merged:
            context = ContextGraph(self.fused, start=0, frames=self.frames, **self.grid)
            latents = {"context": self._latents(self.shown - 1)}
            yield self._apart("context", context, latents, keys_values)
        elif self.suffix:
            null = NullQueryGraph(self.fused, **self.grid)
            yield self._apart("query", null, {"query": self._latents(1)}, keys_values)
        else:
            pairs = ContextGraph(self.fused, start=0, frames=self.frames - 1, **self.grid)
            query = ContextGraph(self.fused, start=self.frames - 1, frames=1, **self.grid)
            pair_keys_values = self._keys_values(self.frames - 1)
            pair_latents = {"context": self._latents(self.frames - 1)}
            yield self._apart("context", pairs, pair_latents, pair_keys_values)
            inputs = {f"pair_{name}": shape for name, shape in pair_keys_values.items()}
            latents = {"query": self._latents(1)}
            yield self._apart("query", query, latents, keys_values, inputs)
        target = TargetGraph(self.fused, context_frames=self.frames, **self.grid)
        past = {"query": self._latents(1), **keys_values} if self.merged else keys_values
        yield self._apart("step", target, {"latent": self._latents(1)}, {"velocity": ()}, past)

    def _step(self, *, with_context: bool = False) -> StepGraph:
        time = None if self.choice.rewrites.folded_time else self.modulation
        return StepGraph(
            self.fused,
            context_frames=self.frames,
            time=time,
            with_context=with_context,
            **self.grid,
        )

    def _whole(self, name: str, module: nn.Module) -> GraphSpec:
        """A graph that sees the context's latents."""
        folded = self.choice.rewrites.folded_time
        time = {"modulation": self.row} if folded else {"t": (1,)}
        moving = {}
        if not self.choice.rewrites.rope_constants:
            patch = self.dit.config.patch_size
            rows, cols = self.grid["rows"] // patch, self.grid["cols"] // patch
            moving = {"positions": positions(0, self.frames + 1, rows, cols).float()}
        return GraphSpec(
            name=f"{name}{self.suffix}",
            **self.bucket,
            inputs={"latent": self._latents(1), "context": self._latents(self.shown), **time},
            outputs=("velocity",),
            build=lambda: module,
            reference=lambda latent, context, t: (self.dit(latent, t, context),),
            modulation=self.modulation if folded else None,
            overridable=moving,
        )

    def _apart(
        self,
        name: str,
        module: nn.Module,
        latents: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[int, ...]],
        keys_values: Mapping[str, tuple[int, ...]] | None = None,
    ) -> GraphSpec:
        """A graph that takes or gives keys and values; the plain model has no such outputs."""

        def reference(t: Tensor, **others: Tensor) -> Sequence[Tensor]:
            (first, *past) = others.values()
            result = module(first, self.modulation(t), *past)
            return (result,) if isinstance(result, Tensor) else result

        return GraphSpec(
            name=f"{name}{self.suffix}",
            **self.bucket,
            inputs={**latents, "modulation": self.row, **(keys_values or {})},
            outputs=tuple(outputs),
            build=lambda: module,
            reference=reference,
            modulation=self.modulation,
        )

    def _latents(self, frames: int) -> tuple[int, ...]:
        return (1, self.dit.config.in_channels, frames, self.grid["rows"], self.grid["cols"])

    def _keys_values(self, frames: int) -> dict[str, tuple[int, ...]]:
        config = self.dit.config
        shape = (1, config.num_kv_heads, frames * self.tokens, config.head_dim)
        return {f"{part}.{index}": shape for index in range(config.depth) for part in ("k", "v")}
