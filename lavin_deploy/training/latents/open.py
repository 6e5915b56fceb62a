"""The pools of a run: which tasks a recipe asks for, what they are made of, one pool each."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from lavin_deploy.config import ModelConfig
from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.models.stvae import STVAE
from lavin_deploy.training.data.inventory import INVENTORY
from lavin_deploy.training.latents.make import make_pool, pool_path
from lavin_deploy.training.latents.pool import LatentPools, Pool
from lavin_deploy.training.loop.processes import Processes
from lavin_deploy.training.loop.settings import ALL, ALL_TASKS, DiTRecipe
from lavin_deploy.training.losses.pixels import check_deterministic
from lavin_deploy.training.synthesis.collage import Collage
from lavin_deploy.training.tasks.base import Task
from lavin_deploy.training.tasks.clips import CLIP_TASKS
from lavin_deploy.training.tasks.own import OwnPairs
from lavin_deploy.training.tasks.registry import TASKS, available

log = logging.getLogger(__name__)


def prepared(data: Path | None, what: str) -> Collage:
    """The training split of a prepared folder.

    Raises:
        InputError: none is given, or it is not prepared.
    """
    if data is None:
        raise InputError(f"{what} is trained on prepared pictures; give their folder with --data.")
    return Collage.load(data, "train")


def open_pools(
    recipe: DiTRecipe,
    vae: STVAE,
    config: ModelConfig,
    out: Path,
    *,
    data: Path | None,
    own: Mapping[str, OwnPairs],
    processes: Processes,
) -> LatentPools:
    """Encode what is not encoded yet, and open the pools of a recipe's tasks.

    Args:
        recipe: its ``tasks`` are names with weights, or ``all``: those of ``ALL_TASKS`` that the
            folder has pictures for.
        vae: encodes.
        config: of the latents.
        out: folder of the run.
        data: prepared folder, or None where only own tasks are wanted.
        own: the user's tasks by name.
        processes: the main process encodes.

    Raises:
        InputError: an unknown task, one without pictures, or one that the recipe cannot have.
    """
    weights = dict(ALL_TASKS) if recipe.tasks == ALL else parse_weights(recipe.tasks)
    makers = {**TASKS, **CLIP_TASKS}
    for name in weights:
        if name not in makers and name not in own:
            raise unknown_name("task", name, [*makers, *own])
    tasks: dict[str, Task] = {name: own[name] for name in weights if name in own}
    inventory = ""
    if set(weights) - set(own):
        pictures = prepared(data, ", ".join(set(weights) - set(own)))
        assert data is not None
        inventory = (data / INVENTORY).read_text()
        chosen = {name: makers[name] for name in weights if name not in own}
        if recipe.tasks == ALL:
            tasks |= available(chosen, pictures)
        else:
            tasks |= {name: make(pictures) for name, make in chosen.items()}
    absent = [name for name in weights if name not in tasks]
    if absent:
        log.warning("no pictures for %s: not trained on", ", ".join(absent))
    weights = {name: weight for name, weight in weights.items() if name in tasks}
    if recipe.in_pixels:
        check_deterministic(tasks.values())
    pools = []
    for name, groups in share_groups(weights, recipe.groups).items():
        task = tasks[name]
        source = task.sha256 if isinstance(task, OwnPairs) else inventory
        path = pool_path(out, name, groups, recipe, source)
        if processes.main:
            make_pool(vae, task, path, groups=groups, recipe=recipe, device=processes.device)
        processes.barrier()
        pools.append(
            Pool.open(path, weights[name], ordered=task.ordered, in_pixels=recipe.in_pixels)
        )
    return LatentPools.of(pools, config)


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
