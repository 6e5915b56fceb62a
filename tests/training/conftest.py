"""What the tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.answers import generated_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of generated pictures."""
    return generated_data(tmp_path_factory.mktemp("data"))
