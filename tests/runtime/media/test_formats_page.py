"""docs/formats.md says of pictures what the code does."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lavin_deploy.runtime.letterbox import MAX_PIXELS
from lavin_deploy.runtime.media.animations import (
    ANIMATED,
    ANIMATION_OUTPUTS,
    AnimationReader,
    AnimationWriter,
)
from lavin_deploy.runtime.media.colour_profiles import PRIMARIES, SRGB, TRANSFERS
from lavin_deploy.runtime.media.destinations import plan_outputs
from lavin_deploy.runtime.media.images import IMAGE_OUTPUTS, READABLE, read_image, write_image
from lavin_deploy.runtime.media.inputs import Inputs, Kind, MediaFile
from tests.conftest import ROOT
from tests.helpers import icc
from tests.helpers.pages import check_block, table

pytestmark = pytest.mark.unit

PAGE = ROOT / "docs" / "formats.md"
_LOSSY = {".jpg": "quality 95, full colour", ".jpeg": "quality 95, full colour"}


def _answer(folder: Path, suffix: str, kind: Kind) -> str:
    file = MediaFile(folder / f"a{suffix}", kind, Path(f"a{suffix}"))
    return plan_outputs(Inputs(files=(file,)), "task").output.name


def test_the_formats_of_pictures(tmp_path: Path) -> None:
    rows = []
    for name, suffixes in READABLE.items():
        still = dict.fromkeys(_answer(tmp_path, suffix, "image") for suffix in suffixes)
        moves = dict.fromkeys(_answer(tmp_path, suffix, "animation") for suffix in suffixes)
        rows.append(
            [
                name + (" (extra `heif`)" if name == "HEIF" else ""),
                " ".join(suffixes),
                " ".join(f"`{answer}`" for answer in still),
                " ".join(f"`{answer}`" for answer in moves) if name in ANIMATED else "",
            ]
        )
    written = [[suffix, "picture", _LOSSY.get(suffix, "lossless")] for suffix in IMAGE_OUTPUTS] + [
        [suffix, "animation", "256 colours a frame" if suffix == ".gif" else "lossless"]
        for suffix in ANIMATION_OUTPUTS
    ]
    head = ["read", "suffixes of `a`", "answer by default", "answer where it moves"]
    content = table(head, rows) + "\n\n" + table(["written", "as", "how"], written)
    check_block(PAGE, "pictures", content)


def test_the_numbers_of_colours() -> None:
    rows = [
        [
            "primaries",
            str(code),
            "sRGB's" if xy == SRGB else ", ".join(map(str, xy)),
        ]
        for code, xy in sorted(PRIMARIES.items())
    ] + [
        ["transfer", str(code), "sRGB's curve" if power is None else f"power {power}"]
        for code, power in sorted(TRANSFERS.items())
    ]
    head = ["H.273", "code", "taken as (x, y of white, red, green, blue)"]
    check_block(PAGE, "picture-colours", table(head, rows))


@pytest.mark.parametrize("suffix", IMAGE_OUTPUTS)
def test_what_is_written_is_as_the_page_says(tmp_path: Path, suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    write_image(tmp_path / f"a{suffix}", image)
    assert (read_image(tmp_path / f"a{suffix}") == image).all() == (suffix not in _LOSSY)


def test_what_a_picture_says_beside_its_pixels_is_dropped(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    options = {"icc_profile": icc.rgb_profile("Display P3"), "exif": exif, "dpi": (300, 300)}
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "a.png", pnginfo=text, **options)
    for suffix in IMAGE_OUTPUTS:
        write_image(tmp_path / f"b{suffix}", read_image(tmp_path / "a.png"))
        _holds_nothing(tmp_path / f"b{suffix}")
    frames[0].save(tmp_path / "m.png", save_all=True, append_images=frames[1:], **options)
    for suffix in ANIMATION_OUTPUTS:
        with AnimationReader(tmp_path / "m.png") as reader:
            out = tmp_path / f"m2{suffix}"
            with AnimationWriter(out, reader.info, (8, 8), reader.plays) as writer:
                for frame in reader:
                    writer.write(frame)
        _holds_nothing(out)


def _holds_nothing(path: Path) -> None:
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as made:
        assert not made.info.get("icc_profile")
        assert 0x010F not in made.getexif()
        assert round(made.info.get("dpi", (96, 96))[0]) in (1, 96)  # what formats take for none
    assert b"somebody" not in data
    assert b"a camera" not in data


def test_the_largest_picture() -> None:
    assert f"at most {MAX_PIXELS:,} pixels" in PAGE.read_text(encoding="utf-8")
