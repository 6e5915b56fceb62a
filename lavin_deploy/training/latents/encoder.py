"""The ST-VAE's encoder of single frames, in ONNX Runtime where it is installed.

On a CPU its graph takes 0.37 of torch's time in float32, and 0.69 of torch's in bfloat16, with
means that are equal to 1e-6 (docs/LOG.md).
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lavin_deploy.models.stvae import STVAE
from lavin_deploy.models.vae2d import Encoder2d

Encode = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Pixels (B, 3, T, H, W) float32 in [-1, 1] -> unscaled posterior means (B, 16, f, h, w)."""
NEEDED = ("onnx", "onnxscript", "onnxruntime")


@lru_cache(maxsize=2)
def picture_encoder(vae: STVAE, size: int, device: torch.device, *, bf16: bool) -> Encode:
    """Return what encodes pictures (T = 1) of one size; the last two are remembered.

    Args:
        vae: whose encoder it is.
        size: side of the pictures in pixels.
        device: a CPU runs the graph in ONNX Runtime if ``onnx``, ``onnxscript`` and ``onnxruntime``
            are installed; else torch runs the modules.
        bf16: matrix work in bfloat16, where torch runs them.
    """
    encoder = Encoder2d(vae).eval()
    if device.type == "cpu" and all(importlib.util.find_spec(name) for name in NEEDED):
        return _session(encoder, size)
    return torch_encoder(encoder, device, bf16=bf16)


def clip_encoder(vae: STVAE, device: torch.device, *, bf16: bool) -> Encode:
    """Return what encodes clips of any length and size."""

    class Means(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return vae.encode(pixels).mean

    vae.eval().to(device)
    return torch_encoder(Means(), device, bf16=bf16)


def torch_encoder(encoder: torch.nn.Module, device: torch.device, *, bf16: bool) -> Encode:
    """Run a module on a device."""
    encoder.to(device)

    @torch.no_grad()
    def encode(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            means: torch.Tensor = encoder(torch.from_numpy(pixels).to(device))
        return np.asarray(means.float().cpu().numpy(), np.float32)

    return encode


def _session(encoder: Encoder2d, size: int) -> Encode:
    import onnxruntime

    pixels = torch.zeros(2, 3, 1, size, size)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own translation
        file = Path(folder) / "encoder.onnx"
        torch.onnx.export(
            encoder,
            (pixels,),
            file,
            dynamo=True,
            input_names=["pixels"],
            output_names=["mean"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1 << 16)},),
            verbose=False,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            os.fspath(file), options, providers=["CPUExecutionProvider"]
        )

    def encode(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        (means,) = session.run(None, {"pixels": pixels})
        return np.asarray(means, np.float32)

    return encode
