"""Pictures of high dynamic range become sRGB by the formulas of the standards."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lavin_deploy.arrays import U8
from lavin_deploy.runtime.media.images import read_image
from tests.helpers import hdr, pngs

pytestmark = pytest.mark.unit
RNG = np.random.default_rng(5)
SIGNALS = np.vstack(
    [RNG.uniform(0.05, 0.75, (28, 3)), [[0.0] * 3, [0.58] * 3, [0.75] * 3, [1] * 3]]
)
"""Of 32 patches."""
SIDE = 16


def patches(depth: int) -> np.ndarray:
    """The signals as integers of so many bits, in patches: (4 x 16, 8 x 16, 3)."""
    codes = np.rint(SIGNALS * (2**depth - 1)).astype(np.uint16).reshape(4, 8, 3)
    return codes.repeat(SIDE, 0).repeat(SIDE, 1)


def middles(image: U8) -> np.ndarray:
    return image[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE].reshape(-1, 3).astype(float)


def expected(depth: int, transfer: int, primaries: int, peak: float = 1000) -> np.ndarray:
    signals = np.rint(SIGNALS * (2**depth - 1)) / (2**depth - 1)
    return np.array([hdr.in_srgb(row, transfer, primaries, peak) for row in signals])


def read(path: Path) -> np.ndarray:
    said: list[str] = []
    image = read_image(path, said.append)
    assert said == [
        f"{path} is HDR; it is tone-mapped to sRGB for the model, and so is the answer."
    ]
    return middles(image)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("primaries", [2, 9, 12])
def test_png(tmp_path: Path, depth: int, transfer: int, primaries: int) -> None:
    cicp = pngs.chunk(b"cICP", bytes([primaries, transfer, 0, 1]))
    (tmp_path / "a.png").write_bytes(pngs.png(patches(depth), cicp, bits=depth))
    right = expected(depth, transfer, 9 if primaries == 2 else primaries)
    assert np.abs(read(tmp_path / "a.png") - right).max() <= 1.5


@pytest.mark.parametrize("depth", [8, 16])
def test_grey_and_how_bright_it_is(tmp_path: Path, depth: int) -> None:
    grey = patches(depth)[..., 0]
    cicp = pngs.chunk(b"cICP", bytes([9, 16, 0, 1]))
    for peak in (400, 4000):
        level = pngs.chunk(b"cLLI", struct.pack(">II", peak * 10_000, 0))
        (tmp_path / "a.png").write_bytes(pngs.png(grey, cicp, level, bits=depth))
        signals = np.rint(SIGNALS[:, :1] * (2**depth - 1)) / (2**depth - 1)
        right = np.array([hdr.in_srgb([float(s)] * 3, 16, 9, peak) for (s,) in signals])
        assert np.abs(read(tmp_path / "a.png") - right).max() <= 1.5


def coded(path: Path, save: Callable[[Path], object], primaries: int, transfer: int) -> None:
    """Save a picture and write other codes into its nclx box."""
    save(path)
    data = path.read_bytes()
    at = data.index(b"colrnclx") + 8
    path.write_bytes(data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :])


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("primaries", [9, 12])
def test_heic_of_ten_bits_keeps_them(tmp_path: Path, transfer: int, primaries: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    codes = patches(16)
    height, width = codes.shape[:2]

    def save(path: Path) -> None:
        pillow_heif.encode(
            "RGB;16", (width, height), codes.tobytes(), str(path), quality=-1, chroma=444,
            matrix_coefficients=0, full_range_flag=1,
        )  # fmt: skip

    coded(tmp_path / "a.heic", save, primaries, transfer)
    found, right = read(tmp_path / "a.heic"), expected(10, transfer, primaries)
    assert np.abs(found - right).max() <= 2


@pytest.mark.parametrize("transfer", [16, 18])
def test_avif_is_read_in_eight_bits(tmp_path: Path, transfer: int) -> None:
    picture = Image.fromarray(patches(8).astype(np.uint8))
    coded(
        tmp_path / "a.avif",
        lambda path: picture.save(path, quality=100, subsampling="4:4:4"),
        9,
        transfer,
    )
    off = np.abs(read(tmp_path / "a.avif") - expected(8, transfer, 9))
    assert off.mean() <= 1.5
    assert np.quantile(off, 0.95) <= 8
