"""What an export is asked for, checked, and the manifest that follows from it alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lavin_deploy import __version__
from lavin_deploy.bundle import manifest
from lavin_deploy.config import ContextMode, ModelConfig
from lavin_deploy.errors import InputError
from lavin_deploy.export.dialect_export import FP32
from lavin_deploy.export.graphs.catalogue import GraphChoice
from lavin_deploy.export.graphs.clip import check_video
from lavin_deploy.export.graphs.savings import DEFAULT, GraphRewrites
from lavin_deploy.flow.grids import Grid, grid_for
from lavin_deploy.flow.guidance import check_weight
from lavin_deploy.limits import LIMITS
from lavin_deploy.names import QUANTISED, Dialect
from lavin_deploy.tasks.stored import StoredTask

MOST_PAIRS, MOST_FRAMES = 1024, 1025
"""Of a context and of a clip; graphs grow with them, and no device runs such."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to export.

    Attributes:
        name: name of the bundle.
        out: folder to write, ``NAME.lavin``.
        config: the model's config.
        source: kind and sha256 of the weights.
        licence: of the weights, as text.
        sizes: (H, W) in pixels, multiples of 16; the first is the default.
        pairs: numbers of example pairs; the first is the default.
        steps: default model evaluations.
        guidance: default weight.
        context: ``joint`` or ``frozen``, see :class:`GraphChoice`.
        refresh: for ``frozen`` exports of joint models: evaluations from one computation of the
            context to the next.
        euler: also export a step with the Euler update inside.
        rewrites: what the graphs leave out.
        precisions: of the variants, the default first.
        dialects: ``native`` or ``portable`` or both.
        calibration: folder of samples that int8 and fp8 are fitted to, one folder per task; None
            takes the tasks' own pairs.
        gate: JSON file with limits in place of the package's, or None.
        auto: search which modules to keep in float32 where a lowering does not pass.
        force: ship what the gate refuses, unless it overflows.
        clips: frames of whole clips to encode and decode at once, each 4k + 1.
        stream: latents of a stream's chunk (4 frames each); None: no stream graphs.
        model_card: README.md of the bundle, or None.
        credits: DATA.md of the bundle, what the weights were trained on, or None.
        tasks: tasks to store, each with the folder of its pairs.
        validation: folder of held-out samples to store, one folder per task, or None.
    """

    name: str
    out: Path
    config: ModelConfig
    source: manifest.WeightSource
    licence: str
    sizes: Sequence[tuple[int, int]]
    pairs: Sequence[int]
    steps: int
    guidance: float
    context: ContextMode = "joint"
    refresh: int = 4
    euler: bool = False
    rewrites: GraphRewrites = DEFAULT
    precisions: Sequence[str] = (FP32,)
    dialects: Sequence[Dialect] = ("native",)
    calibration: Path | None = None
    gate: Path | None = None
    auto: bool = False
    force: bool = False
    clips: Sequence[int] = ()
    stream: int | None = None
    model_card: str | None = None
    credits: str | None = None
    tasks: Sequence[tuple[StoredTask, Path]] = ()
    validation: Path | None = None

    def __post_init__(self) -> None:
        for height, width in self.sizes:
            if height < 16 or width < 16 or height % 16 or width % 16:
                raise InputError(
                    f"size {height}x{width} cannot be exported; both sides must be multiples of 16."
                )
        for name, counts, most in (
            ("size", [side for size in self.sizes for side in size], LIMITS.pixels_a_side),
            ("pairs", self.pairs, MOST_PAIRS),
            ("clip", self.clips, MOST_FRAMES),
            ("stream", [self.stream or 0], MOST_FRAMES // 4),
            ("refresh", [self.refresh], LIMITS.steps),
        ):
            if max(counts, default=0) > most:
                raise InputError(f"{name} is {max(counts)}; at most {most} can be exported.")
        if any(count < 1 for count in self.pairs):
            raise InputError(f"pairs {list(self.pairs)} must all be at least 1.")
        for name, values in (
            ("size", self.sizes),
            ("pairs", self.pairs),
            ("precision", self.precisions),
            ("dialect", self.dialects),
        ):
            if len(set(values)) != len(values):
                raise InputError(f"a {name} is given twice: {list(values)}; give each once.")
        if self.context == "joint" and self.config.dit.context == "frozen":
            raise InputError(
                "this model was trained with a frozen context and cannot be exported as a joint "
                "one; use --context frozen."
            )
        if self.context == "frozen" and self.rewrites != DEFAULT:
            raise InputError(
                "graph rewrites can be switched in joint exports only; use one of both."
            )
        if set(self.precisions) & set(QUANTISED) and not self.tasks and self.calibration is None:
            raise InputError(
                f"{' and '.join(p for p in self.precisions if p in QUANTISED)} is fitted to real "
                "pictures and there are none; give --tasks or --calibration."
            )
        if self.calibration is not None and not self.calibration.is_dir():
            raise InputError(f"--calibration {self.calibration} is not a folder.")
        if self.refresh < 1:
            raise InputError(f"refresh is {self.refresh}; it counts evaluations and is at least 1.")
        check_video(self.clips, self.stream)
        check_weight(self.guidance)
        grid_for(self.steps, self.config.inference.grid)

    @property
    def grid(self) -> Grid:
        """Of the default number of steps."""
        return grid_for(self.steps, self.config.inference.grid)

    @property
    def choice(self) -> GraphChoice:
        """Which graphs to make."""
        return GraphChoice(
            sizes=self.sizes,
            pairs=self.pairs,
            context=self.context,
            euler=self.euler,
            rewrites=self.rewrites,
            clips=self.clips,
            chunk=self.stream,
        )


def first_manifest(
    request: ExportRequest, variants: tuple[manifest.Variant, ...]
) -> manifest.Manifest:
    """The manifest without what the checks and the tasks add."""
    config = request.config
    return manifest.Manifest(
        name=request.name,
        created_by=f"lavin-deploy {__version__}",
        licence=request.licence,
        source=request.source,
        model=config.to_dict(),
        latent=manifest.Latent(
            shift=config.latent_shift,
            scale=config.latent_scale,
            channels=config.vae.latent_channels,
        ),
        time=manifest.Time(
            kind=config.inference.grid, default_grid=tuple(float(t) for t in request.grid)
        ),
        defaults=manifest.Defaults(
            steps=request.steps,
            guidance=request.guidance,
            precision=request.precisions[0],
            pairs=request.pairs[0],
            size=request.sizes[0],
        ),
        buckets=tuple(
            manifest.Bucket(height=h, width=w, pairs=p)
            for h, w in request.sizes
            for p in request.pairs
        ),
        variants=variants,
        tables={},
    )
