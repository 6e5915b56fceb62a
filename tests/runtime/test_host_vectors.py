"""The vectors that the C++ runtime is held to are what this package computes."""

import json

import numpy as np
import pytest

from tests.helpers.host_vectors import FILE, host_vectors

pytestmark = pytest.mark.unit


def test_the_vectors_are_those_of_this_package() -> None:
    kept, computed = json.loads(FILE.read_text()), json.loads(json.dumps(host_vectors()))
    for mine, its in zip(computed.pop("noise"), kept.pop("noise"), strict=True):
        assert mine["seed"] == its["seed"]
        values = (np.array(each["values"], np.float32) for each in (mine, its))
        np.testing.assert_array_max_ulp(*values, maxulp=1)  # another libm, the last bit
    assert computed == kept
