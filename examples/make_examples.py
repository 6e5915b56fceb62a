"""Make the pairs of the tasks that ship, and held-out samples to check them with.

    python examples/make_examples.py DATA

``DATA`` is a folder that ``lavin-data prepare`` filled. Writes ``examples/tasks`` and
``examples/validation``. Every picture comes out of the code that makes the training episodes, but
is composed only of photos and cut-outs that may be passed on: those of ``examples/material`` and
the photos of DATA under CC0, CC-BY, CC-BY-SA or in the public domain. Pairs are made of sources
that training has seen, validation of sources that it has not. The numbers below were chosen by
looking at the pictures.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from lavin_deploy.arrays import U8
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.data.inventory import Inventory
from lavin_deploy.training.data.shards import Shards
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.registry import TASKS

HERE = Path(__file__).parent
PAIR_SIZE, MODEL_SIZE = 256, 128
LARGEST = 120_000  # bytes of a picture
FREE = re.compile(r"CC0-1\.0|CC-BY(-SA)?-[1-4]\.\d|public-domain")


@dataclass(frozen=True)
class Composition:
    """What one sample is composed of: a seed, the photos and the cut-outs it may draw from."""

    seed: int
    photos: Sequence[str]
    cutouts: Sequence[str] = ("goldfish",)
    foreground: tuple[float, float] = (0.16, 0.28)


class Material:
    """Free pictures by short name, with their credits.

    A photo of the prepared data is named by the end of its id; it must be unambiguous.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self.items = [
            item
            for item in Inventory.load(data).items
            if item.kind == "photo" and FREE.fullmatch(item.license)
        ]
        self.own: dict[str, dict[str, dict[str, str]]] = json.loads(
            (HERE / "material" / "material.json").read_text()
        )

    def photo(self, name: str) -> tuple[U8, dict[str, str]]:
        """Return a photo (H, W, 3) uint8 RGB and its credit."""
        if name in self.own["photos"]:
            path = HERE / "material" / "photos" / f"{name}.jpg"
            return _read(path, "RGB"), self.own["photos"][name]
        matches = [item for item in self.items if item.id.endswith(name)]
        if len(matches) != 1:
            raise SystemExit(f"{len(matches)} free photos of {self.data} end in {name!r}, not one.")
        item = matches[0]
        credit = {
            "package": f"{item.package} {item.version}",
            "file": item.file,
            "author": item.attribution,
            "license": item.license,
            "split": item.split,
        }
        return _read(io.BytesIO(Shards(self.data).read(item.path)), "RGB"), credit

    def cutout(self, name: str) -> tuple[U8, dict[str, str]]:
        """Return a cut-out (H, W, 4) uint8 RGBA and its credit."""
        path = HERE / "material" / "cutouts" / f"{name}.png"
        return _read(path, "RGBA"), self.own["cutouts"][name]

    def make(
        self, task: str, style: Style, composition: Composition, size: int
    ) -> tuple[U8, U8, list[dict[str, str]]]:
        """Return an input, its target, both (size, size, 3) uint8, and the credits."""
        photos = [self.photo(name) for name in composition.photos]
        cutouts = [self.cutout(name) for name in composition.cutouts]
        collage = Collage(
            [image for image, _ in photos],
            [image for image, _ in cutouts],
            foreground=composition.foreground,
        )
        sample = TASKS[task](collage).sample(np.random.default_rng(composition.seed), style, size)
        return sample.input, sample.target, [credit for _, credit in photos + cutouts]


def _read(file: Path | io.BytesIO, mode: str) -> U8:
    with Image.open(file) as opened:
        return np.asarray(opened.convert(mode), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A task that ships: what its ``task.json`` says, its pairs and its validation samples.

    ``size`` is the side of its pairs. Noise, thin lines and rendered edges change when a picture
    is shrunk, so where they matter the pairs have the size that the model works at.
    """

    description: str
    deterministic: bool
    view: str
    rendering: dict[str, Any]
    style: Style
    pairs: Sequence[Composition]
    validation: Sequence[Composition]
    size: int = PAIR_SIZE


STREAM = "life-by-aitzol-berasategi-jpg-q"
MOUNTAIN = "picosdeeuropa-by-aitzol-berasategi-jpg-q"
ROOM = "wine-by-jakkub-mede-jpg-q"
MEADOW = "aitzgorri-by-aitzol-berasategi-jpg-q"
SCENES = (STREAM + "0", MOUNTAIN + "0", MEADOW + "2", ROOM + "2", "picture-1a-by-freespace-jpg-q0")
HELD_OUT = ("lake", "tulips", "pavilion", "meadow", "blossom", "concrete")
SEEN_THINGS = ("goldfish", "macaw", "volleyball", "puffer", "bulb", "scissors")
HELD_OUT_THINGS = ("baseball", "bowl", "fig", "tape-measure", "needle-nose", "wrench", "boarfish")
WIDE = (0.07, 0.33)
GREEN = (64, 220, 96)
LINE = (230, 230, 230)


def _each(seed: int, photos: Sequence[str], cutout: str) -> tuple[Composition, ...]:
    """Return a sample of each photo, with seeds that follow each other."""
    return tuple(Composition(seed + n, (photo,), (cutout,)) for n, photo in enumerate(photos))


def _scenes(seed: int, cutouts: Sequence[str] = ("fig",)) -> tuple[Composition, ...]:
    """Return eight held-out samples whose photos and cut-outs are drawn by chance."""
    return tuple(Composition(seed + n, HELD_OUT, cutouts, WIDE) for n in range(8))


def _restored(seed: int, description: str, degradation: str, strength: float) -> Plan:
    """A plan of pictures degraded in the same way; each task's seeds are its own."""
    return Plan(
        description=description,
        deterministic=True,
        view="side-by-side",
        rendering={"kind": "picture", "harm": degradation},
        style=Style(strength=strength),
        size=MODEL_SIZE,
        pairs=_each(
            seed,
            (
                *("monuments-tajmahal-webp", "animals-koala-webp"),
                *("skimage-data-chelsea-png", "monuments-colosseum-webp"),
            ),
            "goldfish",
        ),
        validation=_each(
            seed + 50,
            (
                *("tulips", "pavilion", "lake", "blossom", "dahlias"),
                *("animals-moose-webp", "monuments-lemusee-webp", "monuments-kutubminar-webp"),
            ),
            "bowl",
        ),
    )


PLANS: dict[str, Plan] = {
    "segmentation": Plan(
        description="Paint the objects in the foreground green and everything else black.",
        deterministic=True,
        view="overlay",
        rendering={"kind": "mask", "foreground": GREEN, "background": (0, 0, 0)},
        style=Style(foreground=GREEN),
        pairs=(
            Composition(3, (STREAM + "0",), ("macaw",), (0.18, 0.26)),
            Composition(36, (MOUNTAIN + "2", MOUNTAIN + "3"), ("volleyball",), (0.15, 0.26)),
            Composition(105, (STREAM + "3",), ("goldfish",), (0.17, 0.27)),
            Composition(3, (ROOM + "1", ROOM + "3"), ("bulb",), (0.13, 0.24)),
        ),
        validation=(
            Composition(9, ("lake",), ("baseball",), WIDE),
            Composition(3, ("tulips",), ("tape-measure", "pliers"), WIDE),
            Composition(11, ("pavilion",), ("bowl",), WIDE),
            Composition(1, ("meadow",), ("boarfish",), WIDE),
            Composition(3, ("blossom",), ("wrench", "ball-hammer"), WIDE),
            Composition(7, ("concrete",), ("claw-hammer", "needle-nose"), WIDE),
            Composition(12, ("monuments-lemusee-webp",), ("dahlia",), WIDE),
            Composition(4, ("monuments-kutubminar-webp",), ("baseball", "fig", "bowl"), WIDE),
        ),
    ),
    "edges": Plan(
        description="Draw the outlines of the objects in light grey on black.",
        deterministic=True,
        view="overlay",
        rendering={
            "kind": "edges",
            "truth": "where one object ends and another or the background begins, 1.5 pixels wide",
            "foreground": LINE,
            "background": (0, 0, 0),
        },
        style=Style(foreground=LINE),
        size=MODEL_SIZE,
        pairs=(
            Composition(3, SCENES, SEEN_THINGS, (0.12, 0.3)),
            Composition(5, SCENES, SEEN_THINGS, (0.12, 0.3)),
            Composition(18, SCENES, SEEN_THINGS, (0.12, 0.3)),
            Composition(13, SCENES, SEEN_THINGS, (0.12, 0.3)),
        ),
        validation=_scenes(300, HELD_OUT_THINGS),
    ),
    "colorization": Plan(
        description="Give a grey photo its colours back.",
        deterministic=False,
        view="target",
        rendering={"kind": "colour", "input": "grey in three channels"},
        style=Style(),
        pairs=(
            Composition(0, ("monuments-operahouse-webp",)),
            Composition(4, ("dragonfly-by-bolly-jpg-q0",)),
            Composition(4, ("skimage-data-coffee-png",)),
            Composition(4, ("monuments-colosseum-webp",)),
        ),
        validation=_each(
            100,
            (
                *("lake", "tulips", "pavilion", "dahlias", "meadow"),
                *("monuments-lemusee-webp", "animals-moose-webp", "monuments-kutubminar-webp"),
            ),
            "fig",
        ),
    ),
    "denoising": Plan(
        description="Take the noise off a picture.",
        deterministic=True,
        view="side-by-side",
        rendering={"kind": "picture", "noise": "Gaussian, sigma 25 of 255"},
        style=Style(strength=25),
        size=MODEL_SIZE,
        pairs=(
            Composition(5, ("monuments-tajmahal-webp",)),
            Composition(5, ("animals-panda-webp",)),
            Composition(8, ("skimage-data-chelsea-png",)),
            Composition(8, ("animals-koala-webp",)),
        ),
        validation=_each(
            200,
            (
                *("tulips", "pavilion", "lake", "blossom", "dahlias"),
                *("animals-moose-webp", "monuments-lemusee-webp", "monuments-kutubminar-webp"),
            ),
            "bowl",
        ),
    ),
    "inpainting": Plan(
        description="Fill the grey square.",
        deterministic=False,
        view="side-by-side",
        rendering={"kind": "picture", "hole": "a square of grey 127, a quarter of the side"},
        style=Style(),
        pairs=(
            Composition(8, ("monuments-parthenon-webp",)),
            Composition(5, ("monuments-uscapitol-webp",)),
            Composition(6, ("renewable-windmill4-webp",)),
            Composition(4, (MOUNTAIN + "1",)),
        ),
        validation=_each(
            400,
            (
                *("pavilion", "tulips", "lake", "meadow", "blossom"),
                *("monuments-lemusee-webp", "animals-moose-webp", "monuments-kutubminar-webp"),
            ),
            "baseball",
        ),
    ),
    "depth": Plan(
        description="Paint how near everything is: the nearest white, the farthest black.",
        deterministic=True,
        view="side-by-side",
        rendering={"kind": "depth", "scale": "inverse depth, per picture", "near": "bright"},
        style=Style(),
        size=MODEL_SIZE,
        pairs=tuple(Composition(seed, SCENES) for seed in (13, 4, 11, 18)),
        validation=_scenes(500),
    ),
    "normals": Plan(
        description="Paint which way surfaces face, as (n + 1) / 2 in red, green and blue.",
        deterministic=True,
        view="side-by-side",
        rendering={
            "kind": "normals",
            "axes": "red: right, green: up, blue: towards the camera; grey: no surface",
        },
        style=Style(),
        size=MODEL_SIZE,
        pairs=tuple(Composition(seed, SCENES) for seed in (26, 27, 39, 28)),
        validation=_scenes(600),
    ),
    "matting": Plan(
        description="Paint how opaque the objects in the foreground are: opaque is white.",
        deterministic=True,
        view="side-by-side",
        rendering={"kind": "matte", "foreground": (255, 255, 255), "background": (0, 0, 0)},
        style=Style(),
        pairs=(
            Composition(703, (STREAM + "0",), ("macaw",), (0.18, 0.26)),
            Composition(704, (MOUNTAIN + "2",), ("volleyball",), (0.15, 0.26)),
            Composition(705, (STREAM + "3",), ("goldfish",), (0.17, 0.27)),
            Composition(706, (ROOM + "1",), ("bulb",), (0.13, 0.24)),
        ),
        validation=_scenes(750, HELD_OUT_THINGS),
    ),
    "removal": Plan(
        description="Take the objects in the foreground away.",
        deterministic=False,
        view="side-by-side",
        rendering={"kind": "picture"},
        style=Style(),
        pairs=(
            Composition(803, (STREAM + "0",), ("macaw",), (0.08, 0.2)),
            Composition(804, (MOUNTAIN + "2",), ("volleyball",), (0.08, 0.2)),
            Composition(805, (STREAM + "3",), ("goldfish",), (0.08, 0.2)),
            Composition(806, (ROOM + "1",), ("bulb",), (0.08, 0.2)),
        ),
        validation=_scenes(850, HELD_OUT_THINGS),
    ),
    "deblurring": _restored(900, "Sharpen a picture that is out of focus.", "Gaussian blur", 2.5),
    "motion_deblurring": _restored(
        1000, "Sharpen a picture that was shaken.", "blur along a line", 9.0
    ),
    "super_resolution": _restored(
        1100, "Sharpen a picture that was enlarged.", "shrunk and enlarged", 3.0
    ),
    "jpeg_repair": _restored(1200, "Repair a JPEG of low quality.", "JPEG of quality 20", 30.0),
    "low_light": _restored(1300, "Light a dark picture up.", "a fifth of the light", 5.0),
    "deraining": _restored(1400, "Take the rain off a picture.", "streaks of rain", 50.0),
    "glass_deblurring": _restored(1500, "Look through frosted glass.", "frosted glass", 2.5),
}


def save(image: U8, path: Path) -> None:
    """Write a PNG; one that is too large loses its lowest bit, or two."""
    for bits in (0, 1, 2):
        step = 1 << bits
        rounded = image // step * step + step // 2
        Image.fromarray(rounded.astype(np.uint8)).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            return
    raise SystemExit(f"{path.name} of {path.parent.name} is too large; choose another seed.")


def write(
    plan: Plan, task: str, material: Material, credits: dict[str, list[dict[str, str]]]
) -> None:
    """Write the pairs and the validation samples of one task and note their credits."""
    notes = {
        "description": plan.description,
        "deterministic": plan.deterministic,
        "view": plan.view,
        "rendering": plan.rendering,
    }
    for part, compositions, size in (
        ("tasks", plan.pairs, plan.size),
        ("validation", plan.validation, MODEL_SIZE),
    ):
        folder = HERE / part / task
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, each in enumerate(compositions, start=1):
            query, target, sources = material.make(task, plan.style, each, size)
            split = "train" if part == "tasks" else "test"
            wrong = [source["file"] for source in sources if source["split"] != split]
            if wrong:
                raise SystemExit(f"{part}/{task} {number}: {wrong} is not of the {split} split.")
            name = f"{number:02d}"
            save(query, folder / f"{name}_input.png")
            save(target, folder / f"{name}_target.png")
            credits[f"{part}/{task}/{name}"] = sources
        if part == "tasks":
            (folder / "task.json").write_text(json.dumps(notes, indent=1) + "\n")


HEAD = """# Sources of the pictures

The pictures of the tasks (`tasks/`) and of the validation samples (`validation/`) were composed by
`examples/make_examples.py` of parts of the works below: crops, changed colours, cut-outs over other
photos, textures of rendered scenes. Where a CC BY-SA work is among a picture's sources the picture
is under CC BY-SA 4.0; otherwise it is under CC BY 4.0. Licence texts:
<https://creativecommons.org/licenses/>. Works in the public domain or under CC0 are named too.
Chance drew from the works named for a picture, so that it need not hold a part of each.

| No. | work | author | licence | taken from |
|---|---|---|---|---|
"""


def attribution(credits: dict[str, list[dict[str, str]]]) -> str:
    """Return the list of works, and which picture holds which."""
    works: dict[tuple[str, str, str, str], int] = {}
    lines = []
    for name, sources in credits.items():
        numbers = []
        for credit in sources:
            file = credit["file"].removeprefix("src/activities/")
            key = (file, credit["author"], credit["license"], credit["package"])
            numbers.append(works.setdefault(key, len(works) + 1))
        lines.append(f"| {name} | {', '.join(str(n) for n in sorted(set(numbers)))} |")
    table = [f"| {n} | {' | '.join(key)} |" for key, n in works.items()]
    return HEAD + "\n".join(
        [*table, "", "| picture (input and target) | works |", "|---|---|", *lines, ""]
    )


def main(data: Path) -> None:
    """Write ``examples/tasks`` and ``examples/validation``."""
    cv2.setNumThreads(1)
    material = Material(data)
    credits: dict[str, list[dict[str, str]]] = {}
    for task, plan in PLANS.items():
        write(plan, task, material, credits)
    text = attribution(dict(sorted(credits.items())))
    for part in ("tasks", "validation"):  # both folders travel alone, into bundles
        (HERE / part / "ATTRIBUTION.md").write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/make_examples.py DATA")
    main(Path(sys.argv[1]))
