"""Published test sets in miniature, in their real layouts and with real pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from lavin_deploy.arrays import U8

PALETTE = [value for label in range(256) for value in (label * 37 % 256, label * 91 % 256, label)]
BOX = (20, 30, 80, 110)
"""Of the first class in every picture of Pascal: top, left, bottom, right of 120 x 160 pixels."""


def photo(number: int, height: int, width: int) -> U8:
    """A piece of a photograph, another one for each number."""
    whole = (data.astronaut(), data.cat(), data.coffee(), data.rocket())[number % 4]
    top, left = 17 * (number // 4), 23 * number % 60
    return np.ascontiguousarray(whole[top : top + height, left : left + width])


def pascal(folder: Path) -> Path:
    """VOC 2012 in small: five pictures each of aeroplane (1), person (15) and tv (20).

    One aeroplane has a bird (3) beside it, one person is two objects, one tv fills the frame.
    """
    places = ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation")
    for place in places:
        (folder / place).mkdir(parents=True)
    names = []
    for number in range(15):
        name, label = f"2007_{number:06}", (1, 15, 20)[number % 3]
        labels, objects = np.zeros((2, 120, 160), np.uint8)
        top, left, bottom, right = BOX
        labels[top - 2 : bottom + 2, left - 2 : right + 2] = 255
        labels[top:bottom, left:right], objects[top:bottom, left:right] = label, 1
        if number == 0:
            labels[90:110, 130:150], objects[90:110, 130:150] = 3, 2
        if number == 1:
            objects[top:bottom, 70:right] = 2
        if number == 2:
            labels[:], objects[:] = label, 1
        Image.fromarray(photo(number, 120, 160)).save(folder / "JPEGImages" / f"{name}.jpg")
        for place, content in (("SegmentationClass", labels), ("SegmentationObject", objects)):
            picture = Image.fromarray(content)
            picture.putpalette(PALETTE)
            picture.save(folder / place / f"{name}.png")
        names.append(name)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(names) + "\n")
    return folder


def nyu(folder: Path) -> Path:
    """Five pictures with depth from 1 to 9 metres and a hole in it; normals of one wall."""
    folder.mkdir(parents=True)
    for number in range(5):
        depth = np.tile(np.linspace(1000 + 200 * number, 9000, 96).astype(np.uint16), (72, 1))
        depth[10:30, 10:30] = 0
        normals = np.full((72, 96, 3), (128, 128, 255), np.uint8)
        Image.fromarray(photo(number, 72, 96)).save(folder / f"{number:04}_rgb.png")
        (folder / f"._{number:04}_rgb.png").write_bytes(b"what macOS keeps of it")
        Image.fromarray(depth).save(folder / f"{number:04}_depth.png")
        Image.fromarray(normals).save(folder / f"{number:04}_normal.png")
    return folder


def photos(folder: Path) -> Path:
    """Six pictures of several sizes in two folders of classes."""
    for number in range(6):
        place = folder / ("n01440764", "n01443537")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(number, 90 + number, 120)).save(place / f"val_{number}.JPEG")
    return folder


def published(folder: Path) -> Path:
    """All three in one folder."""
    pascal(folder / "pascal-5i")
    nyu(folder / "nyu-v2")
    photos(folder / "imagenet-val")
    return folder
