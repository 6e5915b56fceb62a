from __future__ import annotations

import numpy as np
import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.flow.guidance import guided
from lavin_deploy.flow.solvers import Latents

pytestmark = pytest.mark.unit


def conditional(z: Latents, t: np.float32) -> Latents:
    return 2 * z + t


def null(z: Latents, t: np.float32) -> Latents:
    return z


def forbidden(z: Latents, t: np.float32) -> Latents:
    raise AssertionError("the null branch ran")


def test_weight_one_never_runs_the_null_branch() -> None:
    assert guided(conditional, forbidden, 1.0) is conditional
    assert guided(conditional, forbidden, 1) is conditional


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.5, 7.0, -1.0])
def test_other_weights_extrapolate(weight: float) -> None:
    z, t = np.array([1.0, -3.0], np.float32), np.float32(0.25)
    v = guided(conditional, null, weight)(z, t)
    assert v.dtype == np.float32
    np.testing.assert_allclose(v, z + weight * (z + t), rtol=1e-6)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), "2"])
def test_weight_must_be_a_finite_number(weight: float) -> None:
    with pytest.raises(InputError, match="finite number"):
        guided(conditional, null, weight)
