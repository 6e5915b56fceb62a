"""A task from a folder of the user's own pairs: picture files, or shards of them."""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError
from lavin_deploy.runtime.create_task import LARGEST_SIDE, read_pairs
from lavin_deploy.tasks.pairs import ROLES, PairFiles, find_pairs
from lavin_deploy.tasks.samples import Style
from lavin_deploy.training.synthesis import appearance
from lavin_deploy.training.tasks.base import Sample, deal
from lavin_deploy.training.tasks.registry import TASKS


class OwnPairs:
    """Square crops of the folder's pairs, input and target alike, mirrored half of the time.

    Args:
        name: of the task; not one of ``registry.TASKS``.
        folder: with two pairs or more, as picture files or, where it holds tar files, as
            ``<id>.input.*`` and ``<id>.target.*`` in these WebDataset shards. Every pair is
            trained on, so keep some elsewhere to measure.

    Raises:
        InputError: the name is taken, the folder does not hold at least two pairs, or a picture is
            thinner than ``appearance.SMALLEST``.
    """

    deterministic = True
    frames = 1
    follows = False
    ordered = False

    def __init__(self, name: str, folder: Path) -> None:
        if name in TASKS or not name.isidentifier():
            raise InputError(
                f"{name!r} cannot name a task of your own pairs; take letters, digits and _, and "
                f"none of {', '.join(TASKS)}."
            )
        self.name = name
        digest = hashlib.sha256()
        with tempfile.TemporaryDirectory() as held:
            shards = sorted(file for file in folder.glob("*.tar") if file.name[0] != ".")
            pair_files = unpack_pairs(shards, Path(held)) if shards else find_pairs(folder)
            if len(pair_files) < 2:
                raise InputError(f"{folder} holds one pair; an episode needs two or more.")
            self.pairs: Sequence[tuple[U8, U8]] = [
                _large_enough(*pair) for pair in read_pairs(pair_files)
            ]
            for pair in pair_files:
                for role, file in (("input", pair.input), ("target", pair.target)):
                    name = f"{pair.id}_{role}{file.suffix}"
                    digest.update(os.fsencode(name) + file.read_bytes())
        self.sha256 = digest.hexdigest()

    def draw_style(self, rng: np.random.Generator) -> Style:
        """Nothing varies: the pairs are what they are."""
        return Style()

    def sample(self, rng: np.random.Generator, style: Style, size: int) -> Sample:
        """Crop 70 to 100 % of the short side out of a random pair."""
        return self._cut(rng, int(rng.integers(len(self.pairs))), size)

    def episode(
        self, rng: np.random.Generator, style: Style, size: int, count: int
    ) -> list[Sample]:
        """Deal out the pairs: none comes again before all have come."""
        return [self._cut(rng, number, size) for number in deal(rng, len(self.pairs), count)]

    def _cut(self, rng: np.random.Generator, number: int, size: int) -> Sample:
        image, target = self.pairs[number]
        place = appearance.window(rng, image, 0.7, 1.0)
        way = -1 if rng.random() < 0.5 else 1
        query, answer = (
            appearance.resized(picture[place][:, ::way], size) for picture in (image, target)
        )
        return Sample(query, answer, number)


def _large_enough(pair: str, image: U8, target: U8) -> tuple[U8, U8]:
    height, width = image.shape[:2]
    if min(height, width) < appearance.SMALLEST:
        raise InputError(
            f"the pair {pair!r} has pictures of {width}x{height} pixels, scaled down to at most "
            f"{LARGEST_SIDE} a side; squares are cut out of them, so give at least "
            f"{appearance.SMALLEST} pixels a side."
        )
    return image, target


def unpack_pairs(shards: Sequence[Path], out: Path) -> list[PairFiles]:
    """Write the pictures of the pairs of shards into ``out``.

    As in WebDataset, a pair's key is the path of its members up to the first dot of their names,
    folders included; equal keys in two shards are two pairs. Roles are in letters of either case.

    Returns:
        The pairs, sorted by their ids ``<shard>/<key>``.

    Raises:
        InputError: a shard is not a whole, uncompressed tar file, or a pair in it is not whole.
    """
    halves: dict[str, dict[str, Path]] = {}
    for shard in shards:
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    folder, _, name = member.name.rpartition("/")
                    key, _, end = name.partition(".")
                    role, _, suffix = end.partition(".")
                    role = role.lower()
                    content = tar.extractfile(member) if key and role in ROLES else None
                    if content is None or "__MACOSX" in folder.split("/"):
                        continue
                    pair = posixpath.normpath(f"{shard.name}/{folder}/{key}")
                    half = halves.setdefault(pair, {})
                    if role in half:
                        raise InputError(f"the pair {pair!r} has two {role} files; keep one.")
                    half[role] = out / f"{len(halves)}_{role}.{suffix.rpartition('.')[2][:16]}"
                    half[role].write_bytes(content.read())
        except (tarfile.TarError, EOFError) as error:
            raise InputError(
                f"{shard} is not a whole tar file ({error}); pack its pairs again, uncompressed."
            ) from error
    for pair, half in halves.items():
        if len(half) < len(ROLES):
            raise InputError(
                f"the pair {pair!r} has no {next(r for r in ROLES if r not in half)} file; a pair "
                "is <id>.input.png and <id>.target.png in one shard."
            )
    if not halves:
        raise InputError(
            f"no pairs in {', '.join(shard.name for shard in shards[:3])}; they are named "
            "<id>.input.png and <id>.target.png (any picture format)."
        )
    return [
        PairFiles(id=pair, input=h["input"], target=h["target"])
        for pair, h in sorted(halves.items())
    ]


def parse_own(words: Sequence[str]) -> dict[str, OwnPairs]:
    """Read ``NAME=FOLDER`` words.

    Raises:
        InputError: a word is not such, or what :class:`OwnPairs` raises.
    """
    tasks = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not equals or name in tasks:
            raise InputError(f"--pairs {word!r} is not NAME=FOLDER with a name of its own.")
        tasks[name] = OwnPairs(name, Path(folder))
    return tasks
