"""Training recipes by name, changed on the command line with ``--set key=value``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from lavin_deploy.errors import InputError, unknown_name
from lavin_deploy.training.loop.settings import ALL, EVERYTHING, DiTRecipe, Recipe, VAERecipe

PUBLISHED = DiTRecipe(
    steps=100_000,
    batch=640,
    size=256,
    learning_rate=1e-4,
    warmup=1000,
    decay=1e-9,
    ema=0.9999,
    max_pairs=8,
    at_noise=0.0,
    drop=0.1,
    l1=0.1,
    groups=20_000,
    compiled=True,
    sharded=True,
    recompute=True,
    tasks=ALL,
)
"""The paper's schedule (section 4.1): 100k steps at 256 px, then 20k at 512 px, 640 samples a step
on 64 GPUs; AdamW 1e-4. What it does not say (warm-up, averaging, share without pairs) is ours."""


FEW = DiTRecipe(steps=4000, learning_rate=3e-4, warmup=100, at_noise=0.5, drop=0.0)


def _published(preset: str) -> dict[str, Recipe]:
    first = replace(PUBLISHED, preset=preset)
    return {preset: first, f"{preset}-512": replace(first, steps=20_000, size=512)}


RECIPES: dict[str, dict[str, Recipe]] = {
    "stvae": {
        "edge": VAERecipe(),
        # Phase 2 for a model whose J-DiT is there already (--init-from).
        "edge-temporal": VAERecipe(
            frames=5,
            batch=8,
            stills=0.0,
            temporal_only=True,
            distillation=0.0,
            kl=0.0,
        ),
        # Sharper pictures for a J-DiT that is there already (--init-from).
        "edge-decoder": VAERecipe(
            size=128, batch=8, learning_rate=5e-4, decoder_only=True, distillation=0.0, kl=0.0
        ),
        # Hard edges, encoder and all (--init-from); the J-DiT then learns the new latents.
        "edge-labels": VAERecipe(
            size=128, batch=8, learning_rate=7e-4, labels=0.5, distillation=0.0, l1=0.5, mse=8.0
        ),
        # Phase 2, from phase 1's weights (--init-from): clips, perceptual and adversarial losses.
        "edge-video": VAERecipe(
            size=128,
            frames=9,
            batch=4,
            distillation=0.0,
            learning_rate=3e-4,
            perceptual="efficientnet-lite0",
            disc_weight=0.1,
        ),
        **{
            name: VAERecipe(
                preset=name,
                size=256,
                batch=64,
                steps=100_000,
                learning_rate=1e-4,
                distillation=0.1,
                perceptual="efficientnet-lite0",
                disc_weight=0.1,
            )
            for name in ("0.1b", "1b", "3.4b")
        },
        "tiny": VAERecipe(preset="tiny", steps=20, warmup=2, batch=4, bf16=False),
    },
    "jdit": {
        "edge": DiTRecipe(steps=20000),
        # From a trained joint model (--init-from) to one whose context never sees the target.
        "edge-frozen": DiTRecipe(steps=4000, learning_rate=3e-4, warmup=100, context="frozen"),
        # What scripts/train_default.sh trains: all tasks, one to four pairs, a frozen context.
        "edge-all": DiTRecipe(
            steps=20_000,
            batch=64,
            size=128,
            groups=4000,
            tasks=ALL,
            max_pairs=4,
            at_noise=0.85,
            learning_rate=6e-4,
            decay=0.3,
            context="frozen",
            compiled=True,
        ),
        # The long run: pairs that are read, from edge-all's blocks. Its rate does not fall; a
        # milestone is a branch whose rate does (scripts/train_default.sh).
        "edge-pairs": DiTRecipe(
            steps=1_000_000,
            batch=64,
            queries=4,
            size=128,
            groups=6000,
            tasks=EVERYTHING,
            held_out=8,
            foreground=3.0,
            one_pair=0.4,
            first_tasks="region_flat:1",
            first_reading=0.4,
            small_steps=0.75,
            max_pairs=4,
            at_noise=0.85,
            drop=0.0,
            learning_rate=1e-3,
            warmup=200,
            decay=1e-9,
            context="frozen",
            pairing="merged",
            compiled=True,
            save_minutes=10.0,
        ),
        # From many evaluations to few (--init-from): from a field of velocities to 4 segments, and
        # on by halves; from any field of velocities with --set teacher_steps=32.
        "edge-4": replace(FEW, segments=4),
        "edge-2": replace(FEW, segments=2, teacher_steps=4),
        "edge-1": replace(FEW, segments=1, teacher_steps=2),
        # One evaluation, end to end in pixels (--init-from), for deterministic tasks.
        "edge-one-step": replace(FEW, at_noise=1.0, pixel_l1=1.0, learning_rate=1e-4),
        **_published("0.1b"),
        **_published("1b"),
        **_published("3.4b"),
        "tiny": DiTRecipe(preset="tiny", steps=20, warmup=2, batch=8, groups=2, bf16=False),
    },
}

R = TypeVar("R", bound=Recipe)
ALIASES = {"judge": "disc_weight", "judge_start": "disc_start", "taught": "distillation"}
"""Earlier names of settings, which ``override`` still takes."""
SWITCH = {"1": True, "true": True, "0": False, "false": False}


def recipe(kind: str, name: str) -> Recipe:
    """Return the recipe called ``name`` for ``kind`` (``stvae`` or ``jdit``).

    Raises:
        InputError: there is none.
    """
    if name not in RECIPES[kind]:
        raise unknown_name(f"{kind} recipe", name, RECIPES[kind])
    return RECIPES[kind][name]


def override(base: R, settings: Sequence[str]) -> R:
    """Replace fields of a recipe by ``key=value`` texts.

    Raises:
        InputError: an unknown key, or a value of another type than the field's.
    """
    types = {field.name: type(getattr(base, field.name)) for field in fields(base)}
    for setting in settings:
        key, _, text = setting.partition("=")
        key = ALIASES[key] if ALIASES.get(key) in types else key
        if key not in types:
            raise unknown_name("recipe setting", key, types)
        kind = types[key]
        try:
            value = SWITCH[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError) as error:
            raise InputError(f"{setting!r}: {key} takes a {kind.__name__}.") from error
        changes: dict[str, Any] = {key: value}
        base = replace(base, **changes)
    return base
