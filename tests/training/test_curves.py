"""The ``tiny`` recipes on generated data follow the committed curves, and their losses fall."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.curves import CURVES, machine, record

pytestmark = pytest.mark.data

SAME, OTHER = 1e-3, 5e-2
"""Relative tolerance where torch and the CPU's instructions are those of the curve, where sums may
only be cut among other numbers of threads, and elsewhere, where kernels and random initial weights
of another torch may differ in rounding."""


def test_losses_follow_the_committed_curves(data: Path, tmp_path: Path) -> None:
    for kind in ("stvae", "jdit"):
        committed = json.loads((CURVES / f"{kind}-tiny.json").read_text())
        wanted = [loss for _, loss in committed["step_and_loss"]]
        found = record(kind, data, tmp_path / "run")
        tolerance = SAME if committed["made_with"] == machine() else OTHER
        assert found == pytest.approx(wanted, rel=tolerance)
        assert sum(found[-5:]) < 0.95 * sum(found[:5])
