"""Calibration data: real feeds of every graph, even over tasks and times, the same for a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.cli.export import export
from lavin_deploy.errors import InputError
from lavin_deploy.export.precision.calibration import (
    CalibrationEpisode,
    Feeds,
    leave_one_out,
    record_feeds,
)
from lavin_deploy.flow.grids import grid_for
from lavin_deploy.runtime.create_task import png
from tests.export.test_exporter import OTHER
from tests.helpers.checkpoints import write_released

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> list[CalibrationEpisode]:
    folder = tmp_path_factory.mktemp("tasks")
    rng = np.random.default_rng(0)
    for task, pairs in (("many", 4), ("few", 1)):
        (folder / task).mkdir()
        for pair in range(pairs):
            for role in ("input", "target"):
                picture = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
                (folder / task / f"{pair}_{role}.png").write_bytes(png(picture))
    return leave_one_out({task: folder / task for task in ("many", "few")})


def recorded(
    path: Path, episodes: list[CalibrationEpisode], *, seed: int = 0, limit: int = 6
) -> Feeds:
    with open_bundle(path) as bundle:
        grid = grid_for(4, "uniform")
        return record_feeds(
            bundle,
            bundle.variant(),
            episodes,
            grid=grid,
            guidance=1.0,
            seed=seed,
            limit=limit,
        )


def test_each_pair_is_asked_about_under_the_others(episodes: list[CalibrationEpisode]) -> None:
    assert [episode.task for episode in episodes] == ["many"] * 4 + ["few"]
    for episode in episodes[:4]:
        assert len(episode.pairs) == 3
        assert not any(np.array_equal(episode.query, source) for source, _ in episode.pairs)
    assert np.array_equal(episodes[4].query, episodes[4].pairs[0][0])


def test_feeds_are_fixed_by_data_and_seed(
    tiny_bundle: Path, episodes: list[CalibrationEpisode]
) -> None:
    first = recorded(tiny_bundle, episodes)
    assert recorded(tiny_bundle, episodes).sha256 == first.sha256
    assert recorded(tiny_bundle, episodes, seed=1).sha256 != first.sha256
    assert recorded(tiny_bundle, episodes[1:]).sha256 != first.sha256
    assert first.summary()["samples"] == sum(len(feeds) for feeds in first.graphs.values())


def test_feeds_are_even_over_times(tiny_bundle: Path, episodes: list[CalibrationEpisode]) -> None:
    feeds = recorded(tiny_bundle, episodes, limit=8).graphs["graphs/step-64x64-p1.onnx"]
    rows = [feed["modulation"].tobytes() for feed in feeds]
    assert {rows.count(row) for row in rows} == {2}  # four times, eight feeds
    assert len({feed["context"].tobytes() for feed in feeds}) > 2


@pytest.mark.parametrize("form", [["--euler"], ["--context", "frozen"]])
def test_every_graph_has_feeds(
    form: list[str], episodes: list[CalibrationEpisode], tmp_path: Path
) -> None:
    write_released(tmp_path / "ckpt", OTHER)
    words = ["--ckpt", tmp_path / "ckpt", "--out", tmp_path / "m.lavin", "--size", "32x32"]
    words += ["--pairs", "1", "--steps", "3", *form]
    export(list(map(str, words)), standalone_mode=False)
    feeds = recorded(tmp_path / "m.lavin", episodes, limit=3).graphs
    with open_bundle(tmp_path / "m.lavin") as bundle:
        for graph in bundle.variant().graphs:
            assert feeds[graph.file]
            for feed in feeds[graph.file]:
                shapes = {tensor.name: tensor.shape for tensor in graph.inputs}
                assert {name: array.shape for name, array in feed.items()} == shapes
                assert {array.dtype for array in feed.values()} == {np.dtype(np.float32)}


def test_no_pictures_are_an_error(tiny_bundle: Path) -> None:
    with pytest.raises(InputError, match="--calibration"):
        recorded(tiny_bundle, [])
