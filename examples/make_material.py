"""Make the redistributable cut-outs and photos that the examples are composed of.

    python examples/make_material.py CACHE

Objects are taken out of free photographs with GrabCut, started from a plain background, a drawn
outline or an ellipse. ``CACHE`` keeps the downloaded packages. Writes ``examples/material/``:
``cutouts/*.png`` (RGBA, straight alpha, long side <= 320 px), ``photos/*.jpg`` (short side
<= 512 px) and ``material.json`` with the source, author, licence and split of each.

``test`` means that the source was never seen in training: it is in the test split, or not in the
prepared training data at all.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lavin_deploy.arrays import F32, U8
from lavin_deploy.training.data.catalogue import SOURCES
from lavin_deploy.training.data.packages import Package, fetch, read_rcc, unpack_deb

Bool = NDArray[np.bool_]

Outline = Sequence[tuple[float, float]]

OUT = Path(__file__).parent / "material"
CUTOUT_SIDE, PHOTO_SIDE = 320, 512
WORK_SIDE = 700

PACKAGES = {
    "gcompris": SOURCES["gcompris"].package,
    "lomiri-16.04": SOURCES["lomiri-16.04"].package,
    "libjxl": Package(
        name="libjxl-testdata",
        version="0.0~git20230110.d6168ff-1",
        client="deb",
        sha256="a58523413f486760a0f3cbc931142a27e3aa25f77315b862046f089ed34aa2c7",
        size=55818872,
    ),
    "sklearn": Package(
        name="scikit-learn",
        version="1.9.1",
        client="wheel",
        sha256="52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
        size=9315422,
    ),
}
FOLDERS = {"lomiri-16.04": "usr/share/backgrounds", "libjxl": "usr/share/libjxl-testdata"}
TOOLS = "src/activities/categorization/resource/images/tools/"
THINGS = "src/activities/categorization/resource/images/others/"
FISHES = "src/activities/categorization/resource/images/fishes/"
ANIMALS = "src/activities/explore_world_animals/resource/animals/"
WESATURATE = "external/wesaturate/500px/"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a picture comes from, and its terms."""

    package: str
    file: str
    author: str
    license: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How to take one object out of a photo; outlines are in shares of width and height.

    Attributes:
        origin: the photo.
        low: colour distance from the background (Lab) above which a pixel may be the object.
        high: distance above which it is.
        light: weight of lightness in that distance; little where the object casts a shadow.
        outline: rough outline, used instead of a plain background.
        margin: how far the object may reach over the outline, as a share of the long side.
        ellipse: exact shape (x, y, half width, half height), used instead of all that.
        without: outlines of what is never the object.
        holes: holes up to this share of the picture belong to the object.
        erode: pixels of the working size taken off all around.
    """

    origin: Origin
    low: float = 4
    high: float = 14
    light: float = 0.6
    outline: Outline = ()
    margin: float = 0.03
    ellipse: tuple[float, float, float, float] | None = None
    without: Sequence[Outline] = field(default_factory=tuple)
    holes: float = 0.003
    erode: float = 1.0


def _gcompris(file: str, author: str, license: str, split: str) -> Origin:
    return Origin(
        package="gcompris", file=f"{file}.webp", author=author, license=license, split=split
    )


DAHLIA = Origin(
    package="sklearn",
    file="sklearn/datasets/images/flower.jpg",
    author="Flickr user vultilion",
    license="CC-BY-2.0",
    split="test",
)

BOWL = Origin(
    package="lomiri-16.04",
    file="Picture_0B_by_freespace.jpg",
    author='Trevor "Freespace", 2018',
    license="CC-BY-4.0",
    split="test",
)

CUTOUTS: dict[str, Cut] = {
    # seen in training
    "macaw": Cut(
        origin=_gcompris(ANIMALS + "scarlet_macaw", "Jar0d", "CC-BY-SA-2.0", "train"),
        margin=0.012,
        outline=(
            (0.225, 0.155), (0.27, 0.14), (0.33, 0.13), (0.4, 0.14), (0.44, 0.17), (0.5, 0.21),
            (0.56, 0.26), (0.64, 0.33), (0.72, 0.37), (0.78, 0.43), (0.82, 0.5), (0.845, 0.57),
            (0.865, 0.65), (0.88, 0.72), (0.885, 0.77), (0.885, 0.83), (0.84, 0.84), (0.73, 0.82),
            (0.66, 0.83), (0.62, 0.88), (0.63, 0.95), (0.6, 0.985), (0.575, 0.93), (0.6, 0.85),
            (0.56, 0.86), (0.52, 0.88), (0.5, 0.93), (0.45, 0.97), (0.455, 0.92), (0.5, 0.83),
            (0.535, 0.8), (0.53, 0.69), (0.46, 0.65), (0.41, 0.58), (0.38, 0.5), (0.385, 0.43),
            (0.36, 0.365), (0.33, 0.365), (0.275, 0.355), (0.275, 0.39), (0.26, 0.36),
            (0.235, 0.3), (0.228, 0.21),
        ),
        without=(
            ((0.835, 0.785), (1, 0.7), (1, 1), (0.66, 1), (0.66, 0.845), (0.78, 0.83), (0.82, 0.8)),
            ((0.885, 0.62), (1, 0.6), (1, 0.8), (0.882, 0.8)),
            ((0.597, 0.75), (0.63, 0.75), (0.63, 0.82), (0.59, 0.82)),
        ),
    ),
    "volleyball": Cut(
        origin=_gcompris(THINGS + "volleyball", "Starlight~commonswiki", "public-domain", "train"),
        light=1, low=3, high=10, holes=1, erode=2.5,
    ),
    "goldfish": Cut(
        origin=_gcompris(FISHES + "fish25", "Necrophorus", "public-domain", "train"),
        low=10, high=25,
    ),
    "puffer": Cut(
        origin=_gcompris(FISHES + "fish28", "Derek Keats", "CC-BY-2.0", "train"),
        margin=0.012,
        outline=(
            (0.115, 0.48), (0.14, 0.455), (0.21, 0.46), (0.25, 0.455), (0.29, 0.43), (0.33, 0.4),
            (0.275, 0.37), (0.3, 0.32), (0.36, 0.28), (0.37, 0.33), (0.38, 0.39), (0.45, 0.385),
            (0.55, 0.4), (0.63, 0.42), (0.68, 0.45), (0.7, 0.51), (0.72, 0.55), (0.72, 0.61),
            (0.69, 0.66), (0.66, 0.72), (0.6, 0.78), (0.5, 0.83), (0.42, 0.83), (0.34, 0.79),
            (0.31, 0.83), (0.28, 0.8), (0.24, 0.71), (0.25, 0.67), (0.22, 0.66), (0.18, 0.69),
            (0.13, 0.67), (0.14, 0.62), (0.12, 0.57),
        ),
    ),
    "bulb": Cut(
        origin=_gcompris(THINGS + "bulb", "KMJ", "CC-BY-SA-3.0", "train"),
        outline=(
            (0.24, 0.3), (0.33, 0.22), (0.6, 0.22), (0.76, 0.35), (0.7, 0.5), (0.62, 0.62),
            (0.6, 0.88), (0.42, 0.9), (0.38, 0.65), (0.28, 0.5),
        ),
    ),
    "screwdriver": Cut(
        origin=_gcompris(TOOLS + "screwDriver", "Dmitry G", "public-domain", "train"),
    ),
    "scissors": Cut(
        origin=_gcompris(TOOLS + "scissors2", "Modeha", "CC-BY-1.0", "train"), low=8,
        without=(
            ((0.4, 0), (0.5, 0), (0.5, 0.3), (0.4, 0.3)),
            ((0.4, 0.63), (0.5, 0.63), (0.5, 1), (0.4, 1)),
        ),
    ),
    # not seen in training
    "baseball": Cut(
        origin=_gcompris(THINGS + "baseball", "Tage Olsin", "CC-BY-SA-2.0", "test"),
        ellipse=(0.499, 0.497, 0.492, 0.492), erode=2,
    ),
    "bowl": Cut(
        origin=BOWL,
        margin=0.012,
        outline=(
            (0.223, 0.497), (0.257, 0.437), (0.311, 0.356), (0.365, 0.287), (0.428, 0.23),
            (0.505, 0.172), (0.583, 0.14), (0.645, 0.128), (0.712, 0.129), (0.778, 0.147),
            (0.84, 0.184), (0.894, 0.241), (0.941, 0.316), (0.968, 0.385), (0.986, 0.471),
            (0.993, 0.552), (0.989, 0.621), (0.976, 0.701), (0.949, 0.782), (0.91, 0.851),
            (0.855, 0.914), (0.793, 0.96), (0.723, 0.986), (0.661, 0.991), (0.599, 0.98),
            (0.537, 0.954), (0.474, 0.908), (0.42, 0.856), (0.373, 0.805), (0.334, 0.747),
            (0.295, 0.678), (0.264, 0.621), (0.237, 0.557), (0.226, 0.523),
        ),
    ),
    "fig": Cut(
        origin=BOWL,
        margin=0.012,
        outline=(
            (0.415, 0.46), (0.42, 0.452), (0.467, 0.446), (0.498, 0.425), (0.521, 0.397),
            (0.544, 0.374), (0.583, 0.359), (0.622, 0.363), (0.653, 0.385), (0.677, 0.42),
            (0.692, 0.46), (0.7, 0.506), (0.694, 0.563), (0.678, 0.609), (0.665, 0.667),
            (0.642, 0.718), (0.614, 0.745), (0.583, 0.747), (0.552, 0.73), (0.521, 0.69),
            (0.498, 0.644), (0.482, 0.598), (0.473, 0.54), (0.47, 0.5), (0.459, 0.492),
            (0.42, 0.492),
        ),
    ),
    "dahlia": Cut(
        origin=DAHLIA,
        outline=(
            (0.26, 0.35), (0.35, 0.22), (0.5, 0.18), (0.63, 0.28), (0.7, 0.45), (0.68, 0.65),
            (0.58, 0.8), (0.42, 0.82), (0.3, 0.7),
        ),
        without=(((0, 0.83), (1, 0.83), (1, 1), (0, 1)),),
    ),
    "tape-measure": Cut(
        origin=_gcompris(TOOLS + "measuringTape1", "Pastorius", "CC-BY-SA-3.0", "test"),
    ),
    "claw-hammer": Cut(
        origin=_gcompris(TOOLS + "hammer5", "Dmitry G", "public-domain", "test"), light=0.8,
    ),
    "ball-hammer": Cut(
        origin=_gcompris(TOOLS + "hammer2", "Kulmalukko", "CC-BY-SA-3.0", "test"), low=6,
    ),
    "needle-nose": Cut(
        origin=_gcompris(TOOLS + "plier1", "Baran Ivo", "public-domain", "test"),
    ),
    "pliers": Cut(
        origin=_gcompris(TOOLS + "plier2", "Dmitry G", "public-domain", "test"),
    ),
    "wrench": Cut(
        origin=_gcompris(TOOLS + "wrench", "Dori", "public-domain", "test"),
    ),
    "boarfish": Cut(
        origin=_gcompris(FISHES + "fish18", "OpenCago.info", "CC-BY-SA-2.5", "test"), low=5,
    ),
}  # fmt: skip

PHOTOS: dict[str, Origin] = {
    "concrete": BOWL,
    "meadow": Origin(
        package="lomiri-16.04",
        file="seeding_by_Clements_Engelhardt.jpg",
        author="Clemens Engelhardt, 2018",
        license="CC0-1.0",
        split="test",
    ),
    "lake": Origin(
        package="libjxl",
        file=WESATURATE + "cvo9xd_keong_macan_srgb8.png",
        author="wesaturate.com user keong_macan",
        license="CC0-1.0",
        split="test",
    ),
    "tulips": Origin(
        package="libjxl",
        file=WESATURATE + "tmshre_riaphotographs_srgb8.png",
        author="wesaturate.com user riaphotographs",
        license="CC0-1.0",
        split="test",
    ),
    "blossom": Origin(
        package="libjxl",
        file=WESATURATE + "u76c0g_bliznaca_srgb8.png",
        author="wesaturate.com user bliznaca",
        license="CC0-1.0",
        split="test",
    ),
    "pavilion": Origin(
        package="sklearn",
        file="sklearn/datasets/images/china.jpg",
        author="Flickr user danielbuechele",
        license="CC-BY-2.0",
        split="test",
    ),
    "dahlias": DAHLIA,
}

PARTS = {
    "concrete": (0.0, 0.565, 0.235, 1.0)
}  # left, top, right, bottom of what is kept of a photo


def cut_out(photo: U8, cut: Cut) -> U8:
    """Take the object out of a photo.

    Args:
        photo: (H, W, 3) uint8 RGB.
        cut: how.

    Returns:
        (h, w, 4) uint8 RGBA, straight alpha, tightly cropped, long side <= ``CUTOUT_SIDE``.
    """
    zoom = 2.0 if max(photo.shape[:2]) <= 400 else min(1.0, WORK_SIDE / max(photo.shape[:2]))
    how = cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA
    big = np.asarray(cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=how), np.uint8)
    shape = _ellipse(cut.ellipse, big.shape[:2]) if cut.ellipse else _grab(big, cut)
    pad = 8
    shape = np.pad(shape, pad)
    big = np.pad(big, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    inside = _distance(shape) - _distance(~shape) - cut.erode
    alpha = np.clip(inside / 2 + 0.5, 0, 1)  # a ramp of two working pixels
    # The colours of the rim hold some background: they come from the nearest pixel well inside.
    core = inside > 2.5
    _, labels = cv2.distanceTransformWithLabels(
        (~core).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(core)
    index = np.zeros(int(labels.max()) + 1, np.int64)
    index[labels[core]] = np.arange(len(rows))
    nearest = big[rows[index[labels]], columns[index[labels]]]
    weight = np.clip(inside / 2.5, 0, 1)[..., None]
    colour = nearest * (1 - weight) + big * weight
    return _shrink(np.dstack([colour * alpha[..., None], alpha * 255]).astype(np.float32))


def _grab(big: U8, cut: Cut) -> Bool:
    height, width = big.shape[:2]
    mask = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    if cut.outline:
        shape = _polygon(cut.outline, (height, width))
        reach = cut.margin * max(height, width)
        mask[shape] = cv2.GC_PR_FGD
        mask[cv2.dilate(shape.astype(np.uint8), _square(reach)) == 0] = cv2.GC_BGD
        mask[cv2.erode(shape.astype(np.uint8), _square(0.7 * reach)) > 0] = cv2.GC_FGD
    else:
        far = cv2.GaussianBlur(_from_background(big, cut.light), (0, 0), 0.8)
        mask[far > cut.low] = cv2.GC_PR_FGD
        mask[far < cut.low / 2] = cv2.GC_BGD
        mask[far > cut.high] = cv2.GC_FGD
    for outline in cut.without:
        mask[_polygon(outline, (height, width))] = cv2.GC_BGD
    cv2.setRNGSeed(1)
    models = np.zeros((2, 1, 65))
    cv2.grabCut(big[..., ::-1].copy(), mask, None, models[0], models[1], 6, cv2.GC_INIT_WITH_MASK)
    front = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    front = np.asarray(cv2.morphologyEx(front, cv2.MORPH_OPEN, _square(1)), np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(front, connectivity=4)
    shape = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    _, gaps, stats, _ = cv2.connectedComponentsWithStats((~shape).astype(np.uint8), connectivity=4)
    for number, (x, y, w, h, area) in enumerate(stats[1:].tolist(), start=1):
        enclosed = x > 0 and y > 0 and x + w < width and y + h < height
        if enclosed and area < cut.holes * shape.size:
            shape |= gaps == number
    return np.asarray(cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1.2) > 0.5)


def _from_background(big: U8, light: float) -> F32:
    """Return each pixel's Lab distance from a quadratic fit to the colours along the border."""
    colours = cv2.cvtColor(big.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    height, width = big.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
    ring = np.ones((height, width), bool)
    ring[6:-6, 6:-6] = False
    far = np.zeros((height, width), np.float32)
    for _ in range(4):  # the object may touch the border: leave out what fits worst, fit again
        weights = np.linalg.lstsq(terms[ring], colours[ring], rcond=None)[0]
        error = (colours - terms @ weights) * np.array([light, 1, 1], np.float32)
        far = np.sqrt((error * error).sum(axis=-1))
        if ring.sum() > 200:
            ring &= far < max(6.0, float(np.percentile(far[ring], 80)))
    return far


def _polygon(outline: Outline, size: tuple[int, int]) -> Bool:
    filled = np.zeros(size, np.uint8)
    corners = np.round(np.array(outline) * (size[1], size[0])).astype(np.int32)
    cv2.fillPoly(filled, [corners], 1)
    return filled > 0


def _ellipse(ellipse: tuple[float, float, float, float], size: tuple[int, int]) -> Bool:
    x, y, half_width, half_height = ellipse
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    u = (columns / size[1] - x) / half_width
    v = (rows / size[0] - y) / half_height
    return np.asarray(u * u + v * v < 1)


def _square(reach: float) -> U8:
    return np.ones((2 * int(reach) + 1,) * 2, np.uint8)


def _distance(shape: Bool) -> F32:
    return np.asarray(cv2.distanceTransform(shape.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _shrink(premultiplied: F32) -> U8:
    """Crop to the alpha, shrink to ``CUTOUT_SIDE`` and return straight alpha."""
    opaque = premultiplied[..., 3] > 8
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    picture = premultiplied[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(1.0, CUTOUT_SIDE / max(picture.shape[:2]))
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture[..., :3] *= 255 / np.maximum(picture[..., 3:], 1)
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)


def read_sources(cache: Path) -> dict[tuple[str, str], U8]:
    """Read every photo that is named above: by package and file, (H, W, 3) uint8 RGB."""
    origins = [cut.origin for cut in CUTOUTS.values()] + list(PHOTOS.values())
    keys = {(origin.package, origin.file) for origin in origins}
    pictures: dict[tuple[str, str], U8] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        unpack_deb(fetch(PACKAGES["gcompris"], cache), root / "gcompris")
        for resource in sorted(root.glob("gcompris/usr/share/gcompris-qt/rcc/*.rcc")):
            for name, data in read_rcc(resource):
                key = ("gcompris", name.removeprefix("gcompris/"))
                if key in keys:
                    pictures[key] = _decode(data)
        for package, place in FOLDERS.items():
            unpack_deb(fetch(PACKAGES[package], cache), root / package)
            for key in sorted(keys):
                if key[0] == package:
                    pictures[key] = _decode((root / package / place / key[1]).read_bytes())
    with zipfile.ZipFile(fetch(PACKAGES["sklearn"], cache)) as wheel:
        for package, file in keys:
            if package == "sklearn":
                pictures[package, file] = _decode(wheel.read(file))
    return pictures


def _decode(data: bytes) -> U8:
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(opened.convert("RGB"), np.uint8)


def main(cache: Path) -> None:
    """Write ``examples/material``."""
    sources = read_sources(cache)
    listing: dict[str, dict[str, dict[str, str]]] = {"cutouts": {}, "photos": {}}
    for kind in listing:
        (OUT / kind).mkdir(parents=True, exist_ok=True)
    for name, cut in CUTOUTS.items():
        rgba = cut_out(sources[cut.origin.package, cut.origin.file], cut)
        Image.fromarray(rgba).save(OUT / "cutouts" / f"{name}.png", optimize=True)
        listing["cutouts"][name] = _described(cut.origin)
    for name, origin in PHOTOS.items():
        image = Image.fromarray(sources[origin.package, origin.file])
        left, top, right, bottom = PARTS.get(name, (0.0, 0.0, 1.0, 1.0))
        image = image.crop(
            (
                round(left * image.width),
                round(top * image.height),
                round(right * image.width),
                round(bottom * image.height),
            )
        )
        scale = min(1.0, PHOTO_SIDE / min(image.size))
        size = (round(image.width * scale), round(image.height * scale))
        small = image.resize(size, Image.Resampling.LANCZOS)
        small.save(OUT / "photos" / f"{name}.jpg", quality=92)
        listing["photos"][name] = _described(origin)
    (OUT / "material.json").write_text(json.dumps(listing, indent=1) + "\n")


def _described(origin: Origin) -> dict[str, str]:
    package = PACKAGES[origin.package]
    return {**asdict(origin), "package": f"{package.name} {package.version}"}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/make_material.py CACHE")
    main(Path(sys.argv[1]))
