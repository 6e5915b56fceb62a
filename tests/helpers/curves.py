"""Losses of the ``tiny`` recipes, step by step; ``python -m tests.helpers.curves`` commits them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from click.testing import CliRunner

from lavin_deploy.cli.train import train
from lavin_deploy.training.meter import Meter
from tests.helpers.answers import generated_data

CURVES = Path(__file__).parent.parent / "training" / "curves"


def machine() -> dict[str, str]:
    """What the order of sums depends on."""
    version = torch.__version__.partition("+")[0]
    return {"torch": version, "cpu": torch.backends.cpu.get_cpu_capability()}


def record(kind: str, data: Path, out: Path) -> list[float]:
    """Train by the recipe ``tiny`` and return the loss of every step; the log has means only.

    Args:
        kind: ``stvae``, or ``jdit`` in a folder with the former's result.
        data: a prepared folder.
        out: checkpoint folder.
    """
    losses: list[float] = []
    add = Meter.add

    def note(meter: Meter, figures: Any) -> None:
        losses.append(figures["loss"])
        add(meter, figures)

    words = [kind, "--recipe", "tiny", "--data", str(data), "--out", str(out)]
    with patch.object(Meter, "add", note):
        result = CliRunner().invoke(train, words)
    assert result.exit_code == 0, result.output
    return losses


def main() -> None:
    """Write both curves."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = generated_data(Path(folder) / "data"), Path(folder) / "run"
        for kind in ("stvae", "jdit"):
            curve = [[step, round(x, 7)] for step, x in enumerate(record(kind, data, out), 1)]
            rows = ",\n  ".join(json.dumps(row) for row in curve)
            made = json.dumps(machine())
            text = f'{{\n "made_with": {made},\n "step_and_loss": [\n  {rows}\n ]\n}}\n'
            (CURVES / f"{kind}-tiny.json").write_text(text)


if __name__ == "__main__":
    main()
