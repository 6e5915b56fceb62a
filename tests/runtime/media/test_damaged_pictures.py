"""Whatever is done to a picture file, it is read or refused in a sentence."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.media.animations import AnimationReader, is_animation
from lavin_deploy.runtime.media.images import read_image
from tests.helpers import heic, icc, pngs

pytestmark = pytest.mark.unit


def files(folder: Path) -> list[bytes]:
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    picture, profile = Image.fromarray(rgb), icc.rgb_profile("ProPhoto")
    exif = Image.Exif()
    exif[0x0112] = 6
    names = ["a.png", "a.jpg", "a.webp", "a.tif", "a.gif", "a.bmp", "a.ppm", "a.jp2", "a.avif"]
    for name in names:
        plain = name.endswith(("gif", "bmp", "ppm", "jp2"))
        picture.save(folder / name, **({} if plain else {"icc_profile": profile, "exif": exif}))
    for suffix in ("png", "webp", "gif", "avif"):
        names.append(f"m.{suffix}")
        picture.save(folder / names[-1], save_all=True, append_images=[picture.rotate(180)])
    made = [(folder / name).read_bytes() for name in names]
    numbers = (pngs.gama(0.5), pngs.chrm(0.3, 0.3, 0.6, 0.3, 0.3, 0.6, 0.1, 0.1))
    made.append(pngs.png(rgb.astype(int) * 257, *numbers, pngs.trns(1, 2, 3), bits=16))
    return [*made, heic.grid(np.zeros((2, 1, 64, 64, 3), np.uint8), quarter_turns=1)]


@pytest.mark.parametrize(
    "count", [300, pytest.param(20_000, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])]
)
def test_damage_is_a_sentence(tmp_path: Path, count: int) -> None:
    rng, path = random.Random(count), tmp_path / "damaged"
    whole = files(tmp_path)
    sentences = []
    for number in range(count):
        data = bytearray(whole[number % len(whole)])
        for _ in range(rng.randint(1, 5)):
            data[rng.randrange(min(len(data), rng.choice([64, 512, 1 << 20])))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            assert read_image(path, str).dtype == np.uint8
            if is_animation(path):
                with AnimationReader(path) as reader:
                    assert [frame.image.dtype for frame in reader]
        except InputError as error:
            sentences.append(str(error))
    assert count / 4 < len(sentences) < count
    for sentence in sentences:
        assert sentence.startswith(str(path))
        assert sentence.endswith(".")
