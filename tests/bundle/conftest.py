from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.toy_bundle import write_toy


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "toy.lavin"
    write_toy(path)
    return path


@pytest.fixture
def toy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "toy.lavin"))
