"""What values reach the products of a graph: maxima by channel, and the best place to clip them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from lavin_deploy.bundle.writer import writing
from lavin_deploy.export.graphs.trace import Traced
from lavin_deploy.export.graphs.weights import WeightFile
from lavin_deploy.export.precision.calibration import Feed

Numbers = NDArray[np.float32]

BINS = 8192
"""Of a histogram: several to a step of the finest scale that is tried."""
CLIPS = np.linspace(0.1, 1.0, 46)
"""Tried places to clip, as parts of the largest value."""
BUDGET = 1 << 30
"""Bytes of tensors that one run gives out."""


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Largest absolute value and mean square of every channel of a tensor, (C,) each."""

    peak: Numbers
    square: Numbers


class Probe:
    """Runs a graph on calibration data and sees tensors inside it.

    Args:
        traced: the graph.
        channels: tensor -> its axis of channels.
        feeds: inputs, at least one set.

    Raises:
        WorkError: the disk refused the temporary file that the graph is run from.
    """

    def __init__(self, traced: Traced, channels: Mapping[str, int], feeds: Sequence[Feed]) -> None:
        self._channels, self._feeds = channels, feeds
        with (
            writing("the temporary graph that is calibrated"),
            tempfile.TemporaryDirectory(prefix="lavin.") as folder,
        ):
            model = WeightFile(Path(folder) / "weights").externalise(traced)
            declared = {info.name for info in (*model.graph.input, *model.graph.output)}
            model.graph.output.extend(
                onnx.ValueInfoProto(name=name) for name in channels if name not in declared
            )
            onnx.save(model, Path(folder) / "graph.onnx")
            options = ort.SessionOptions()
            options.log_severity_level = 3  # outputs without a type are meant
            self._session = ort.InferenceSession(Path(folder) / "graph.onnx", options)

    def channels(self) -> dict[str, Channels]:
        """What each channel is over all feeds."""

        def see(name: str, values: Numbers) -> Numbers:
            others = tuple(i for i in range(values.ndim) if i != self._axis(name, values))
            return np.stack((np.abs(values).max(axis=others), np.square(values).mean(axis=others)))

        def merge(a: Numbers, b: Numbers) -> Numbers:
            return np.stack((np.maximum(a[0], b[0]), a[1] + b[1]))

        count = len(self._feeds)
        return {
            name: Channels(peak=peak, square=square / count)
            for name, (peak, square) in self._collect(see, merge).items()
        }

    def histograms(self, tops: Mapping[str, float], divisors: Mapping[str, Numbers]) -> Any:
        """Counts (BINS,) of the absolute values in [0, top], of channels that are divided first."""

        def count(name: str, values: Numbers) -> NDArray[np.int64]:
            if name in divisors:
                shape = [1] * values.ndim
                shape[self._axis(name, values)] = -1
                values = values / divisors[name].reshape(shape)
            return np.histogram(np.abs(values), BINS, (0.0, tops[name]))[0]

        return self._collect(count, np.add)

    def _collect(
        self, see: Callable[[str, Numbers], Any], merge: Callable[[Any, Any], Any]
    ) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for names in self._batches():
            for feed in self._feeds:
                for name, values in zip(names, self._session.run(names, dict(feed)), strict=True):
                    seen = see(name, values)
                    merged[name] = merge(merged[name], seen) if name in merged else seen
        return merged

    def _batches(self) -> Iterator[list[str]]:
        """Names that fit the budget together; sizes are seen by the session."""
        sizes = {node.name: 4 * int(np.prod(node.shape)) for node in self._session.get_outputs()}
        batch: list[str] = []
        for name in self._channels:
            if batch and sum(sizes.get(n, 0) for n in (*batch, name)) > BUDGET:
                yield batch
                batch = []
            batch.append(name)
        if batch:
            yield batch

    def _axis(self, name: str, values: Numbers) -> int:
        return self._channels[name] % values.ndim


def best_clip(counts: NDArray[np.int64], top: float, levels: int) -> float:
    """Where to clip so that rounding to ``levels`` steps on each side of 0 errs least in the mean
    square."""
    values = (np.arange(BINS) + 0.5) * (top / BINS)
    errors = []
    for clip in CLIPS * top:
        step = clip / levels
        errors.append(counts @ (np.minimum(np.rint(values / step), levels) * step - values) ** 2)
    return float(CLIPS[int(np.argmin(errors))] * top)
