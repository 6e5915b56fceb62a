"""Colours of picture files: profiles, PNG's numbers, CMYK, transparency by a colour."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lavin_deploy.runtime.media.images import read_image
from tests.helpers import icc, pngs

pytestmark = pytest.mark.unit

_D65 = (0.3127, 0.3290)
P3 = (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
ADOBE = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SRGB = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def colours(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def no_notice(sentence: str) -> None:
    pytest.fail(sentence)


def off(path: Path, expected: Any) -> float:
    return float(np.abs(read_image(path, no_notice) - expected).max())


@pytest.mark.parametrize("space", icc.RGB_SPACES)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg", ".avif"])
def test_a_profile_is_converted_to_srgb(tmp_path: Path, space: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    pixels = colours()
    if suffix in (".jpg", ".avif"):
        pixels = np.broadcast_to(np.uint8((200, 90, 60)), (16, 16, 3))
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}
    Image.fromarray(pixels).save(
        path, icc_profile=icc.rgb_profile(space), **options.get(suffix, {})
    )
    with Image.open(path) as stored:
        expected = icc.in_srgb(np.array(stored), space)
    assert off(path, expected) <= 1.2
    if space in ("Display P3", "Adobe RGB", "ProPhoto"):
        assert np.abs(expected - pixels).mean() > 4  # it matters


@pytest.mark.parametrize(
    ("space", "index", "adobe"),
    [(0xFFFF, "R03", True), (2, None, True), (0xFFFF, "R98", False), (0xFFFF, None, False),
     (1, "R03", False)],
)  # fmt: skip
def test_cameras_say_adobe_rgb_by_exif_alone(
    tmp_path: Path, space: int, index: str | None, adobe: bool
) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = space
    if index is not None:
        exif.get_ifd(0x8769)[0xA005] = {1: index}
    path = tmp_path / "a.jpg"
    picture = Image.new("RGB", (16, 16), (200, 90, 60))
    picture.save(path, exif=exif, quality=100, subsampling=0)
    with Image.open(path) as stored:
        pixels = np.array(stored)
    assert off(path, icc.in_srgb(pixels, "Adobe RGB") if adobe else pixels) <= 1.2
    profile = icc.rgb_profile("Display P3")
    picture.save(tmp_path / "b.jpg", exif=exif, icc_profile=profile, quality=100, subsampling=0)
    assert off(tmp_path / "b.jpg", icc.in_srgb(pixels, "Display P3")) <= 1.2  # which goes first


def test_transparency_and_palettes_are_converted_first(tmp_path: Path) -> None:
    profile = icc.rgb_profile("ProPhoto")
    pixels = np.dstack([colours(), np.full((24, 32), 128, np.uint8)])
    pixels[:4, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
    alpha = pixels[..., 3:] / 255
    shown = icc.in_srgb(pixels[..., :3], "ProPhoto") * alpha + 255 * (1 - alpha)
    assert off(tmp_path / "a.png", shown) <= 1.5
    picture = Image.new("P", (2, 1))
    picture.putpalette([200, 90, 60, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "p.png", transparency=1, icc_profile=profile)
    first = icc.in_srgb(np.uint8([200, 90, 60]), "ProPhoto")
    assert off(tmp_path / "p.png", np.array([[first, (255, 255, 255)]])) <= 1.2


def test_grey_profiles(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(2, axis=0)
    Image.fromarray(ramp).save(tmp_path / "a.png", icc_profile=icc.grey_profile(1.0))
    expected = 255 * icc.linear_to_srgb(ramp / 255)[..., None]
    assert off(tmp_path / "a.png", expected) <= 1.2
    wide = np.linspace(0, 65535, 512).astype(np.uint16)[None]
    Image.fromarray(wide).save(tmp_path / "w.png", icc_profile=icc.grey_profile(1.0))
    assert off(tmp_path / "w.png", 255 * icc.linear_to_srgb(wide / 65535)[..., None]) <= 1.5


def test_16_bits_of_either_order_of_bytes(tmp_path: Path) -> None:
    wide = np.linspace(0, 65535, 512).astype(np.uint16)[None]
    expected = 255 * icc.linear_to_srgb(wide / 65535)[..., None]
    for mode in ("I;16", "I;16B"):
        order = "<u2" if mode == "I;16" else ">u2"
        picture = Image.frombytes(mode, (512, 1), wide.astype(order).tobytes())
        picture.save(tmp_path / "a.tif", icc_profile=icc.grey_profile(1.0))
        with Image.open(tmp_path / "a.tif") as stored:
            assert stored.mode == mode
        assert off(tmp_path / "a.tif", expected) <= 1.5
        picture.save(tmp_path / "b.tif")
        assert off(tmp_path / "b.tif", wide[..., None] * (255 / 65535)) <= 0.51


def printer(inks: Any) -> tuple[float, float, float]:
    c, m, y, k = inks
    light = 100 * (1 - k) * (1 - 0.4 * c) * (1 - 0.5 * m) * (1 - 0.1 * y)
    return light, (60 * m - 30 * c) * (1 - k), (80 * y - 40 * c) * (1 - k)


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
@pytest.mark.parametrize("inks", ["0000", "1000", "0100", "0010", "1100"])
def test_cmyk_is_converted_by_its_profile(tmp_path: Path, suffix: str, inks: str) -> None:
    amounts = [int(ink) for ink in inks]
    picture = Image.new("CMYK", (16, 16), tuple(255 * ink for ink in amounts))
    path = tmp_path / f"a{suffix}"
    options = {".jpg": {"quality": 100}}.get(suffix, {})
    picture.save(path, icc_profile=icc.cmyk_profile(printer), **options)
    lab = [round(printer(amounts)[0] * 2.55) / 2.55, *np.rint(printer(amounts)[1:])]
    assert off(path, icc.lab_in_srgb(lab)) <= 2
    assert read_image(path).shape == (16, 16, 3)


def test_lab_pictures(tmp_path: Path) -> None:
    lab = np.zeros((4, 4, 3), np.uint8) + np.array([140, 20, 246], np.uint8)  # L 54.9, a 20, b -10
    Image.frombytes("LAB", (4, 4), lab.tobytes()).save(tmp_path / "a.tif")
    assert off(tmp_path / "a.tif", icc.lab_in_srgb((140 / 2.55, 20, -10))) <= 2


@pytest.mark.parametrize(
    ("chunks", "space", "gamma"),
    [
        ([pngs.gama(1.0)], "sRGB", 1.0),
        ([pngs.gama(1 / 1.8)], "sRGB", 1.8),
        ([pngs.gama(0.45455), pngs.chrm(*P3)], "Display P3", 2.2),
        ([pngs.gama(256 / 563), pngs.chrm(*ADOBE)], "Adobe RGB", 563 / 256),
        ([pngs.chrm(*P3)], "Display P3", None),
        ([pngs.chunk(b"cICP", bytes([12, 13, 0, 1]))], "Display P3", None),
        ([pngs.gama(1.0), pngs.chunk(b"cICP", bytes([12, 13, 0, 1]))], "Display P3", None),
        ([pngs.gama(0.45455)], None, None),
        ([pngs.gama(0.45455), pngs.chrm(*SRGB)], None, None),
        ([pngs.gama(1.0), pngs.chunk(b"sRGB", b"\0")], None, None),
        ([pngs.chunk(b"cICP", bytes([1, 13, 0, 1])), pngs.chrm(*P3)], None, None),
        ([pngs.chunk(b"cICP", bytes([1, 1, 0, 1]))], None, None),
    ],
)
def test_numbers_of_png(tmp_path: Path, chunks: Any, space: str | None, gamma: Any) -> None:
    pixels = colours()
    (tmp_path / "a.png").write_bytes(pngs.png(pixels, *chunks))
    if space is None:
        assert off(tmp_path / "a.png", pixels) == 0
        return
    curve = None if gamma is None else lambda values: values**gamma
    assert off(tmp_path / "a.png", icc.in_srgb(pixels, space, curve)) <= 1.5


def test_gamma_of_grey_png_of_16_bits(tmp_path: Path) -> None:
    wide = np.linspace(0, 65535, 300).astype(np.uint16)[None]
    (tmp_path / "a.png").write_bytes(pngs.png(wide, pngs.gama(1.0), bits=16))
    assert off(tmp_path / "a.png", 255 * icc.linear_to_srgb(wide / 65535)[..., None]) <= 1.5


@pytest.mark.parametrize(
    ("pixels", "key", "bits"),
    [
        ([[0, 30000, 30001, 65535]], (30000,), 16),
        ([[0, 0, 257, 65535]], (0,), 16),
        ([[0, 1, 2, 255]], (1,), 8),
        ([[0, 1, 2, 15]], (2,), 4),
        ([[0, 1, 2, 3]], (1,), 2),
        ([[0, 1, 0, 1]], (1,), 1),
        ([[(0x1234, 7, 9), (0x1235, 7, 9), (0x1234, 7, 9)]], (0x1234, 7, 9), 16),
        ([[(1, 2, 3), (1, 2, 4), (1, 2, 3)]], (1, 2, 3), 8),
    ],
)
def test_the_transparent_colour_of_png(tmp_path: Path, pixels: Any, key: Any, bits: int) -> None:
    values = np.array(pixels)
    (tmp_path / "a.png").write_bytes(pngs.png(values, pngs.trns(*key), bits=bits))
    wide = values if values.ndim == 3 else values[..., None].repeat(3, axis=2)
    clear = (wide == key).all(axis=2, keepdims=True)
    assert clear.any()
    assert not clear.all()
    assert off(tmp_path / "a.png", np.where(clear, 255, wide * 255 / (2**bits - 1))) <= 1


@pytest.mark.parametrize("codes", [(9, 99), (200, 16), (200, 13)])
def test_what_cannot_be_converted_is_said(tmp_path: Path, codes: tuple[int, int]) -> None:
    pixels = colours()
    said: list[str] = []
    (tmp_path / "a.png").write_bytes(pngs.png(pixels, pngs.chunk(b"cICP", bytes([*codes, 0, 1]))))
    assert (read_image(tmp_path / "a.png", said.append) == pixels).all()
    assert len(said) == 1
    assert "a.png: its colours are taken as sRGB" in said[0]


def test_a_profile_of_no_use_is_said_once(tmp_path: Path) -> None:
    for profile in (b"junk" * 50, icc.grey_profile(1.0), icc.rgb_profile("ProPhoto")[:200]):
        said: list[str] = []
        Image.fromarray(colours()).save(tmp_path / "a.png", icc_profile=profile)
        assert (read_image(tmp_path / "a.png", said.append) == colours()).all()
        assert len(said) == 1
        assert "the profile is of no use" in said[0]
    stream = io.BytesIO()
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(
        stream, "TIFF", icc_profile=icc.rgb_profile("sRGB")
    )
    (tmp_path / "b.tif").write_bytes(stream.getvalue())
    said = []
    assert (read_image(tmp_path / "b.tif", said.append) == (0, 255, 255)).all()
    assert "plain complement" in said[0]


@pytest.mark.parametrize("form", ["TIFF", "JPEG", "PNG", "WEBP", "AVIF"])
def test_orientation_is_applied_once(tmp_path: Path, form: str) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 255  # the upper left quarter
    for orientation, corner in enumerate(["ul", "ur", "lr", "ll", "ul", "ur", "lr", "ll"], 1):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(tmp_path / "a", form, exif=exif)
        shown = read_image(tmp_path / "a", no_notice)
        assert shown.shape[:2] == ((32, 16) if orientation > 4 else (16, 32))
        h, w = shown.shape[0] // 2, shown.shape[1] // 2
        quarters = {
            "ul": shown[:h, :w], "ur": shown[:h, w:], "ll": shown[h:, :w], "lr": shown[h:, w:]
        }  # fmt: skip
        assert max(quarters, key=lambda name: quarters[name].mean()) == corner
