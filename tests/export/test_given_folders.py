"""Folders of tasks and of held-out samples: what is taken, and what is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lavin_deploy.cli.export import export
from lavin_deploy.errors import InputError, LavinError
from lavin_deploy.export.given_folders import find_tasks, read_validation
from tests.helpers.toy_bundle import flat

pytestmark = pytest.mark.unit


def pairs(folder: Path, *ids: str, width: int = 16) -> Path:
    """Make a folder with the pictures of pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ids:
        Image.fromarray(flat(16, 16, 1, 2, 3)).save(folder / f"{name}_input.png")
        Image.fromarray(flat(16, width, 4, 5, 6)).save(folder / f"{name}_target.png")
    return folder


def test_tasks_are_the_folders_that_are_not_a_system_s_own(tmp_path: Path) -> None:
    for name in ("edges", "depth", ".git", "__MACOSX"):
        pairs(tmp_path / name, "a")
    (tmp_path / "edges" / "task.json").write_text('{"steps": 3, "description": "lines"}')
    (tmp_path / "ATTRIBUTION.md").write_text("thanks")
    tasks = find_tasks(tmp_path)
    assert [(task.name, task.steps) for task, _ in tasks] == [("depth", None), ("edges", 3)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1]", "holds no JSON object"),
        ('{"steps": 0}', "has steps 0; at least 1"),
        ('{"steps": "two"}', "steps is 'two'"),
        ("{", "is not valid JSON"),
    ],
)
def test_a_task_json_that_cannot_be_used(tmp_path: Path, text: str, sentence: str) -> None:
    (pairs(tmp_path / "edges", "a") / "task.json").write_text(text)
    with pytest.raises(LavinError, match=sentence) as error:
        find_tasks(tmp_path)
    assert "\n" not in str(error.value)


def test_samples_of_exported_tasks_are_taken(tmp_path: Path) -> None:
    pairs(tmp_path / "edges", *(f"{number:02}" for number in range(16)))
    pairs(tmp_path / ".trash", "a")
    samples = read_validation(tmp_path, ["depth", "edges"])
    assert [name for name, _, _ in samples.pictures["edges"]] == [f"{n:02}" for n in range(16)]
    assert list(samples.pictures) == ["edges"]
    assert samples.credits is None
    assert not read_validation(None, ["edges"]).pictures


def test_samples_that_cannot_be_used(tmp_path: Path) -> None:
    def refused(folder: Path, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            read_validation(folder, ["edges"])

    refused(tmp_path / "none", "there is no folder")
    refused(pairs(tmp_path / "empty"), "holds no samples")
    pairs(tmp_path / "other" / "edgse", "a")
    refused(tmp_path / "other", "samples of edgse, which is not exported.*: edges")
    pairs(tmp_path / "many" / "edges", *map(str, range(17)))
    refused(tmp_path / "many", "has 17 samples; a bundle stores at most 16")
    pairs(tmp_path / "wide" / "edges", "a", width=32)
    refused(tmp_path / "wide", "one size")
    pairs(tmp_path / "name" / "edges", "a b")
    refused(tmp_path / "name", "cannot keep its name")


def test_samples_are_checked_before_anything_is_traced(
    golden: Path, golden_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lavin_deploy.export.dialect_export.trace", lambda spec: pytest.fail("traced")
    )
    pairs(tmp_path / "samples" / "depth", "a")
    words = ["--ckpt", golden, "--tasks", golden_tasks, "--validation", tmp_path / "samples"]
    with pytest.raises(InputError, match="samples of depth"):
        export(
            [*map(str, words), "--out", str(tmp_path / "m.lavin"), "--pairs", "1"],
            standalone_mode=False,
        )
    assert not list(tmp_path.glob("*m.lavin*"))
