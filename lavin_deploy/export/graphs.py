"""Which graphs a bundle has, their inputs and outputs, and tracing them to ONNX.

One specification of inputs feeds dummies, ONNX names, parity checks and the manifest.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from lavin_deploy.config import ModelConfig
from lavin_deploy.export.step import ModulationGraph, StepGraph
from lavin_deploy.export.vae2d import Decoder2d, Encoder2d
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE

OPSET = 23


@dataclass(frozen=True, kw_only=True)
class GraphPlan:
    """One graph to export.

    Attributes:
        name: ``encoder``, ``decoder``, ``step``, ``step_null`` or ``modulation``.
        height: pixel rows, None where the graph does not depend on the size.
        width: pixel columns, the same.
        pairs: example pairs, only for ``step``.
        inputs: input name -> shape, all float32.
        output: name of the one output.
        build: makes the module to trace.
        reference: the plain model's answer to the same inputs.
    """

    name: str
    height: int | None
    width: int | None
    pairs: int | None
    inputs: dict[str, tuple[int, ...]]
    output: str
    build: Callable[[], nn.Module]
    reference: Callable[..., Tensor]

    @property
    def file(self) -> str:
        """Path of the ONNX file in the bundle, e.g. ``graphs/step-128x128-p1.onnx``."""
        size = f"-{self.height}x{self.width}" if self.height else ""
        pairs = f"-p{self.pairs}" if self.pairs else ""
        return f"graphs/{self.name}{size}{pairs}.onnx"

    def draw(self, seed: int) -> dict[str, np.ndarray]:
        """Seeded inputs of the field's ranges: pixels in [-1, 1], t in [0, 1], latents N(0, 1)."""
        rng = np.random.default_rng(seed)
        feed = {}
        for name, shape in self.inputs.items():
            if name == "t":
                feed[name] = rng.random(shape, dtype=np.float32)
            elif name == "pixels":
                feed[name] = rng.uniform(-1, 1, shape).astype(np.float32)
            else:
                feed[name] = rng.standard_normal(shape, dtype=np.float32)
        return feed


def plan_graphs(
    dit: JDiT, vae: STVAE, sizes: list[tuple[int, int]], pairs: list[int]
) -> Iterator[GraphPlan]:
    """All graphs of a joint-context bundle.

    Args:
        dit: the transformer.
        vae: the autoencoder.
        sizes: (H, W) in pixels, multiples of 16.
        pairs: numbers of example pairs.
    """
    channels = dit.config.in_channels
    row = (1, dit.modulation_width)
    modulation = ModulationGraph(dit)
    yield GraphPlan(
        name="modulation",
        height=None,
        width=None,
        pairs=None,
        inputs={"t": (1,)},
        output="modulation",
        build=lambda: modulation,
        reference=modulation,
    )
    for height, width in sizes:
        rows, cols = height // 8, width // 8
        latent = (1, channels, 1, rows, cols)
        yield GraphPlan(
            name="encoder",
            height=height,
            width=width,
            pairs=None,
            inputs={"pixels": (1, 3, 1, height, width)},
            output="mean",
            build=lambda: Encoder2d(vae),
            reference=lambda pixels: vae.encode(pixels).mean,
        )
        yield GraphPlan(
            name="decoder",
            height=height,
            width=width,
            pairs=None,
            inputs={"latents": latent},
            output="pixels",
            build=lambda: Decoder2d(vae),
            reference=vae.decode,
        )
        for count in (None, *pairs):
            frames = 2 if count is None else 2 * count + 1
            yield GraphPlan(
                name="step_null" if count is None else "step",
                height=height,
                width=width,
                pairs=count,
                inputs={
                    "latent": latent,
                    "context": (1, channels, frames, rows, cols),
                    "modulation": row,
                },
                output="velocity",
                build=lambda frames=frames, rows=rows, cols=cols: StepGraph(  # type: ignore[misc]
                    dit, context_frames=frames, rows=rows, cols=cols
                ),
                reference=dit,
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and deprecation notes off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def trace(plan: GraphPlan, config: ModelConfig) -> onnx.ModelProto:
    """Trace a graph to ONNX at opset 23 through torch's dynamo exporter; static shapes."""
    inputs = tuple(torch.from_numpy(array) for array in plan.draw(0).values())
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            plan.build().eval(),
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(plan.inputs),
            output_names=[plan.output],
            verbose=False,
        )
        assert program is not None
        program.optimize()
    model: onnx.ModelProto = program.model_proto
    model.graph.name = f"lavin_{plan.name}"
    model.graph.doc_string = f"J-DiT width {config.dit.hidden_size}, depth {config.dit.depth}"
    return model
