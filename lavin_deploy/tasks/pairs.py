"""Find example pairs in a folder: ``<id>_input.*`` beside ``<id>_target.*``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lavin_deploy.errors import InputError

ROLES = ("input", "target")


@dataclass(frozen=True, kw_only=True)
class PairFiles:
    """The two picture files of one example pair and what their names begin with."""

    id: str
    input: Path
    target: Path


def find_pairs(folder: str | os.PathLike[str]) -> list[PairFiles]:
    """List the pairs of a folder, sorted by id; other files in it do not count.

    Args:
        folder: holds ``<id>_input.<suffix>`` and ``<id>_target.<suffix>``, the role in letters of
            either case; the two suffixes of a pair may differ.

    Returns:
        At least one pair. The files are not opened.

    Raises:
        InputError: no such folder, no pair, a half of a pair alone, or two files for one half.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"there is no folder {str(place)!r}; give one with example pairs.")
    halves: dict[str, dict[str, Path]] = {}
    for file in sorted(place.iterdir()):
        name, _, role = file.stem.rpartition("_")
        role = role.lower()
        if not name or role not in ROLES or file.name.startswith(".") or not file.is_file():
            continue
        half = halves.setdefault(name, {})
        if role in half:
            raise InputError(
                f"the pair {name!r} has two {role} files, {half[role].name!r} and {file.name!r}; "
                "keep one."
            )
        half[role] = file
    for name, half in halves.items():
        for role in ROLES:
            if role not in half:
                single = next(iter(half.values())).name
                raise InputError(
                    f"{single!r} stands alone in {str(place)!r}; add {name}_{role}.png or the like."
                )
    if not halves:
        raise InputError(
            f"no example pairs in {str(place)!r}; they are named <id>_input.png and "
            "<id>_target.png (any picture format)."
        )
    return [
        PairFiles(id=n, input=h["input"], target=h["target"]) for n, h in sorted(halves.items())
    ]
