"""Which graphs a bundle has, their inputs and outputs, and tracing them to ONNX.

One specification of inputs feeds dummies, ONNX names, parity checks and the manifest.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lavin_deploy.export.step import ModulationGraph, StepGraph
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Decoder2d, Encoder2d

OPSET = 23


Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Example:
    """Inputs of a graph (``feed``) and the same for the plain model (``given``)."""

    feed: Arrays
    given: dict[str, Tensor]


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
        reference: what the plain model computes from the inputs, given as tensors with the time
            ``t`` (1,) in place of the step graphs' modulation row.
        modulation: t -> row, for the graphs that take one.
    """

    name: str
    height: int | None = None
    width: int | None = None
    pairs: int | None = None
    inputs: dict[str, tuple[int, ...]]
    output: str
    build: Callable[[], nn.Module]
    reference: Callable[..., Tensor]
    modulation: nn.Module | None = None

    @property
    def file(self) -> str:
        """Path of the ONNX file in the bundle, e.g. ``graphs/step-128x128-p1.onnx``."""
        size = f"-{self.height}x{self.width}" if self.height else ""
        pairs = f"-p{self.pairs}" if self.pairs else ""
        return f"graphs/{self.name}{size}{pairs}.onnx"

    @property
    def bucket(self) -> dict[str, int | None]:
        """Height, width and pairs, as the manifest has them."""
        return {"height": self.height, "width": self.width, "pairs": self.pairs}

    def example(self, seed: int) -> Example:
        """Draw seeded inputs: pixels in [-1, 1], t in [0, 1], latents N(0, 1)."""
        rng = np.random.default_rng(seed)
        feed: Arrays = {}
        given: dict[str, Tensor] = {}
        for name, shape in self.inputs.items():
            if name in ("t", "modulation"):
                given["t"] = torch.from_numpy(rng.random((1,), dtype=np.float32))
                feed[name] = given["t"].numpy()
                continue
            low_high = name == "pixels"
            array = rng.uniform(-1, 1, shape) if low_high else rng.standard_normal(shape)
            feed[name] = array.astype(np.float32)
            given[name] = torch.from_numpy(feed[name])
        if self.modulation is not None:
            with torch.no_grad():
                feed["modulation"] = self.modulation(given["t"]).numpy()
        return Example(feed=feed, given=given)


def plan_graphs(
    dit: JDiT, vae: STVAE, sizes: Sequence[tuple[int, int]], pairs: Sequence[int]
) -> Iterator[GraphPlan]:
    """All graphs of a joint-context bundle.

    Args:
        dit: the transformer.
        vae: the autoencoder.
        sizes: (H, W) in pixels, multiples of 16.
        pairs: numbers of example pairs.
    """
    modulation = ModulationGraph(dit)
    yield GraphPlan(
        name="modulation",
        inputs={"t": (1,)},
        output="modulation",
        build=lambda: modulation,
        reference=modulation,
    )
    for height, width in sizes:
        rows, cols = height // 8, width // 8
        latent = (1, dit.config.in_channels, 1, rows, cols)
        yield GraphPlan(
            name="encoder",
            height=height,
            width=width,
            inputs={"pixels": (1, 3, 1, height, width)},
            output="mean",
            build=lambda: Encoder2d(vae),
            reference=lambda pixels: vae.encode(pixels).mean,
        )
        yield GraphPlan(
            name="decoder",
            height=height,
            width=width,
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
                    "context": (*latent[:2], frames, rows, cols),
                    "modulation": (1, dit.modulation_width),
                },
                output="velocity",
                build=partial(StepGraph, dit, context_frames=frames, rows=rows, cols=cols),
                reference=lambda latent, context, t: dit(latent, t, context),
                modulation=modulation,
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


def trace(plan: GraphPlan) -> onnx.ModelProto:
    """Trace a graph to ONNX at opset 23 through torch's dynamo exporter; static shapes."""
    feed = plan.example(0).feed
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            plan.build().eval(),
            tuple(torch.from_numpy(array) for array in feed.values()),
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
    _strip(model)
    return model


def _strip(model: onnx.ModelProto) -> None:
    """Keep of the exporter's notes only which module a node comes from (no source paths)."""
    for node in model.graph.node:
        scopes = [p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"]
        del node.metadata_props[:]
        for value in scopes:
            node.metadata_props.add(key="module", value=value)
    for part in (*model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del part.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
