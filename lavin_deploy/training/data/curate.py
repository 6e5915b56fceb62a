"""Which files of the data packages are worth training on, and under which licence.

The lists come from looking at every picture of the pinned versions; the numeric tests catch what
the lists miss (flat art, text, near-black frames).
"""

from __future__ import annotations

import fnmatch
import hashlib
import re

import cv2
import numpy as np

from lavin_deploy.arrays import U8

GCOMPRIS_FOLDERS = {
    # folder of the package's activities: True where the picture is a scene without one main
    # object, which makes it a good background for a collage
    "categorization/resource/images/fishes": False,
    "categorization/resource/images/monuments": True,
    "categorization/resource/images/others": False,
    "categorization/resource/images/renewable": True,
    "categorization/resource/images/tools": False,
    "clickgame/resource": True,
    "details/resource/image": True,
    "erase/resource": False,
    "explore_farm_animals/resource/animals": False,
    "explore_monuments/resource/*": True,
    "explore_world_animals/resource/animals": False,
    "explore_world_music/resource/music": False,
    "louis-braille/resource": False,
    "paintings/resource/image": True,
}
GCOMPRIS_DENIED = ("*chart*", "*night_printing*", "*braille_ball*", "*fireplace*", "*middleeast*")

STAMPS_DENIED = (
    "*cartoon*", "symbols/*", "*_mirror.png", "*toys/*", "town/flags/*", "town/roadsigns/*",
    "clothes/hats/[!t]*", "*/t_*", "*propeller_hat*", "naturalforces/*", "seasonal/easter/*",
    "seasonal/hanukkah/*", "seasonal/newyears/*", "people/body_parts/*", "*outline*", "*0_sun*",
    "seasonal/halloween/[!g]*", "seasonal/halloween/ghost*", "*rugby_goal_posts*", "*/glass.png",
    "*moon_crescent*", "*1_mercury*", "*/hedgehog.png", "*/bee.png", "*/echidna.png",
    "*/pizza.png", "*/tooth.png", "*/bandage_adhesive.png", "*/lamp.png", "*/bow.png",
    "*/[Ss]anta*", "*/star.png", "*/stocking.png", "seasonal/christmas/tree.png", "*hard_candy*",
    "*/candy_cane.png", "*tp_bulb*", "*stoplight*", "*/fly.png", "*walnut_shelled*", "*/button.png",
    "*/bluebird.png", "*fireman240a*", "*/eye.png", "medical/tooth*",
    "*/t-junction*", "*measuring_tape*", "*sedan_police*", "*/scissors_small*",
)  # fmt: skip

SKIMAGE_FILES = {
    # file: (licence, attribution, good background)
    "astronaut.png": ("public-domain", "NASA", False),
    "brick.png": ("CC0-1.0", "Rob Tuytel", True),
    "camera.png": ("CC0-1.0", "Lav Varshney", False),
    "chelsea.png": ("CC0-1.0", "Stefan van der Walt", False),
    "coffee.png": ("CC0-1.0", "Rachel Michetti", False),
    "grass.png": ("CC0-1.0", "Rob Tuytel", True),
    "gravel.png": ("CC0-1.0", "Rob Tuytel", True),
    "hubble_deep_field.jpg": ("public-domain", "NASA", True),
    "moon.png": ("public-domain", "NASA", True),
    "rocket.jpg": ("public-domain", "SpaceX", False),
}

LICENCES = re.compile(r"(CC0-1\.0|CC-BY(-SA)?-[1-4]\.\d|public-domain|GPL-[23]\+?)")


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Say whether ``name`` fits any of the shell patterns (case matters)."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def gcompris_folder(name: str) -> bool | None:
    """Return whether pictures of this resource are scenes, or None if they are not used."""
    inner = name.partition("/activities/")[2]
    folder, _, base = inner.rpartition("/")
    if matches(base, GCOMPRIS_DENIED):
        return None
    for pattern, scene in GCOMPRIS_FOLDERS.items():
        if fnmatch.fnmatchcase(folder, pattern):
            return scene
    return None


def looks_like_photo(image: U8) -> bool:
    """Tell photographs from flat art, text and near-black or near-white pictures.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    small = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    if float(grey.std()) < 10:
        return False
    if float((grey > 245).mean()) > 0.4 or float((grey < 12).mean()) > 0.5:
        return False
    codes = (small >> 3).astype(np.int32)
    colours = len(np.unique(codes[..., 0] << 10 | codes[..., 1] << 5 | codes[..., 2]))
    return colours > 150


def looks_like_cutout(rgba: U8) -> bool:
    """Tell usable photographic cut-outs from art, thin outlines and pictures without a shape.

    Args:
        rgba: (H, W, 4) uint8, straight alpha, cropped to its alpha.
    """
    height, width = rgba.shape[:2]
    if max(height, width) < 44 or min(height, width) < 24:
        return False
    opaque = rgba[..., 3] > 127
    if not 0.12 < float(opaque.mean()) < 0.97:
        return False
    if float((rgba[..., 3][rgba[..., 3] > 8] > 200).mean()) < 0.7:
        return False  # smoke, glass, glows
    codes = (rgba[..., :3][opaque] >> 3).astype(np.int32)
    _, counts = np.unique(codes[:, 0] << 10 | codes[:, 1] << 5 | codes[:, 2], return_counts=True)
    return len(counts) > 60 and float(counts.max() / counts.sum()) < 0.6


def in_test_split(name: str) -> bool:
    """Say whether a source file is held out: one in five, fixed by a hash of its name."""
    return stable_number(name) % 5 == 0


def stable_number(name: str) -> int:
    """Return a number that depends on ``name`` only, the same on every machine and run."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def group_of(name: str) -> str:
    """Return what sibling files share (``lion-2`` and ``lion``), so that splits keep them together.

    Args:
        name: path without suffix, e.g. ``"animals/mammals/cats/lion-2"``.
    """
    folder, _, stem = name.rpartition("/")
    head = re.split(r"[-_0-9]", stem.lower(), maxsplit=1)[0] or stem.lower()
    return f"{folder}/{head}"


def subject_of(file: str) -> str:
    """Return a rough name of what a photo shows, so that pictures of one thing share a split.

    ``fish1.jpg`` and ``fish2.jpg``, or two photos of the Taj Mahal in different folders, agree.
    """
    stem = file.rpartition("/")[2].partition(".")[0].lower()
    return re.sub(r"[^a-z]|background", "", stem)[:5]


class CopyrightFile:
    """The licences of a Debian ``copyright`` file, looked up by file pattern (last match wins)."""

    def __init__(self, text: str) -> None:
        self.entries: list[tuple[list[str], str, str]] = []
        for block in text.split("\n\n"):
            fields = {
                key: re.sub(r"\s+", " ", value).strip()
                for key, value in re.findall(r"^([A-Z][\w-]*):((?:.*)(?:\n[ \t].*)*)", block, re.M)
            }
            if "Files" in fields and "License" in fields:
                self.entries.append(
                    (fields["Files"].split(), fields["License"], fields.get("Copyright", ""))
                )

    def look_up(self, name: str) -> tuple[str, str]:
        """Return (licence, copyright line) of a file; it may be a conversion of a JPEG or PNG."""
        stem = name.rpartition(".")[0]
        answer = ("unstated", "")
        for patterns, licence, owner in self.entries:
            if any(
                fnmatch.fnmatchcase(name, pattern)
                or fnmatch.fnmatchcase(stem, re.sub(r"\.(jpe?g|png)$", "", pattern))
                for pattern in patterns
            ):
                answer = (licence, owner)
        return answer


def licence_allowed(licence: str) -> bool:
    """Say whether a checkpoint trained under this licence may be redistributed (with credit)."""
    return LICENCES.fullmatch(licence) is not None
