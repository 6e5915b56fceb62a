"""Pictures in and out: files, the fit into a model's bucket, and the model's pixel range."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError, LavinError, WorkError
from lavin_deploy.files import output_file
from lavin_deploy.runtime.letterbox import MAX_PIXELS, check_image
from lavin_deploy.runtime.media.colour_profiles import to_srgb
from lavin_deploy.runtime.media.cut_jpeg import decode_without_end
from lavin_deploy.runtime.media.hdr_stills import wide_png

_LOG = logging.getLogger("lavin_deploy")

# What is read: formats that are pictures only, and their files' suffixes. (Pillow's EPS reader, for
# one, starts a program.)
READABLE: dict[str, tuple[str, ...]] = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".mpo"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm"),
    "JPEG2000": (".jp2",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
# Brands of ISO/IEC 23008-12 whose pictures are HEVC; AVIF's are read by Pillow itself.
_HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "lossless": True},
    ".bmp": {"format": "BMP"},
    ".tif": {"format": "TIFF", "compression": "tiff_deflate"},
    ".tiff": {"format": "TIFF", "compression": "tiff_deflate"},
}
IMAGE_OUTPUTS = tuple(_WRITE_OPTIONS)


@contextmanager
def open_image(path: Path) -> Iterator[Any]:
    """Open a picture file as a ``PIL.Image`` without decoding it yet.

    Raises:
        InputError: no such file, not a picture, larger than ``MAX_PIXELS``, or, also inside the
            block, damaged.
    """
    with guarded(path), opened(path) as image:
        yield image


def opened(path: Path) -> Any:
    """Return a picture file as a ``PIL.Image``, to be closed; call it ``guarded``."""
    from PIL import Image

    Image.init()
    if is_hevc(path):
        _register_heif(path)
    return Image.open(path, formats=[name for name in READABLE if name in Image.OPEN])


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn whatever a picture file does to Pillow inside the block into an ``InputError``."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except LavinError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} has more than {MAX_PIXELS} pixels and is taken for a decompression bomb; "
            "scale it down first."
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not a picture ({', '.join(READABLE)} are read).") from error
    except Exception as error:  # a damaged file can raise anything in Pillow's parsers
        raise InputError(f"{path} cannot be read as a picture: {error}.") from error


def read_image(path: Path, notice: Callable[[str], None] = _LOG.warning) -> U8:
    """Read a picture as it is meant to be seen.

    EXIF orientation is applied. Colours become sRGB by the file's profile; grey, palette and CMYK
    become RGB; transparent parts lie on white; 16-bit values are scaled to 8 bits; float values
    are taken as [0, 1]. Of several pictures in one file the first is taken, or the one
    that the file calls its primary.

    Args:
        path: the file.
        notice: told in a sentence of pictures left out, a profile that cannot be used, and a JPEG
            without its end marker.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: no such file, not a picture, damaged, or larger than ``MAX_PIXELS``.
    """
    with open_image(path) as image:
        count = getattr(image, "n_frames", 1)
        if count > 1 and image.format != "MPO":  # an MPO's others are views of the first
            notice(f"{path} holds {count} pictures; one is taken.")
        return to_rgb(image, path, notice)


def to_rgb(image: Any, path: Path, notice: Callable[[str], None]) -> U8:
    """Return the pixels of an opened picture as ``read_image`` does: (H, W, 3) uint8."""
    from PIL import Image, ImageOps

    alpha = _colour_key(image, path)
    image = _loaded(image, path, notice)
    plain = image
    if alpha is not None:
        plain = image.copy()
        del plain.info["transparency"]
    if image.mode in ("I", "F"):
        plain = Image.fromarray(_wide_to_u8(np.asarray(image), path))
    elif image.mode.startswith("I;16") and image.mode != "I;16":  # other orders of bytes
        plain = Image.fromarray(np.asarray(image).astype(np.uint16))
    elif alpha is None and image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        plain = image.convert({"La": "LA", "LA": "LA"}.get(image.mode, "RGBA"))
    elif alpha is None and "transparency" in image.info:
        plain = image.convert("RGBA")
    elif image.mode not in ("L", "I;16", "RGB", "CMYK", "LAB"):
        plain = image.convert("L" if image.mode == "1" else "RGB")
    if plain.mode in ("RGBA", "LA"):
        alpha = plain.getchannel("A")
        plain = plain.convert(plain.mode[:-1])
    shown = to_srgb(plain, image, path, notice)
    if alpha is not None:
        shown.putalpha(alpha)
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")
    orientation = image.getexif().get(0x0112, 1)
    if orientation != 1:
        shown.getexif()[0x0112] = orientation
        shown = ImageOps.exif_transpose(shown)
    return np.array(shown)


def write_image(path: Path, image: U8) -> None:
    """Write a picture in the format of the suffix, whole or not at all.

    JPEG is written at quality 95 with full colour; every other format is lossless.

    Args:
        path: ends with one of ``IMAGE_OUTPUTS``.
        image: (H, W, 3) uint8.

    Raises:
        InputError: unknown suffix, not a picture, or a place that cannot be written.
        WorkError: the format cannot hold it, or the disk is full.
    """
    from PIL import Image

    check_image(image)
    options = _WRITE_OPTIONS.get(Path(path).suffix.lower())
    if options is None:
        raise InputError(
            f"{path} has no suffix of a picture that can be written; use one of "
            f"{', '.join(IMAGE_OUTPUTS)}."
        )
    with output_file(Path(path)) as part:
        try:
            Image.fromarray(image).save(part, **options)
        except (OSError, ValueError) as error:
            raise WorkError(f"{path} could not be written: {error}.") from error


def is_hevc(path: Path) -> bool:
    """Tell whether a file is HEIF with HEVC in it, as telephones write (HEIC), by its brands."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return False
    size = int.from_bytes(head[:4])
    brands = {head[at : at + 4] for at in range(8, min(size, len(head)), 4)}
    return head[4:8] == b"ftyp" and bool(brands & _HEVC_BRANDS)


def _register_heif(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"{path} is HEIC, which takes an extra: pip install 'lavin-deploy[heif]'."
        ) from error
    pillow_heif.register_heif_opener()


def _loaded(image: Any, path: Path, notice: Callable[[str], None]) -> Any:
    """Decode a picture; a JPEG that lacks nothing but its end marker too."""
    try:
        image.load()
    except OSError:
        whole = decode_without_end(path) if image.format in ("JPEG", "MPO") else None
        if whole is None:
            raise
        notice(f"{path} lacks its end marker; all its pixels are there.")
        return whole
    return image


def _colour_key(image: Any, path: Path) -> Any:
    """Return where a PNG of grey or RGB has not its transparent colour, as an L picture, or None.

    Pillow compares colours of 16 bits and grey of 2 or 4 after it has scaled them to 8 bits.
    """
    from PIL import Image

    key = image.info.get("transparency")
    if image.format != "PNG" or image.mode not in ("L", "I;16", "RGB") or key is None:
        return None
    tiles = image.tile
    if image.mode != "RGB":
        scale = {"L;2": 85, "L;4": 17}.get(tiles[0].args, 1) if tiles else 1
        opaque = np.asarray(image) != key * scale
    else:
        wide = wide_png(image, path) if tiles and tiles[0].args == "RGB;16B" else None
        opaque = ((np.asarray(image) if wide is None else wide) != key).any(axis=2)
    return Image.fromarray(np.where(opaque, np.uint8(255), np.uint8(0)))


def _wide_to_u8(values: NDArray[Any], path: Path) -> U8:
    """Scale grey values wider than 8 bits: integers as 16-bit, floats as [0, 1]."""
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        raise InputError(
            f"{path} holds grey values from {values.min()} to {values.max()}; integers up to "
            "65535 and floats from 0 to 1 are read, so scale them first."
        )
    return np.asarray(np.rint(values.astype(np.float64) * (255 / top)), dtype=np.uint8)
