"""The losses of the tiny recipes fall as the committed curves say.

    python -m tests.training.test_curves

writes ``curves/tiny.json`` anew, from generated pictures; a change of it belongs into the commit
that changes what is learnt.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lavin_deploy.cli.train import train
from lavin_deploy.training.loop import meter
from tests.helpers.answers import generated_data

pytestmark = pytest.mark.data

CURVES = Path(__file__).parent / "curves" / "tiny.json"
STEPS = {"stvae": 24, "jdit": 36}
EARLY = 12
CLOSE, WIDE = 0.005, 0.1
"""Relative, of the first steps one by one, and of the mean of every twelve. The same code on the
same kind of CPU repeats to 1e-6; another number of threads or another CPU's kernels sum in another
order, and AdamW makes more of that at every step (after thirty 2.5 %, one thread against two; 18 %
of a single step, AVX2 against AVX-512)."""


def losses(kind: str, data: Path, out: Path, steps: int) -> list[float]:
    """The loss of every step of a run."""
    words = [kind, "--recipe=tiny", f"--data={data}", f"--out={out}", f"--set=steps={steps}"]
    done = CliRunner().invoke(train, words)
    assert done.exit_code == 0, done.output
    rows = (out / f"{kind}.log.jsonl").read_text().splitlines()
    return [json.loads(row)["loss"] for row in rows]


def curves(data: Path, out: Path) -> dict[str, list[float]]:
    """By kind; the J-DiT learns on an ST-VAE of two steps, which every CPU trains alike."""
    losses("stvae", data, out / "young", 2)
    return {
        "stvae": losses("stvae", data, out / "stvae", STEPS["stvae"]),
        "jdit": losses("jdit", data, out / "young", STEPS["jdit"]),
    }


def test_the_curves_are_the_committed_ones(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "EVERY", -1.0)
    expected = json.loads(CURVES.read_text())
    with threads(2):
        measured = curves(data, tmp_path)
    for kind, curve in measured.items():
        assert len(curve) == STEPS[kind]
        np.testing.assert_allclose(curve[:EARLY], expected[kind][:EARLY], rtol=CLOSE, err_msg=kind)
        means = [np.reshape(each, (-1, EARLY)).mean(axis=1) for each in (curve, expected[kind])]
        np.testing.assert_allclose(*means, rtol=WIDE, err_msg=kind)
        assert np.mean(curve[-10:]) < FALL[kind] * np.mean(curve[:5])


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with as many threads as the committed curves were, whatever the test run uses."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


FALL = {"stvae": 0.7, "jdit": 0.75}
"""What the last losses are of the first ones, at most."""

if __name__ == "__main__":
    meter.EVERY = -1.0
    with tempfile.TemporaryDirectory() as folder, threads(2):
        measured = curves(generated_data(Path(folder) / "data"), Path(folder))
    CURVES.write_text(json.dumps(measured, indent=1) + "\n")
