"""The pools of a run: which tasks a recipe asks for, what they are made of, one pool each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lavin_deploy.config import ModelConfig
from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.training.data.inventory import Inventory, Item
from lavin_deploy.training.data.shards import FORMAT
from lavin_deploy.training.families.registry import FAMILIES, makeable
from lavin_deploy.training.latents.make import make_pool, open_pool, pool_path
from lavin_deploy.training.latents.pool import LatentPools
from lavin_deploy.training.loop.processes import Processes
from lavin_deploy.training.loop.settings import (
    ALL,
    ALL_TASKS,
    CLIP_WEIGHTS,
    EVERYTHING,
    EVERYTHING_WEIGHTS,
    FAMILY_WEIGHTS,
    DiTRecipe,
)
from lavin_deploy.training.losses.pixels import check_deterministic
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Task
from lavin_deploy.training.tasks.clips import CLIP_TASKS
from lavin_deploy.training.tasks.own import OwnPairs
from lavin_deploy.training.tasks.registry import TASKS, available

log = logging.getLogger(__name__)


FIRST_GROUPS = 400
"""Most groups of what a curriculum begins with."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one stage of a run draws from.

    Attributes:
        train: to learn from.
        held_out: to validate on, or None.
    """

    train: LatentPools
    held_out: LatentPools | None


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What a run draws from.

    Attributes:
        main: all its tasks at its size.
        beginning: what a curriculum begins with, or None.
        small: the tasks of ``main`` at the size of small steps, or None.
    """

    main: Stage
    beginning: Stage | None = None
    small: LatentPools | None = None


def open_stages(
    recipe: DiTRecipe,
    vae: STVAE,
    config: ModelConfig,
    out: Path,
    *,
    data: Path | None,
    own: Mapping[str, OwnPairs],
    processes: Processes,
) -> Stages:
    """What a run draws from; see :func:`open_pools`.

    Raises:
        InputError: what :func:`open_pools` and the recipe raise; a batch of broken episodes; a
            curriculum that is not validated.
    """
    recipe.adapt(config)  # refuses what no run could have, before anything is encoded
    if any(len(part) % recipe.queries for part in processes.share(recipe.batch, recipe.accumulate)):
        raise InputError(
            f"batch={recipe.batch} cannot be cut into whole episodes of queries={recipe.queries}; "
            "set batch to a multiple of queries times accumulate and processes."
        )
    # The user's own tasks have nothing held out.
    validated = bool(recipe.held_out and set(named_weights(recipe.tasks)) - set(own))

    def opened(each: DiTRecipe, split: str = "train") -> LatentPools:
        return open_pools(
            each, vae, config, out, data=data, own=own, processes=processes, split=split
        )

    def stage(each: DiTRecipe) -> Stage:
        return Stage(train=opened(each), held_out=opened(each, "test") if validated else None)

    beginning = None
    if recipe.first_tasks:
        if not recipe.held_out:
            raise InputError(
                "first_tasks are left when held-out pictures are read; set held_out to the groups "
                "to validate on, e.g. held_out=8."
            )
        first = replace(
            recipe,
            tasks=recipe.first_tasks,
            size=recipe.first_size,
            groups=min(recipe.groups, FIRST_GROUPS),
        )
        beginning = stage(first)
    small = None
    if recipe.small_steps:
        # As many groups more as a picture's encoding is cheaper: few are learnt by heart.
        more = max(1, round((recipe.size / recipe.first_size) ** 2))
        small = opened(replace(recipe, size=recipe.first_size, groups=more * recipe.groups))
    return Stages(main=stage(recipe), beginning=beginning, small=small)


def prepared(data: Path | None, what: str, split: str = "train") -> Collage:
    """One split of a prepared folder.

    Raises:
        InputError: none is given, or it is not prepared.
    """
    if data is None:
        raise InputError(f"{what} is trained on prepared pictures; give their folder with --data.")
    return Collage.load(data, split)


def open_pools(
    recipe: DiTRecipe,
    vae: STVAE,
    config: ModelConfig,
    out: Path,
    *,
    data: Path | None,
    own: Mapping[str, OwnPairs],
    processes: Processes,
    split: str = "train",
) -> LatentPools:
    """Encode what is not encoded yet, and open the pools of a recipe's tasks.

    Args:
        recipe: its ``tasks`` are names with weights, or ``all`` or ``everything``: those that the
            folder has pictures for.
        vae: encodes.
        config: of the latents.
        out: folder of the run.
        data: prepared folder, or None where only own tasks are wanted.
        own: the user's tasks by name.
        processes: the main process encodes.
        split: of the folder; of ``test`` there are ``recipe.held_out`` groups of every task but the
            user's own.

    Raises:
        InputError: an unknown task, one without pictures, or one that the recipe cannot have.
    """
    weights = named_weights(recipe.tasks)
    if split != "train":
        weights = {name: weight for name, weight in weights.items() if name not in own}
    makers: dict[str, Callable[[Collage], Task]] = {**TASKS, **CLIP_TASKS, **FAMILIES}
    for name in weights:
        if name not in makers and name not in own:
            raise unknown_name("task", name, [*makers, *own])
    tasks: dict[str, Task] = {name: own[name] for name in weights if name in own}
    items: Sequence[Item] = ()
    if set(weights) - set(own):
        pictures = prepared(data, ", ".join(set(weights) - set(own)), split)
        assert data is not None
        items = [item for item in Inventory.load(data).items if item.split == split]
        chosen = {name: makers[name] for name in weights if name not in own}
        if recipe.tasks in (ALL, EVERYTHING) or split != "train":
            there = makeable(pictures)
            chosen = {k: make for k, make in chosen.items() if k not in FAMILIES or k in there}
            tasks |= available(chosen, pictures)
        else:
            tasks |= {name: make(pictures) for name, make in chosen.items()}
    absent = [name for name in weights if name not in tasks]
    if absent and split == "train":
        log.warning("no pictures for %s: not trained on", ", ".join(absent))
    weights = {name: weight for name, weight in weights.items() if name in tasks}
    if recipe.in_pixels:
        check_deterministic(tasks.values())
    pools = []
    shares = share_groups(weights, recipe.groups)
    if split != "train":
        shares = dict.fromkeys(weights, recipe.held_out)
    for name, groups in shares.items():
        task = tasks[name]
        source = task.sha256 if isinstance(task, OwnPairs) else pictures_of(name, items)
        path = pool_path(out, name, recipe, source)
        if processes.main:
            make_pool(vae, task, path, groups=groups, recipe=recipe, device=processes.device)
        processes.barrier()
        pools.append(
            open_pool(
                task,
                path,
                weights[name],
                in_pixels=recipe.in_pixels,
                foreground=recipe.foreground if split == "train" else 0.0,
            )
        )
    return LatentPools.of(pools, config)


def pictures_of(task: str, items: Sequence[Item]) -> str:
    """What names the pictures that a task is made of, of one split's items, and how it draws."""
    kinds, version = {"photo", "cutout", task}, 1
    if task in FAMILIES:
        kinds.update(FAMILIES[task].needs)
        version = FAMILIES[task].version
    lines = [f"shards {FORMAT}, version {version}"]
    lines += [
        f"{item.package} {item.version} {item.split} {item.id}"
        for item in items
        if item.kind in kinds
    ]
    return "\n".join(lines)


def named_weights(tasks: str) -> dict[str, float]:
    """Weights by task name of ``DiTRecipe.tasks``.

    Raises:
        InputError: what :func:`parse_weights` raises.
    """
    if tasks == ALL:
        return dict(ALL_TASKS)
    if tasks == EVERYTHING:
        return {**EVERYTHING_WEIGHTS, **FAMILY_WEIGHTS, **CLIP_WEIGHTS}
    return parse_weights(tasks)


def parse_weights(text: str) -> dict[str, float]:
    """``"segmentation:4,edges:1"`` -> weights by task name.

    Raises:
        InputError: an entry is not ``name:weight`` with a positive weight.
    """
    weights = {}
    for entry in text.split(","):
        name, _, number = entry.strip().partition(":")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = 0.0
        if weights[name] <= 0:
            raise InputError(f"{entry!r} in tasks is not name:weight, e.g. segmentation:4.")
    return weights


def share_groups(weights: dict[str, float], groups: int) -> dict[str, int]:
    """Share ``groups`` out by weight, so that items of all tasks are met equally often."""
    total = sum(weights.values())
    return {task: max(1, round(groups * weight / total)) for task, weight in weights.items()}
