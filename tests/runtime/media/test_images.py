from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.runtime.letterbox import Letterbox, to_pixels, to_u8
from lavin_deploy.runtime.media import images
from lavin_deploy.runtime.media.images import read_image, write_image

pytestmark = pytest.mark.unit

SIDES = st.integers(1, 200)


def noise(height: int, width: int, seed: int = 0) -> images.U8:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> images.U8:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack(
        [x * 255 / max(1, width - 1), y * 255 / max(1, height - 1), np.full(x.shape, 90)], axis=2
    ).astype(np.uint8)


@given(SIDES, SIDES, st.sampled_from([(64, 64), (64, 96), (16, 128)]))
@settings(max_examples=60, deadline=None)
def test_letterbox_keeps_shape_and_aspect(H: int, W: int, bucket: tuple[int, int]) -> None:
    box = Letterbox((H, W), bucket)
    rows, columns = box.inner
    assert 1 <= rows <= bucket[0]
    assert 1 <= columns <= bucket[1]
    assert rows == bucket[0] or columns == bucket[1]
    # the other side is within half a pixel of the exact aspect ratio, or one pixel
    scale = min(bucket[0] / H, bucket[1] / W)
    assert abs(rows - H * scale) <= 0.5 + 1e-9 or rows == 1
    assert abs(columns - W * scale) <= 0.5 + 1e-9 or columns == 1
    fitted = box.forward(noise(H, W))
    assert fitted.shape == (*bucket, 3)
    assert fitted.dtype == np.uint8
    assert box.backward(fitted).shape == (H, W, 3)


@given(SIDES, SIDES, st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=40, deadline=None)
def test_letterbox_round_trip_of_a_flat_colour_is_exact(
    H: int, W: int, colour: tuple[int, int, int]
) -> None:
    flat = np.full((H, W, 3), colour, np.uint8)
    box = Letterbox((H, W), (64, 48))
    assert (box.forward(flat) == colour).all()
    assert (box.backward(box.forward(flat)) == flat).all()


@given(st.integers(32, 200), st.integers(32, 200))
@settings(max_examples=30, deadline=None)
def test_letterbox_round_trip_of_a_gradient_is_close(H: int, W: int) -> None:
    image = smooth(H, W)
    box = Letterbox((H, W), (64, 64))
    error = np.abs(box.backward(box.forward(image)).astype(int) - image)
    assert error.mean() < 3
    assert error.max() <= 24  # bicubic rings a little at the border


@given(st.integers(1, 64), st.integers(1, 64))
@settings(max_examples=30, deadline=None)
def test_letterbox_of_a_picture_with_one_full_side_only_pads(rows: int, columns: int) -> None:
    for H, W in ((64, columns), (rows, 64)):
        image = noise(H, W)
        box = Letterbox((H, W), (64, 64))
        assert box.inner == (H, W)
        assert (box.backward(box.forward(image)) == image).all()


def test_letterbox_matches_pillow_and_mirrors() -> None:
    image = noise(50, 100)
    box = Letterbox((50, 100), (64, 64))
    assert box.inner == (32, 64)
    assert box.offset == (16, 0)
    fitted = box.forward(image)
    expected = np.array(Image.fromarray(image).resize((64, 32), Image.Resampling.BICUBIC))
    assert (fitted[16:48] == expected).all()
    assert (fitted[15::-1] == fitted[16:32]).all()
    assert (fitted[48:] == fitted[47:31:-1]).all()


def test_letterbox_refuses_other_sizes() -> None:
    box = Letterbox((50, 100), (64, 64))
    with pytest.raises(InputError, match=r"expected .*50, 100"):
        box.forward(noise(51, 100))
    with pytest.raises(InputError, match="64, 64"):
        box.backward(noise(50, 100))
    with pytest.raises(InputError, match="1 or more"):
        Letterbox((0, 5), (64, 64))


def test_pixels_of_every_grey_level() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    pixels = to_pixels(ramp)
    assert pixels.shape == (1, 3, 1, 16, 16)
    assert pixels.dtype == np.float32
    assert pixels.min() == -1
    assert pixels.max() == 1
    np.testing.assert_allclose(pixels[0, 0, 0].ravel(), np.arange(256) / 127.5 - 1, atol=1e-7)
    assert np.abs(to_u8(pixels).astype(int) - ramp).max() <= 1  # floor may lose a level


def test_u8_floors_and_clips() -> None:
    values = np.array([-9.0, -1.0, 0.0, 1.0, 9.0], np.float32)
    pixels = np.broadcast_to(values, (1, 3, 1, 1, 5))
    assert to_u8(pixels)[0, :, 0].tolist() == [0, 0, 127, 255, 255]


def test_u8_refuses_what_is_not_finite() -> None:
    pixels = np.zeros((1, 3, 1, 8, 8), np.float32)
    pixels[0, 0, 0, 3, 3] = np.nan
    with pytest.raises(WorkError, match="higher precision"):
        to_u8(pixels)


@pytest.mark.parametrize("suffix", images.IMAGE_OUTPUTS)
def test_written_pictures_come_back(tmp_path: Path, suffix: str) -> None:
    image = smooth(37, 51)
    path = tmp_path / f"a{suffix}"
    write_image(path, image)
    error = np.abs(read_image(path).astype(int) - image).max()
    assert error <= (6 if suffix in (".jpg", ".jpeg") else 0)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_exif_orientation(tmp_path: Path) -> None:
    image = smooth(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png") == np.rot90(image, -1)).all()


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 200, (200, 200, 200)),
        ("1", 1, (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 0x8080, (128, 128, 128)),
    ],
)
def test_modes(tmp_path: Path, mode: str, value: Any, expected: tuple[int, int, int]) -> None:
    Image.new(mode, (4, 3), value).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (3, 4, 3)
    assert image.dtype == np.uint8
    assert (image == expected).all()


def test_palette_with_transparency(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_cmyk_and_float(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() <= 3
    Image.new("F", (2, 2), 0.5).save(tmp_path / "f.tif")
    assert (read_image(tmp_path / "f.tif") == 128).all()
    Image.new("F", (2, 2), 7.0).save(tmp_path / "g.tif")
    with pytest.raises(InputError, match=r"from 7\.0 to 7\.0"):
        read_image(tmp_path / "g.tif")


def test_bad_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match="not a picture"):
        read_image(tmp_path / "text.png")
    write_image(tmp_path / "a.png", noise(64, 64))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut.png cannot be read as a picture"):
        read_image(tmp_path / "cut.png")


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (10_000, 9_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 20_000
    with pytest.raises(InputError, match="decompression bomb"):
        read_image(tmp_path / "bomb.png")


def test_unknown_suffix_and_wrong_arrays(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(", ".join(images.IMAGE_OUTPUTS))):
        write_image(tmp_path / "a.xyz", noise(2, 2))
    for wrong in (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8)):
        with pytest.raises(InputError, match=r"\(H, W, 3\) uint8"):
            write_image(tmp_path / "a.png", wrong)
    assert not list(tmp_path.iterdir())
