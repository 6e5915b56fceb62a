from __future__ import annotations

from pathlib import Path

import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.tasks.pairs import find_pairs

pytestmark = pytest.mark.unit


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_pairs_are_sorted_by_id_and_other_files_do_not_count(tmp_path: Path) -> None:
    touch(tmp_path, "b_input.png", "b_target.jpg", "a_target.png", "a_input.png", "README.md")
    touch(tmp_path, "input.png", "_input.png", ".c_input.png", "note_inputs.png")
    (tmp_path / "d_input.png").mkdir()
    pairs = find_pairs(tmp_path)
    assert [pair.id for pair in pairs] == ["a", "b"]
    assert pairs[1].input == tmp_path / "b_input.png"
    assert pairs[1].target == tmp_path / "b_target.jpg"


def test_ids_may_hold_underlines_and_roles(tmp_path: Path) -> None:
    touch(tmp_path, "my_input_1_input.png", "my_input_1_target.png")
    assert [pair.id for pair in find_pairs(tmp_path)] == ["my_input_1"]


def test_roles_in_capitals_are_roles(tmp_path: Path) -> None:
    touch(tmp_path, "A_INPUT.PNG", "A_Target.Jpg", "a_input.png", "a_target.png")
    assert [(pair.id, pair.input.name, pair.target.name) for pair in find_pairs(tmp_path)] == [
        ("A", "A_INPUT.PNG", "A_Target.Jpg"),
        ("a", "a_input.png", "a_target.png"),
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no example pairs"),
        (["a_input.png"], "'a_input.png' stands alone.*add a_target.png"),
        (["a_input.png", "a_target.png", "b_target.png"], "add b_input.png"),
        (["a_input.png", "a_input.jpg", "a_target.png"], "two input files"),
        (["a_input.png", "a_INPUT.png", "a_target.png"], "two input files"),
    ],
)
def test_folders_that_are_no_task(tmp_path: Path, names: list[str], message: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_pairs(tmp_path)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        find_pairs(tmp_path / "none")
