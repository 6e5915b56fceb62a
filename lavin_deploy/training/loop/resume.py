"""A run that goes on with other settings than its state was made with: which differ, and may they.

What makes the model or what is trained of it stays; everything else may change on the way, and is
said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lavin_deploy.errors import CheckpointError, InputError
from lavin_deploy.training.loop.settings import Recipe
from lavin_deploy.training.loop.states import present, step_of

SETTINGS = "settings.json"
"""Name of the file in a state's folder."""


def settings_text(recipe: Recipe) -> str:
    """The settings of a run as its states keep them, JSON."""
    return json.dumps({"fixed": recipe.fixed(), "all": asdict(recipe)}, indent=1)


def look_ahead(states: Path, recipe: Recipe, *, resume: bool) -> None:
    """Refuse a run that its folder's states do not let begin, before any data is made for it.

    Args:
        states: folder of the run's states; it need not exist.
        recipe: of the run.
        resume: whether to go on from the last state.

    Raises:
        InputError: there is a state and ``resume`` is False, or what :func:`check_resume` raises.
        CheckpointError: ``resume`` is True and there is no state.
    """
    found = present(states)
    if found and not resume:
        raise InputError(f"{states.parent} holds a run already; give --resume or another --out.")
    if resume and not found:
        raise CheckpointError(f"--resume: {states} holds no readable state.")
    if found:
        with suppress(CheckpointError):  # a damaged state: the one before will be read
            check_resume(found[0], step_of(found[0]), recipe)


def check_resume(state: Path, step: int, recipe: Recipe) -> str:
    """Compare a state's settings with those of the run that goes on from it.

    Args:
        state: its folder.
        step: of the state.
        recipe: of the run.

    Returns:
        One sentence that names what differs and is allowed; empty where nothing does.

    Raises:
        InputError: what differs cannot change on the way, or the state is past the run's end.
        CheckpointError: the state's settings cannot be read.
    """
    if recipe.steps < step:
        raise InputError(
            f"steps is {recipe.steps}, but the state in {state.parent} is at step {step}; set "
            "steps to more, or give another --out."
        )
    try:
        before = json.loads((state / SETTINGS).read_text(encoding="utf-8"))
        fixed, every = dict(before["fixed"]), dict(before["all"])
    except FileNotFoundError:  # of a version that did not keep them
        return ""
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{state / SETTINGS} is damaged; delete the state.") from error
    kept = recipe.fixed()
    wrong = _differences(fixed, kept)
    if wrong:
        raise InputError(
            f"--resume with other settings than the state in {state.parent} has: "
            f"{'; '.join(wrong)}. These cannot change on the way: give them as they were, or "
            "another --out with --init-from."
        )
    changed = _differences(
        {k: v for k, v in every.items() if k not in kept},
        {k: v for k, v in asdict(recipe).items() if k not in kept},
    )
    if not changed:
        return ""
    return f"--resume with other settings, which is allowed from here on: {'; '.join(changed)}."


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``name was A, is B`` of what both have (a later version may have more)."""
    both = [name for name in now if name in before]
    return [
        f"{name} was {before[name]}, is {now[name]}" for name in both if before[name] != now[name]
    ]
