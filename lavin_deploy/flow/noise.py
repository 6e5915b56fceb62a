"""Seeded noise that every language draws alike.

The definition, step by step:

1. Generator: Philox4x64-10 with the 128-bit key ``(seed, 0)`` (low word first) and a 256-bit
   counter. Block j = 0, 1, ... is the cipher of the counter ``(j + 1, 0, 0, 0)`` (low word first;
   numpy counts up before it draws) and gives four 64-bit words, used in order. This is
   ``numpy.random.Philox(key=seed).random_raw``.
2. Uniforms: word r gives ``u = (r >> 11) * 2^-53`` in [0, 1), exactly, in float64.
3. Box-Muller in float64: words 2i and 2i + 1 give ``a = u[2i]`` and ``b = u[2i + 1]``, and

       radius = sqrt(-2 ln(1 - a))        1 - a is exact and in (0, 1], so ln never sees 0
       z[2i]     = radius * cos(2 pi b)   2 pi is the float64 6.283185307179586
       z[2i + 1] = radius * sin(2 pi b)

   When the number of values is odd the last sine is dropped.
4. Each z is rounded to float32 and fills the array in C order.

An implementation with another libm may differ in the last bit of a float32, never more. Vectors
(``z[:4]`` as float32)::

    seed 0   0.008088696   0.15219213  -0.44680974  -0.1914038
    seed 1   0.49438775   -0.6922074    0.5715938   0.113161184
    seed 42  0.69011146    1.7191701   -1.585883    1.2368302

The first words of seed 0 are 0x02f4ba6408e4d89b, 0x3dd62b0b9ca8c5b2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lavin_deploy.errors import InputError

MAX_SEED = 2**64 - 1


def normal(seed: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """Draw standard normal noise, the same for the same seed in every language.

    Args:
        seed: 0 .. 2^64 - 1.
        shape: of the result; for a model (1, 16, T, h/8, w/8).

    Returns:
        Array of that shape, float32, mean 0, variance 1. A shape with fewer elements gives the
        beginning of the same sequence.

    Raises:
        InputError: the seed is not an integer in range.
    """
    check_seed(seed)
    count = math.prod(shape)
    words = np.random.Philox(key=int(seed)).random_raw(count + count % 2)
    u = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    a, b = u[0::2], u[1::2]
    radius = np.sqrt(-2.0 * np.log(1.0 - a))
    angle = 2.0 * math.pi * b
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return z.reshape(-1)[:count].astype(np.float32).reshape(tuple(shape))


def check_seed(seed: int) -> None:
    """Raise InputError unless ``seed`` is an integer from 0 to 2^64 - 1."""
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed is {seed!r}; it is a whole number from 0 to 2^64 - 1.")
