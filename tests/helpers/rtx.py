"""Engines of TensorRT-RTX, built ahead of time on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest


def build(file: Path) -> int:
    """Parse an ONNX file strongly typed and build it for Ada; return the engine's bytes."""
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    taken = parser.parse_from_file(str(file))
    assert taken, "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
    for index in range(network.num_layers):  # there is no fused kernel of float32 attention
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            layer.__class__ = trt.IAttentionInputLayer  # its real type
            layer.attention.decomposable = True
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None, f"{file.name} was parsed but not built"
    return int(engine.nbytes)
