"""Names that several packages, commands and files share, each list once; nothing heavy is imported.

Kinds of time grids are in :mod:`lavin_deploy.flow.grids`, those of a context in
:mod:`lavin_deploy.config`, graphs in :mod:`lavin_deploy.bundle.manifest`.
"""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""Of a variant's graphs."""
Low = Literal["fp16", "bf16"]
LOWERED: tuple[Low, ...] = get_args(Low)
"""Precisions of floating point, to which a graph is lowered by rules."""
Quantised = Literal["int8", "fp8"]
QUANTISED: tuple[Quantised, ...] = get_args(Quantised)
"""Precisions that are fitted to calibration data, by Q/DQ nodes."""

Dialect = Literal["native", "portable"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
"""Of a variant's graphs: nodes of opset 23, or functions of our own in opset 18."""

View = Literal["overlay", "target", "side-by-side"]
VIEWS: tuple[View, ...] = get_args(View)
"""How an answer is shown: over the input, alone, or beside it."""

BACKENDS = ("auto", "onnxruntime", "tensorrt")
"""Back ends of the runtime; ``auto`` chooses one of the others."""

TARGETS = ("tensorrt", "tensorrt-rtx")
"""Libraries that build and run engines."""

NATIVE_SINCE = (10, 15)
"""First TensorRT whose parser has Attention, RMSNormalization and RotaryEmbedding."""
