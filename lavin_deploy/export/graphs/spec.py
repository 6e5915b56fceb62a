"""One graph to export: its inputs and outputs, and what it must compute.

One specification of inputs feeds dummies, ONNX names, parity checks and the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lavin_deploy.names import Dialect

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Example:
    """Inputs of a graph (``feed``) and the same for the plain model (``model_inputs``)."""

    feed: Arrays
    model_inputs: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """One graph to export.

    Attributes:
        name: as in ``manifest.GRAPHS``.
        height: pixel rows, None where the graph does not depend on the size.
        width: pixel columns, the same.
        pairs: example pairs, None where the graph does not depend on them.
        frames: frames of pixels that a run of a video graph encodes or decodes; None for others.
        inputs: input name -> shape, all float32.
        outputs: names of the outputs.
        build: makes the module to trace.
        reference: what must come out, from the inputs as tensors with the time ``t`` (1,) in place
            of a modulation row: by the plain model, where it has such an output.
        modulation: t -> row, for the graphs that take one.
        overridable: further inputs that a run need not give.
        dialect: of the ONNX file; ``build`` makes a module with the operators of the same.
    """

    name: str
    height: int | None = None
    width: int | None = None
    pairs: int | None = None
    frames: int | None = None
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    build: Callable[[], nn.Module]
    reference: Callable[..., Sequence[Tensor]]
    modulation: nn.Module | None = None
    overridable: Mapping[str, Tensor] = field(default_factory=dict)
    dialect: Dialect = "native"

    @property
    def stem(self) -> str:
        """Name of the ONNX file without folder and ending: ``encoder_next-64x64-f4``."""
        size = f"-{self.height}x{self.width}" if self.height else ""
        pairs = f"-p{self.pairs}" if self.pairs else ""
        frames = f"-f{self.frames}" if self.frames else ""
        return f"{self.name}{size}{pairs}{frames}"

    @property
    def bucket(self) -> dict[str, int | None]:
        """Height, width, pairs and frames, as the manifest has them."""
        size = {"height": self.height, "width": self.width}
        return {**size, "pairs": self.pairs, "frames": self.frames}

    def example(self, seed: int) -> Example:
        """Draw seeded inputs: pixels in [-1, 1], t and dt in [0, 1], all others N(0, 1)."""
        rng = np.random.default_rng(seed)
        feed: Arrays = {}
        model_inputs: dict[str, Tensor] = {}
        for name, shape in self.inputs.items():
            if name in ("t", "modulation"):
                model_inputs["t"] = torch.from_numpy(rng.random((1,), dtype=np.float32))
                feed[name] = model_inputs["t"].numpy()
                continue
            if name == "pixels":
                array = rng.uniform(-1, 1, shape)
            else:
                array = rng.random(shape) if name == "dt" else rng.standard_normal(shape)
            feed[name] = array.astype(np.float32)
            model_inputs[name] = torch.from_numpy(feed[name])
        if self.modulation is not None:
            with torch.no_grad():
                feed["modulation"] = self.modulation(model_inputs["t"]).numpy()
        return Example(feed=feed, model_inputs=model_inputs)
