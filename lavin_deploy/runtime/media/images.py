"""Pictures in and out: files, the fit into a model's bucket, and the model's pixel range."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError, LavinError, WorkError
from lavin_deploy.files import output_file
from lavin_deploy.runtime.letterbox import MAX_PIXELS, check_image

# What is read: formats that are pictures only. (Pillow's EPS reader, for one, starts a program.)
_READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
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
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.init()
            formats = [name for name in _READABLE if name in Image.OPEN]  # AVIF may be missing
            with Image.open(path, formats=formats) as image:
                yield image
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
        raise InputError(f"{path} is not a picture ({', '.join(_READABLE)} are read).") from error
    except Exception as error:  # a damaged file can raise anything in Pillow's parsers
        raise InputError(f"{path} cannot be read as a picture: {error}.") from error


def read_image(path: Path) -> U8:
    """Read a picture as it is meant to be seen.

    EXIF orientation is applied. Grey, palette and CMYK become RGB; transparent parts lie on white;
    16-bit values are scaled to 8 bits; float values are taken as [0, 1]. Of several pictures in
    one file the first is taken.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: no such file, not a picture, damaged, or larger than ``MAX_PIXELS``.
    """
    from PIL import ImageOps

    with open_image(path) as image:
        return _to_rgb(ImageOps.exif_transpose(image), path)


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


def _to_rgb(image: Any, path: Path) -> U8:
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_wide_to_u8(np.asarray(image), path)[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        from PIL import Image

        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _wide_to_u8(values: NDArray[Any], path: Path) -> U8:
    """Scale grey values wider than 8 bits: integers as 16-bit, floats as [0, 1]."""
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        raise InputError(
            f"{path} holds grey values from {values.min()} to {values.max()}; integers up to "
            "65535 and floats from 0 to 1 are read, so scale them first."
        )
    return np.asarray(np.rint(values.astype(np.float64) * (255 / top)), dtype=np.uint8)
