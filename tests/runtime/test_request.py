from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.runtime.request import Sampling, choose_grid, choose_sampling
from lavin_deploy.tasks.stored import StoredTask
from tests.helpers.toy_bundle import write_toy

pytestmark = pytest.mark.unit


def test_asked_for_comes_before_the_task_and_that_before_the_bundle(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.lavin")
    with open_bundle(tmp_path / "toy.lavin") as bundle:
        manifest = bundle.manifest
    task = StoredTask(name="edges", pairs=(), steps=3)
    default = manifest.defaults
    assert choose_sampling(manifest, None) == Sampling(
        steps=default.steps, guidance=default.guidance
    )
    assert choose_sampling(manifest, task) == Sampling(steps=3, guidance=default.guidance)
    assert choose_sampling(manifest, task, 7, 0.0) == Sampling(steps=7, guidance=0.0)
    count = np.int64(default.steps)
    assert (choose_grid(manifest, count) == np.float32(manifest.time.default_grid)).all()  # type: ignore[arg-type]
