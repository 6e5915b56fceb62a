"""TensorRT-RTX without a GPU: it parses, checks types and builds engines, but runs none."""

from __future__ import annotations

from pathlib import Path

import tensorrt_rtx as trt


class _Notes(trt.ILogger):
    """Keeps what TensorRT-RTX reports as errors."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        if severity <= trt.ILogger.ERROR:  # the smaller, the worse
            self.errors.append(message)


def build(path: Path) -> bytes:
    """Build an engine from an ONNX file of any precision, with its weights beside it.

    The network is strongly typed: the types are those of the file.

    Returns:
        The engine for every GPU that TensorRT-RTX serves; not empty.
    """
    notes = _Notes()
    builder = trt.Builder(notes)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, notes)
    parsed = parser.parse_from_file(str(path))
    found = [parser.get_error(index) for index in range(parser.num_errors)]
    errors = [f"{e.node_name()} ({e.node_operator()}): {e.desc()}" for e in found]
    assert parsed, f"TensorRT-RTX does not parse {path}: {errors or notes.errors}"
    engine = builder.build_serialized_network(network, builder.create_builder_config())
    assert engine is not None, f"TensorRT-RTX does not build {path}: {notes.errors}"
    content = bytes(engine)
    assert content, f"TensorRT-RTX built nothing from {path}"
    return content
