"""What weights the benchmarks of joint models run: those of any checkpoint, read as a joint model.

Time does not depend on how weights were trained, and a distance from the same graph in float32 is
one of numbers, not of answers; so the checkpoint that ships, whose context is frozen, serves both.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lavin_deploy.models.checkpoint import find_files, load_released, read_config
from lavin_deploy.models.jdit import JDiT
from lavin_deploy.models.stvae import STVAE

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "edge-all"


def load_joint(ckpt: Path) -> tuple[JDiT, STVAE]:
    """Load a checkpoint's weights, float32, into a model whose context sees the target."""
    files = find_files(ckpt)
    config = read_config(files)
    config = replace(config, dit=replace(config.dit, context="joint"))
    return load_released(files.dit, files.vae, config)
