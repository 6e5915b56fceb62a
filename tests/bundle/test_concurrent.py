"""Several processes change and read one bundle at once: nothing is lost, nobody sees half."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from lavin_deploy.bundle.edit import add_task, pack
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.errors import BundleError, WorkError
from tests.helpers.processes import ROOT, at_once, started
from tests.helpers.toy_bundle import flat, write_toy

pytestmark = [
    pytest.mark.bundle,
    pytest.mark.skipif(sys.platform == "win32", reason="needs locks"),
]

IMPORTS = """
from itertools import count
from pathlib import Path
import sys
from lavin_deploy.bundle import add_task
from lavin_deploy.errors import InputError
from tests.helpers.toy_bundle import write_toy
"""


def task_names(bundle: Path) -> list[str]:
    with open_bundle(bundle) as opened:
        return sorted(task.name for task in opened.manifest.tasks)


def test_six_commands_create_six_tasks(tmp_path: Path) -> None:
    toy = tmp_path / "toy.lavin"
    write_toy(toy, pairs=(1,))
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for role, level in (("input", 40), ("target", 70)):
        Image.fromarray(flat(32, 32, level, level, level)).save(pairs / f"a_{role}.png")
    command = [sys.executable, "-c", "from lavin_deploy.cli.task import task; task()", "create"]
    processes = [
        subprocess.Popen(
            [*command, f"p{number}", "--pairs", str(pairs), "--bundle", str(toy)], cwd=ROOT
        )
        for number in range(6)
    ]
    assert [process.wait(120) for process in processes] == [0] * 6
    assert task_names(toy) == [f"p{number}" for number in range(6)]
    assert sorted(folder.name for folder in (toy / "tasks").iterdir()) == task_names(toy)


def test_many_tasks_are_added_at_once(toy: Path) -> None:
    code = """
for number in range(5):
    add_task(sys.argv[1], f"{sys.argv[2]}-{number}", {"task.json": b"{}"})
"""
    at_once(IMPORTS, code, [(toy, name) for name in "abcd"])
    assert task_names(toy) == [f"{name}-{number}" for name in "abcd" for number in range(5)]


def test_of_one_name_one_process_succeeds(toy: Path) -> None:
    code = """
try:
    add_task(sys.argv[1], "one", {"task.json": sys.argv[2].encode()})
    print("added", sys.argv[2])
except InputError as error:
    print(error)
"""
    said = at_once(IMPORTS, code, [(toy, str(number)) for number in range(4)])
    added = [line for line in said if line.startswith("added")]
    assert len(added) == 1
    assert sum("already has a task 'one'" in line for line in said) == 3
    with open_bundle(toy) as bundle:
        assert bundle.read("tasks/one/task.json") == added[0].split()[1].encode()
    assert [folder.name for folder in (toy / "tasks").iterdir()] == ["one"]


def test_a_new_export_and_new_tasks_never_mix(toy: Path) -> None:
    """A task is added to the bundle of before or of after, whole, or is gone with the former."""
    code = """
for number in range(8):
    if sys.argv[2] == "export":
        write_toy(Path(sys.argv[1]), pairs=(1,) if number % 2 else (1, 2))
    else:
        add_task(sys.argv[1], f"{sys.argv[2]}-{number}", {"task.json": b"{}"})
"""
    at_once(IMPORTS, code, [(toy, word) for word in ("export", "a", "b")])
    with open_bundle(toy) as bundle:
        listed = {task.file.split("/")[1] for task in bundle.manifest.tasks}
    lying = {folder.name for folder in (toy / "tasks").glob("*")}
    assert lying == listed
    assert [path.name for path in toy.parent.iterdir()] == [toy.name]


def test_two_exports_to_one_new_name_both_succeed(tmp_path: Path) -> None:
    for number in range(3):
        target = tmp_path / f"{number}.lavin"
        at_once(IMPORTS, "write_toy(Path(sys.argv[1]))", [(target,)] * 3)
        open_bundle(target).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.lavin", "1.lavin", "2.lavin"]


REPLACE = """
for number in count():
    add_task(sys.argv[1], "one", {"task.json": str(number).encode() * 100}, replace=True)
"""
EXPORT = """
for number in count():
    write_toy(Path(sys.argv[1]), pairs=(1,) if number % 2 else (1, 2))
"""


def test_a_reader_keeps_the_task_that_it_opened(toy: Path) -> None:
    add_task(toy, "one", {"task.json": b"first"})
    writer = started(IMPORTS + REPLACE, toy)
    try:
        deadline = time.monotonic() + 20
        seen: set[bytes] = set()
        rounds = 0
        while rounds < 60 or len(seen) < 5:
            assert time.monotonic() < deadline, len(seen)
            with open_bundle(toy) as bundle:
                (task,) = bundle.manifest.tasks
                time.sleep(0.003)
                seen.add(bundle.read(task.file))
            rounds += 1
    finally:
        writer.kill()
        writer.communicate()
    add_task(toy, "one", {"task.json": b"last"}, replace=True)
    with open_bundle(toy) as bundle:
        listed = {Path(name).parts[1] for name in bundle.manifest.files if "tasks" in name}
        lying = {folder.name for folder in (toy / "tasks").glob("[!.]*")}
    assert lying == listed


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux swaps names at once")
def test_a_bundle_opens_while_it_is_replaced(toy: Path) -> None:
    writer = started(IMPORTS + EXPORT, toy)
    try:
        seen: set[tuple[int, ...]] = set()
        deadline = time.monotonic() + 20
        for _ in range(60):
            with open_bundle(toy) as bundle:
                seen.add(bundle.manifest.pairs_at(32, 32))
        while len(seen) < 2:
            assert time.monotonic() < deadline
            with open_bundle(toy) as bundle:
                seen.add(bundle.manifest.pairs_at(32, 32))
    finally:
        writer.kill()
        writer.communicate()


def test_a_writer_that_is_killed_leaves_a_bundle_to_go_on_with(toy: Path) -> None:
    for number, delay in enumerate((0.0, 0.011, 0.023, 0.037)):
        writer = started(IMPORTS + "print('ready', flush=True)" + REPLACE, toy)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delay)
        writer.kill()
        writer.communicate()
        add_task(toy, f"after-{number}", {"task.json": b"{}"})
    assert {f"after-{number}" for number in range(4)} <= set(task_names(toy))
    assert sorted(path.name for path in toy.parent.iterdir()) == ["toy.lavin"]


@pytest.mark.soak
def test_a_minute_of_readers_writers_and_exports(toy: Path) -> None:
    processes = [started(IMPORTS + code, toy) for code in (REPLACE, REPLACE, EXPORT, EXPORT)]
    opened = 0
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            open_bundle(toy).close()
            opened += 1
        assert all(process.poll() is None for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert opened > 500
    open_bundle(toy).close()


def test_of_a_bundle_that_was_replaced_nothing_more_is_read(toy: Path) -> None:
    with open_bundle(toy) as bundle:
        graph = bundle.manifest.variants[0].graphs[0]
        assert bundle.file(graph.file).is_file()
        write_toy(toy, pairs=(1,))
        with pytest.raises(BundleError, match="was replaced since it was opened; open it again"):
            bundle.file(graph.file)
    with open_bundle(toy) as bundle:
        table = toy / "tables" / "modulation.npy"
        table.write_bytes(table.read_bytes()[:-1] + b"!")
        with pytest.raises(BundleError, match="was changed since it was opened"):
            bundle.array("tables/modulation.npy")


def test_a_task_that_was_made_for_another_bundle_is_not_added(toy: Path) -> None:
    """Its latents are of an encoder that is no longer there."""
    with open_bundle(toy) as bundle:
        before = bundle.manifest
    write_toy(toy, pairs=(1,))
    with pytest.raises(WorkError, match="was replaced while the task 'late' was made"):
        add_task(toy, "late", {"task.json": b"{}"}, made_for=before)
    with open_bundle(toy) as bundle:
        add_task(toy, "late", {"task.json": b"{}"}, made_for=bundle.manifest)
    assert task_names(toy) == ["late"]


def test_what_was_opened_is_packed(toy: Path, tmp_path: Path) -> None:
    with open_bundle(toy) as bundle:
        add_task(toy, "late", {"task.json": b"{}"})
        pack(bundle, tmp_path / "toy.zip")
    with open_bundle(tmp_path / "toy.zip") as packed:
        assert not packed.manifest.tasks
        assert json.loads(packed.manifest_text())["tasks"] == []
