"""Engines of TensorRT-RTX, built ahead of time on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def build(file: Path) -> int:
    """Parse an ONNX file strongly typed and build it for Ada; return the engine's bytes."""
    trt = pytest.importorskip("tensorrt_rtx")
    notes: list[str] = []

    class Notes(trt.ILogger):
        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:  # the smaller, the worse
                notes.append(message)

    logger = Notes()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    taken = parser.parse_from_file(str(file))
    refused = [parser.get_error(index) for index in range(parser.num_errors)]
    reasons = [f"{e.node_name()} ({e.node_operator()}): {e.desc()}" for e in refused]
    assert taken, f"{file.name} is not parsed: {'; '.join(reasons or notes)}"
    for index in range(network.num_layers):  # there is no fused kernel of float32 attention
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            layer.__class__ = trt.IAttentionInputLayer  # its real type
            layer.attention.decomposable = True
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None, f"{file.name} was parsed but not built: {'; '.join(notes)}"
    return int(engine.nbytes)
