from __future__ import annotations

import math

import numpy as np
import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.flow.noise import normal

pytestmark = pytest.mark.unit

VECTORS = {
    0: (0.008088696, 0.15219213, -0.44680974, -0.1914038, -0.20389847, 1.1637271642),
    1: (0.49438775, -0.6922074, 0.5715938, 0.113161184, 2.033338, 0.6899878),
    42: (0.69011146, 1.7191701, -1.585883, 1.2368302, -0.87805885, 0.3836026),
    2**64 - 1: (-0.14926219, -0.7164684, -0.21729143, -1.0060045, 0.07511861, -0.92543072),
}
MASK = 2**64 - 1


def philox_block(key: int, block: int) -> list[int]:
    """Philox4x64-10 written out from its definition, for block 0, 1, ... of ``Philox(key)``."""
    counter, keys = [block + 1, 0, 0, 0], [key, 0]
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [
            (second >> 64) ^ counter[1] ^ keys[0],
            second & MASK,
            (first >> 64) ^ counter[3] ^ keys[1],
            first & MASK,
        ]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & MASK, (keys[1] + 0xBB67AE8584CAA73B) & MASK]
    return counter


@pytest.mark.parametrize("seed", VECTORS)
def test_vectors(seed: int) -> None:
    np.testing.assert_allclose(normal(seed, (6,)), np.array(VECTORS[seed], np.float32), rtol=1e-7)


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_the_docstring_is_enough_to_repeat_it(seed: int) -> None:
    words = [word for block in range(3) for word in philox_block(seed, block)]
    values = []
    for first, second in zip(words[0::2], words[1::2], strict=True):
        a, b = (first >> 11) * 2.0**-53, (second >> 11) * 2.0**-53
        radius = math.sqrt(-2.0 * math.log(1.0 - a))
        values += [radius * math.cos(2 * math.pi * b), radius * math.sin(2 * math.pi * b)]
    np.testing.assert_allclose(normal(seed, (12,)), np.array(values, np.float32), rtol=1.2e-7)


def test_shape_only_folds_the_sequence() -> None:
    flat = normal(3, (16 * 2 * 3 * 5,))
    np.testing.assert_array_equal(normal(3, (1, 16, 2, 3, 5)), flat.reshape(1, 16, 2, 3, 5))
    np.testing.assert_array_equal(normal(3, (7,)), flat[:7])
    assert normal(3, (1, 16, 2, 3, 5)).dtype == np.float32


def test_moments_are_those_of_a_normal() -> None:
    z = normal(5, (1 << 18,)).astype(np.float64)
    assert abs(z.mean()) < 0.01
    assert abs(z.var() - 1) < 0.01
    assert abs((z**3).mean()) < 0.03
    assert abs((z**4).mean() - 3) < 0.06
    assert abs(np.corrcoef(z[0::2], z[1::2])[0, 1]) < 0.01
    assert np.isfinite(z).all()


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "0", True, None])
def test_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=r"0 to 2\^64 - 1"):
        normal(seed, (1,))
