"""A small real bundle whose answers can be computed by hand.

The encoder averages 8x8 pixels into the first three latent channels, the decoder repeats them.
The step's answer, in scaled latents, is ``query + mean over pairs (target - input)``, so a task
whose pairs brighten brightens the query. Its velocity is ``rate(t) * (answer - z)``:

- field ``"straight"``: rate = 1 / (1 - t), so Euler ends exactly on the answer over any grid;
- field ``"decay"``: rate = 1, so Euler leaves ``prod(1 - dt)`` of the noise.

The null branch answers ``query + 5 * its first frame``, which is the query when that is zero.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from lavin_deploy.bundle.manifest import (
    Bucket,
    Defaults,
    Graph,
    Latent,
    Manifest,
    Table,
    Tensor,
    Time,
    Variant,
    WeightSource,
)
from lavin_deploy.bundle.writer import BundleWriter
from lavin_deploy.config import preset
from lavin_deploy.flow.grids import GridKind, uniform

SHIFT, SCALE = 0.032470703125, 1.08936170213
ROW = 2
WEIGHTS = "graphs/weights-fp32.bin"
Field = Literal["straight", "decay"]


def write_toy(
    path: Path,
    *,
    sizes: Sequence[tuple[int, int]] = ((32, 32),),
    pairs: Sequence[int] = (1, 2),
    grid: NDArray[np.float32] | None = None,
    kind: GridKind = "uniform",
    field: Field = "straight",
    guidance: float = 1.0,
) -> Manifest:
    """Write the bundle and return its manifest; the first size and number are the defaults."""
    grid = uniform(4) if grid is None else grid
    with BundleWriter(path) as writer:
        gains, weights = _weights()
        graphs = [_modulation(writer, field)]
        for height, width in sizes:
            graphs += [
                _encoder(writer, height, width, gains),
                _decoder(writer, height, width, gains),
                _step(writer, height, width, None),
                *(_step(writer, height, width, count) for count in pairs),
            ]
        writer.add_file(WEIGHTS, weights)
        writer.add_file("tables/modulation.npy", _npy(_rows(grid[:-1], field)))
        times = tuple(float(t) for t in grid)
        return writer.finish(
            Manifest(
                name="toy",
                created_by="tests",
                licence="CC0-1.0",
                source=WeightSource(kind="toy", sha256=hashlib.sha256(weights).hexdigest()),
                model=preset("tiny").to_dict(),
                latent=Latent(shift=SHIFT, scale=SCALE),
                time=Time(kind=kind, default_grid=times),
                defaults=Defaults(
                    steps=len(times) - 1,
                    guidance=guidance,
                    precision="fp32",
                    pairs=max(pairs),
                    size=sizes[0],
                ),
                buckets=tuple(
                    Bucket(height=h, width=w, pairs=count) for h, w in sizes for count in pairs
                ),
                variants=(
                    Variant(
                        precision="fp32",
                        dialect="portable",
                        weights=(WEIGHTS,),
                        graphs=tuple(graphs),
                    ),
                ),
                tables={"modulation": Table(file="tables/modulation.npy", grid=times[:-1])},
            )
        )


def toy_latents(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the toy encoder gives for (H, W, 3) uint8: (1, 16, 1, H/8, W/8) scaled float32."""
    height, width, _ = image.shape
    cells = (image / 127.5 - 1).reshape(height // 8, 8, width // 8, 8, 3).mean(axis=(1, 3))
    latents = np.zeros((1, 16, 1, height // 8, width // 8))
    latents[0, :3, 0] = cells.transpose(2, 0, 1)
    return ((latents - SHIFT) * SCALE).astype(np.float32)


def flat(height: int, width: int, *colour: int) -> NDArray[np.uint8]:
    """A picture of one colour."""
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()


def _rows(times: NDArray[np.float32], field: Field) -> NDArray[np.float32]:
    rate = 1 / (1 - times) if field == "straight" else np.ones_like(times)
    return np.stack([rate, np.zeros_like(rate)], axis=1).astype(np.float32)


def _weights() -> tuple[dict[str, onnx.TensorProto], bytes]:
    """Two convolutions' weights in one external file, each aligned to 4096 bytes."""
    into = np.zeros((16, 3, 1, 1), np.float32)
    into[:3, :, 0, 0] = np.eye(3)
    back = np.ascontiguousarray(into.transpose(1, 0, 2, 3))
    stream, tensors = io.BytesIO(), {}
    for name, array in (("into", into), ("back", back)):
        stream.seek(-stream.tell() % 4096, os.SEEK_CUR)
        tensor = numpy_helper.from_array(array, name)
        where = {"offset": stream.tell(), "length": array.nbytes}
        stream.write(array.tobytes())
        set_external_data(tensor, Path(WEIGHTS).name, **where)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensors[name] = tensor
    return tensors, stream.getvalue()


def _save(
    writer: BundleWriter,
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    constants: list[onnx.TensorProto],
    place: tuple[int | None, int | None, int | None] = (None, None, None),
) -> Graph:
    def values(shapes: dict[str, tuple[int, ...]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    def specs(shapes: dict[str, tuple[int, ...]]) -> tuple[Tensor, ...]:
        return tuple(Tensor(name=n, dtype="float32", shape=s) for n, s in shapes.items())

    graph = helper.make_graph(nodes, name, values(inputs), values(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    file = "graphs/" + "-".join([name, *(str(n) for n in place if n is not None)]) + ".onnx"
    writer.add_file(file, model.SerializeToString())
    height, width, pairs = place
    return Graph(
        name=name,
        height=height,
        width=width,
        pairs=pairs,
        file=file,
        inputs=specs(inputs),
        outputs=specs(outputs),
    )


def _const(name: str, *values: int | float, shape: Sequence[int] | None = None) -> onnx.TensorProto:
    array = np.array(values, np.int64 if shape is None else np.float32)
    return numpy_helper.from_array(array if shape is None else array.reshape(shape), name)


def _encoder(
    writer: BundleWriter, height: int, width: int, gains: dict[str, onnx.TensorProto]
) -> Graph:
    h, w = height // 8, width // 8
    nodes = [
        helper.make_node("Squeeze", ["pixels", "frame"], ["flat"]),
        helper.make_node("AveragePool", ["flat"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["small", "into"], ["wide"]),
        helper.make_node("Unsqueeze", ["wide", "frame"], ["mean"]),
    ]
    return _save(
        writer,
        "encoder",
        nodes,
        {"pixels": (1, 3, 1, height, width)},
        {"mean": (1, 16, 1, h, w)},
        [_const("frame", 2), gains["into"]],
        (height, width, None),
    )


def _decoder(
    writer: BundleWriter, height: int, width: int, gains: dict[str, onnx.TensorProto]
) -> Graph:
    h, w = height // 8, width // 8
    nodes = [
        helper.make_node("Squeeze", ["latents", "frame"], ["flat"]),
        helper.make_node("Conv", ["flat", "back"], ["rgb"]),
        helper.make_node("Resize", ["rgb", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Unsqueeze", ["large", "frame"], ["pixels"]),
    ]
    return _save(
        writer,
        "decoder",
        nodes,
        {"latents": (1, 16, 1, h, w)},
        {"pixels": (1, 3, 1, height, width)},
        [_const("frame", 2), _const("scales", 1.0, 1.0, 8.0, 8.0, shape=[4]), gains["back"]],
        (height, width, None),
    )


def _step(writer: BundleWriter, height: int, width: int, pairs: int | None) -> Graph:
    h, w = height // 8, width // 8
    frames = [5.0, 1.0] if pairs is None else [*([-1 / pairs, 1 / pairs] * pairs), 1.0]
    nodes = [
        helper.make_node("Mul", ["context", "frames"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axis"], ["answer"], keepdims=1),
        helper.make_node("Sub", ["answer", "latent"], ["way"]),
        helper.make_node("Mul", ["modulation", "first"], ["rates"]),
        helper.make_node("ReduceSum", ["rates"], ["rate"], keepdims=0),
        helper.make_node("Mul", ["way", "rate"], ["velocity"]),
    ]
    latent = (1, 16, 1, h, w)
    return _save(
        writer,
        "step_null" if pairs is None else "step",
        nodes,
        {
            "latent": latent,
            "context": (1, 16, len(frames), h, w),
            "modulation": (1, ROW),
        },
        {"velocity": latent},
        [
            _const("frames", *frames, shape=[1, 1, -1, 1, 1]),
            _const("first", 1.0, 0.0, shape=[1, 2]),
            _const("axis", 2),
        ],
        (height, width, pairs),
    )


def _modulation(writer: BundleWriter, field: Field) -> Graph:
    one, zero = _const("one", 1.0, shape=[1]), _const("zero", 0.0, shape=[1])
    if field == "straight":
        rate = [
            helper.make_node("Sub", ["one", "t"], ["left"]),
            helper.make_node("Div", ["one", "left"], ["rate"]),
        ]
    else:
        rate = [
            helper.make_node("Mul", ["t", "zero"], ["none"]),
            helper.make_node("Add", ["one", "none"], ["rate"]),
        ]
    nodes = [
        *rate,
        helper.make_node("Concat", ["rate", "zero"], ["both"], axis=0),
        helper.make_node("Unsqueeze", ["both", "axis"], ["modulation"]),
    ]
    return _save(
        writer,
        "modulation",
        nodes,
        {"t": (1,)},
        {"modulation": (1, ROW)},
        [one, zero, _const("axis", 0)],
    )


def _npy(array: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
