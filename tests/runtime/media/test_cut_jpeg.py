"""JPEG files that end too early: by their end marker alone, or really."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.media.images import read_image

pytestmark = pytest.mark.unit

KINDS: dict[str, dict[str, Any]] = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 90, "progressive": True},
    "restarts": {"quality": 90, "restart_marker_blocks": 3},
    "rows": {"quality": 60, "restart_marker_rows": 1, "progressive": True},
    "grey": {"quality": 30},
}


def jpeg(kind: str, size: tuple[int, int] = (48, 64)) -> bytes:
    y, x = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([4 * x % 256, 5 * y % 256, x * y % 256], axis=2).astype(np.uint8)
    picture = Image.fromarray(pixels)
    stream = io.BytesIO()
    (picture.convert("L") if kind == "grey" else picture).save(stream, "JPEG", **KINDS[kind])
    return stream.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_without_its_end_marker_is_read_with_one_notice(tmp_path: Path, kind: str) -> None:
    whole = jpeg(kind)
    assert whole.endswith(b"\xff\xd9")
    (tmp_path / "whole.jpg").write_bytes(whole)
    for missing in (1, 2):
        said: list[str] = []
        (tmp_path / "cut.jpg").write_bytes(whole[:-missing])
        image = read_image(tmp_path / "cut.jpg", said.append)
        assert (image == read_image(tmp_path / "whole.jpg")).all()
        assert said == [f"{tmp_path / 'cut.jpg'} lacks its end marker; all its pixels are there."]


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_that_is_cut_stays_an_error(tmp_path: Path, kind: str) -> None:
    whole = jpeg(kind)
    scans = whole.count(b"\xff\xda")
    assert (scans > 1) == (kind in ("progressive", "rows"))
    scan = whole.index(b"\xff\xda")
    cuts = set(np.linspace(scan + 20, len(whole) - 4, 25).astype(int))
    at = -1
    while (at := whole.find(b"\xff", at + 1)) >= 0:  # between scans and at restarts too
        if at > scan and whole[at + 1] in (0xDA, 0xC4, *range(0xD0, 0xD8)):
            cuts |= {at, at + 2}
    for cut in sorted(cuts):
        (tmp_path / "cut.jpg").write_bytes(whole[:cut])
        with pytest.raises(InputError, match="cannot be read as a picture"):
            read_image(tmp_path / "cut.jpg")


def test_orientation_and_profile_of_such_a_jpeg_count(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.new("RGB", (32, 16), (200, 90, 60)).save(stream, "JPEG", exif=exif)
    (tmp_path / "a.jpg").write_bytes(stream.getvalue()[:-2])
    assert read_image(tmp_path / "a.jpg", print).shape == (32, 16, 3)


def test_who_takes_no_notices_finds_them_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg("baseline")[:-2])
    with caplog.at_level(logging.WARNING, logger="lavin_deploy"):
        read_image(tmp_path / "a.jpg")
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'a.jpg'} lacks its end marker; all its pixels are there."
    ]
