"""The models against what the authors' implementation computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lavin_deploy.models import STVAE, JDiT, load_released

pytestmark = pytest.mark.parity
Golden = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def models(golden: Path) -> tuple[JDiT, STVAE]:
    return load_released(golden / "lavin_dit.safetensors", golden / "stvae.pt")


def deviation(output: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(output.numpy() - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("case", [0, 1, 2])
def test_jdit(models: tuple[JDiT, STVAE], golden_io: Golden, case: int) -> None:
    x, t, cond = (torch.from_numpy(golden_io[f"dit{case}.{n}"]) for n in ("x", "t", "cond"))
    with torch.no_grad():
        assert deviation(models[0](x, t, cond), golden_io[f"dit{case}.velocity"]) < 1e-5


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_stvae(models: tuple[JDiT, STVAE], golden_io: Golden, frames: int) -> None:
    vae = models[1]
    with torch.no_grad():
        posterior = vae.encode(torch.from_numpy(golden_io[f"vae{frames}.pixels"]))
        decoded = vae.decode(torch.from_numpy(golden_io[f"vae{frames}.mean"]))
    assert deviation(posterior.mean, golden_io[f"vae{frames}.mean"]) < 1e-5
    assert deviation(posterior.logvar, golden_io[f"vae{frames}.logvar"]) < 1e-5
    assert deviation(decoded, golden_io[f"vae{frames}.decoded"]) < 1e-5
