"""HEIC and AVIF pictures, as telephones write them."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.media.images import read_image
from lavin_deploy.runtime.media.inputs import find_inputs, kind_of
from tests.helpers import heic, icc

pytestmark = pytest.mark.unit

COLOURS = np.array([[[200, 40, 30], [40, 180, 60]], [[60, 60, 200], [220, 220, 120]]], np.uint8)


def no_notice(sentence: str) -> None:
    pytest.fail(sentence)


def tiles() -> Any:
    side = heic.SIDE
    return np.broadcast_to(COLOURS[:, :, None, None, :], (2, 2, side, side, 3))


def corners(image: Any) -> Any:
    h, w = image.shape[0] // 4, image.shape[1] // 4
    return image[h :: 2 * h, w :: 2 * w].astype(int)


@pytest.mark.parametrize("turns", range(4))
def test_a_telephones_grid_is_read_upright(tmp_path: Path, turns: int) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(heic.grid(tiles()[:, :1] if turns == 1 else tiles(), quarter_turns=turns))
    image = read_image(path, no_notice)
    if turns == 1:
        assert image.shape == (64, 128, 3)
        return
    assert image.shape == (128, 128, 3)
    assert np.abs(corners(image) - np.rot90(COLOURS, turns)).max() <= 4


def test_a_grids_colours_are_converted(tmp_path: Path) -> None:
    expected = icc.in_srgb(COLOURS, "Display P3")
    nclx = b"nclx" + struct.pack(">HHHB", 12, 13, 6, 0x80)
    profile = b"prof" + icc.rgb_profile("Display P3")
    for colours in (nclx, profile):
        (tmp_path / "a.heic").write_bytes(heic.grid(tiles(), colours=colours))
        assert np.abs(corners(read_image(tmp_path / "a.heic", no_notice)) - expected).max() <= 6
    assert np.abs(expected - COLOURS).max() > 15


def test_avif_says_its_primaries_in_numbers_too(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8) + np.uint8((200, 40, 30))
    Image.fromarray(pixels).save(tmp_path / "a.avif", quality=100, subsampling="4:4:4")
    data = (tmp_path / "a.avif").read_bytes()
    at = data.index(b"colrnclx") + 8
    data = data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :]
    (tmp_path / "a.avif").write_bytes(data)
    expected = icc.in_srgb(pixels, "Display P3")
    assert np.abs(read_image(tmp_path / "a.avif", no_notice) - expected).max() <= 5


def test_heic_is_known_by_suffix_and_by_content(tmp_path: Path) -> None:
    data = heic.grid(tiles())
    for name in ("a.heic", "b.HEIF", "c.hif", "d", "e.bin"):
        (tmp_path / name).write_bytes(data)
        assert kind_of(tmp_path / name) == "image"
    assert len(find_inputs(str(tmp_path)).files) == 3


def test_a_damaged_heic_is_a_sentence(tmp_path: Path) -> None:
    data = heic.grid(tiles())
    for cut in (40, 300, len(data) - 100):
        (tmp_path / "a.heic").write_bytes(data[:cut])
        with pytest.raises(InputError, match=r"a\.heic (cannot be read as|is not) a picture"):
            read_image(tmp_path / "a.heic")


def test_of_several_pictures_the_primary_is_taken_and_that_is_said(tmp_path: Path) -> None:
    several = pillow_heif.HeifFile()
    for colour in ("red", "lime"):
        several.add_from_pillow(Image.new("RGB", (64, 64), colour))
    several.save(tmp_path / "a.heic", primary_index=1)
    said: list[str] = []
    image = read_image(tmp_path / "a.heic", said.append)
    assert image[32, 32].argmax() == 1
    assert said == [f"{tmp_path / 'a.heic'} holds 2 pictures; one is taken."]


def test_without_the_extra_a_sentence_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(heic.grid(tiles()))
    (tmp_path / "noname").write_bytes(heic.grid(tiles()))
    code = """if True:
        import sys
        sys.modules["pillow_heif"] = None  # as if it were not installed
        from pathlib import Path
        from lavin_deploy.runtime.media.images import read_image
        from lavin_deploy.runtime.media.inputs import kind_of
        for name in sys.argv[1:]:
            assert kind_of(Path(name)) == "image"
            try:
                read_image(Path(name))
            except ValueError as error:
                print(error)
    """
    names = [str(tmp_path / name) for name in ("a.heic", "noname")]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        f"{name} is HEIC, which takes an extra: pip install 'lavin-deploy[heif]'." for name in names
    ], done.stderr
