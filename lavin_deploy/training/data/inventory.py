"""What a prepared data folder holds: one item per picture, with its licence and credit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lavin_deploy.errors import InputError
from lavin_deploy.files import replaced_file

INVENTORY = "inventory.json"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One prepared picture.

    Attributes:
        id: unique name without a dot, also the file's stem.
        kind: ``"photo"``, ``"cutout"`` or the name of a labelled task.
        path: ``<shard>/<file>``: a tar file beside the inventory and the picture's name in it.
        package: package it came from, or ``"generated"``.
        version: that package's version.
        file: source file inside the package (for film frames with the time in seconds).
        license: licence of the source file.
        split: ``"train"`` or ``"test"``.
        attribution: whom to credit.
        scene: a photo without one main object, so a good background for a collage.
        target: of a labelled picture, likewise its labels or target; see ``label_readers``.
    """

    id: str
    kind: str
    path: str
    package: str
    version: str
    file: str
    license: str
    split: str
    attribution: str
    scene: bool = True
    target: str = ""


@dataclass(frozen=True)
class Inventory:
    """What a prepared folder holds.

    Attributes:
        items: all pictures.
        missing: names of sources that could not be fetched.
        complete: per source written to its end, what it was written from; see ``prepare``.
    """

    items: tuple[Item, ...]
    missing: tuple[str, ...] = ()
    complete: Mapping[str, str] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return how many pictures there are of each ``kind/split``."""
        by_split = Counter(f"{item.kind}/{item.split}" for item in self.items)
        return dict(sorted(by_split.items()))

    def save(self, folder: Path) -> None:
        """Write ``inventory.json`` into ``folder``, replacing it in one step."""
        data: dict[str, Any] = {
            "items": [asdict(item) for item in self.items],
            "missing": list(self.missing),
        }
        data["complete"] = dict(self.complete)
        with replaced_file(folder / INVENTORY) as part:
            part.write_text(json.dumps(data, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Inventory:
        """Read the inventory of a prepared folder.

        Raises:
            InputError: the folder has not been prepared, or its inventory is damaged.
        """
        try:
            data: dict[str, Any] = json.loads((folder / INVENTORY).read_text())
            items = tuple(Item(**item) for item in data["items"])
            return cls(items, tuple(data["missing"]), data["complete"])
        except FileNotFoundError as error:
            raise InputError(
                f"{folder} holds no inventory.json; make it with 'lavin-data prepare --out DIR'."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder / 'inventory.json'} is damaged ({error}); prepare the folder again."
            ) from error
