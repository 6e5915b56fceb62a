"""Both runtimes refuse the same bundles, with the same status and the same facts.

Sentences need not agree word by word: what they name, count and recommend does.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lavin_deploy as lavin
from lavin_deploy.errors import LavinError
from tests.conftest import GOLDEN
from tests.helpers import clib

pytestmark = pytest.mark.bundle

Change = Callable[[dict[str, Any]], object]

MANIFESTS: dict[str, Change] = {
    "version": lambda m: m.update(format_version=2),
    "version as text": lambda m: m.update(format_version="1"),
    "no name": lambda m: m.pop("name"),
    "name is a number": lambda m: m.update(name=3),
    "no latent": lambda m: m.pop("latent"),
    "shift": lambda m: m["latent"].update(shift="0"),
    "scale": lambda m: m["latent"].update(scale=0),
    "kind": lambda m: m["time"].update(kind="cosine"),
    "grid": lambda m: m["time"].update(default_grid=[0, 0.5, 0.5, 1]),
    "empty grid": lambda m: m["tables"]["modulation"].update(grid=[]),
    "steps": lambda m: m["defaults"].update(steps=0),
    "steps of another type": lambda m: m["defaults"].update(steps=2.0),
    "size": lambda m: m["defaults"].update(size=[64, 64]),
    "size of three": lambda m: m["defaults"].update(size=[32, 32, 3]),
    "buckets": lambda m: m.update(buckets=[]),
    "bucket": lambda m: m["buckets"][0].update(height=30),
    "bucket too wide": lambda m: m["buckets"][0].update(height=80_000_000),
    "channels": lambda m: m["latent"].update(channels=257),
    "refresh": lambda m: m["variants"][0].update(refresh={"every": 0}),
    "bucket twice": lambda m: m["buckets"].append(m["buckets"][0]),
    "variants": lambda m: m.update(variants={}),
    "variant twice": lambda m: m["variants"].append(m["variants"][0]),
    "graph twice": lambda m: m["variants"][0]["graphs"].append(m["variants"][0]["graphs"][0]),
    "shape": lambda m: m["variants"][0]["graphs"][0]["inputs"][0].update(shape=[1, None]),
    "weights": lambda m: m["variants"][0]["weights"].append("graphs/none.bin"),
    "task name": lambda m: m["tasks"][0].update(name="Über"),
    "task twice": lambda m: m["tasks"].append(m["tasks"][0]),
    "path up": lambda m: m["files"].update({"../x": {"size": 1, "sha256": "0"}}),
    "path of Windows": lambda m: m["files"].update({"a\\b": {"size": 1, "sha256": "0"}}),
    "path of a device": lambda m: m["files"].update({"nul": {"size": 1, "sha256": "0"}}),
    "path twice": lambda m: m["files"].update({"TABLES/modulation.npy": {"size": 1, "sha256": ""}}),
    "absent file": lambda m: m["files"].update({"more.bin": {"size": 1, "sha256": "0"}}),
    "other size": lambda m: m["files"]["tables/modulation.npy"].update(size=161),
    "other digest": lambda m: m["files"]["tables/modulation.npy"].update(sha256="0" * 64),
    "samples": lambda m: m.update(validation={"x": {"folder": "validation/x", "samples": 17}}),
    "report": lambda m: m.update(report=[]),
    "a long value": lambda m: m.update(name=["x" * 80, None, True, 1.5e-7]),
}  # fmt: skip


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "toy.lavin", tmp_path / "toy.lavin"))


QUOTED = r"(?<!\w)(?:'([^']*)'|\"([^\"]*)\")(?!\w)"
NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?\b|\binf\b|\bnan\b"
FIELD = r"\w[\w./-]*\.(?:json|npy|onnx|lavin|zip)(?:: [\w\[\]]+)*"


@dataclass(frozen=True)
class Facts:
    """What a sentence says, whatever its words: each in the order of the text."""

    status: int
    names: tuple[str, ...]
    """In quotes."""
    numbers: tuple[str, ...]
    fields: tuple[str, ...]
    """Files, with the path of a field in them."""
    nearest: tuple[str, ...]
    """The name recommended."""

    @classmethod
    def of(cls, status: int, sentence: str) -> Facts:
        sentence = sentence.replace("\\\\", "\\")  # repr() doubles what C++ shows as it is
        sizes = re.sub(r"(?<=\d)x(?=\d)", " ", sentence)
        return cls(
            status,
            tuple(single or double for single, double in re.findall(QUOTED, sentence)),
            tuple(repr(float(number)) for number in re.findall(NUMBER, sizes)),
            tuple(re.findall(FIELD, sentence)),
            tuple(re.findall(r"Did you mean '(.+?)'\?", sentence)),
        )

    def says_something(self) -> bool:
        return bool(self.status and (self.names or self.numbers or self.fields))


def python_facts(bundle: Path, task: str = "brighten") -> Facts:
    try:
        with lavin.load(bundle, backend="onnxruntime") as model:
            model.run(task, np.zeros((32, 32, 3), np.uint8))
    except LavinError as error:
        return Facts.of(error.exit_code, str(error))
    return Facts.of(0, "")


def cpp_facts(library: clib.Library, bundle: Path, task: str = "brighten") -> Facts:
    try:
        with library.load(bundle, backend="onnxruntime") as model:
            model.run(task, np.zeros((32, 32, 3), np.uint8))
    except clib.LavinError as error:
        return Facts.of(error.status, str(error))
    return Facts.of(0, "")


def test_facts_tell_sentences_apart() -> None:
    sentence = "a.json: x: y[0] is 'z' of 32x16 or -1.5e-07; a bundle's 2. Did you mean 'zz'?"
    facts = Facts.of(2, sentence)
    numbers = ("0.0", "32.0", "16.0", "-1.5e-07", "2.0")
    assert facts == Facts(2, ("z", "zz"), numbers, ("a.json: x: y[0]",), ("zz",))
    assert facts == Facts.of(2, sentence.replace(" is ", " shall not be "))
    for old, new in (("'z'", "'q'"), ("32", "33"), ("y[0]", "y[1]"), ("a.json", "b.json")):
        assert facts != Facts.of(2, sentence.replace(old, new))
    assert facts != Facts.of(1, sentence)
    assert Facts.of(2, "guidance is inf.") != Facts.of(2, "guidance is nan.")
    assert not Facts.of(2, "it is wrong.").says_something()


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests(library: clib.Library, toy: Path, name: str) -> None:
    manifest = json.loads((toy / "manifest.json").read_text())
    MANIFESTS[name](manifest)
    (toy / "manifest.json").write_text(json.dumps(manifest))
    expected = python_facts(toy)
    assert expected.says_something()
    assert cpp_facts(library, toy) == expected


TABLE = "tables/modulation.npy"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n"


def _folder_for_file(bundle: Path) -> None:
    (bundle / TABLE).unlink()
    (bundle / TABLE).mkdir()


def _link(bundle: Path) -> None:
    (bundle / "tables").rename(bundle / "elsewhere")
    (bundle / "tables").symlink_to("elsewhere")


def _other(bundle: Path, change: Callable[[bytes], bytes]) -> None:
    (bundle / TABLE).write_bytes(change((bundle / TABLE).read_bytes()))


FILES: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda bundle: (bundle / "manifest.json").unlink(),
    "no table": lambda bundle: (bundle / TABLE).unlink(),
    "a folder": _folder_for_file,
    "a link": _link,
    "another byte": lambda bundle: _other(bundle, lambda content: b"\1" + content[1:]),
    "a byte more": lambda bundle: _other(bundle, lambda content: content + b"\0"),
    "a pointer": lambda bundle: (bundle / TABLE).write_bytes(POINTER),
    "a page": lambda bundle: (bundle / TABLE).write_bytes(b"<!DOCTYPE html>"),
    "a pointer for the manifest": lambda bundle: (bundle / "manifest.json").write_bytes(POINTER),
}


@pytest.mark.parametrize("name", FILES)
def test_files(library: clib.Library, toy: Path, name: str) -> None:
    FILES[name](toy)
    expected = python_facts(toy)
    assert expected.says_something()
    assert cpp_facts(library, toy) == expected


def test_places(library: clib.Library, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "pointer.zip").write_bytes(POINTER)
    for name in ("none", "toy", ".", "text.zip", "pointer.zip"):
        bundle = tmp_path / name
        expected = python_facts(bundle)
        assert expected.says_something()
        assert cpp_facts(library, bundle) == expected


@pytest.mark.parametrize("task", ["brigten", "xyz", "", "Brighten"])
def test_unknown_tasks(library: clib.Library, toy: Path, task: str) -> None:
    if task:
        assert cpp_facts(library, toy, task) == python_facts(toy, task)


@pytest.mark.parametrize(
    "fields",
    [
        {"pairs": []},
        {"steps": None},
        {"steps": 0},
        {"steps": "2"},
        {"guidance": "1"},
        {"name": "other"},
        {"view": "mine"},
        {"rendering": 3},
        {"deterministic": 1},
    ],
)
def test_damaged_tasks(library: clib.Library, toy: Path, fields: dict[str, Any]) -> None:
    file = toy / "tasks/brighten/task.json"
    content = json.dumps(json.loads(file.read_text()) | fields).encode()
    file.write_bytes(content)
    manifest = json.loads((toy / "manifest.json").read_text())
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"]["tasks/brighten/task.json"] = entry
    (toy / "manifest.json").write_text(json.dumps(manifest))
    assert cpp_facts(library, toy) == python_facts(toy)


def test_requests(library: clib.Library) -> None:
    toy, frame = GOLDEN / "toy.lavin", np.zeros((20, 20, 3), np.uint8)
    with lavin.load(toy) as python, library.load(toy) as cpp:
        for options in (
            {"num_pairs": 3},
            {"size": (64, 64)},
            {"pairs": [(frame, frame[:10])]},
            {"guidance": float("inf")},
            {"guidance": float("nan")},
            {"guidance": 1000.5},
            {"guidance": -1e300},
        ):
            task = None if "pairs" in options else "brighten"
            with pytest.raises(LavinError) as mine:
                python.run(task, frame, **options)  # type: ignore[arg-type]
            size = options.pop("size", None)
            if size is not None:
                options |= {"height": size[0], "width": size[1]}  # type: ignore[index]
            with pytest.raises(clib.LavinError) as its:
                cpp.run(task, frame, **options)  # type: ignore[arg-type]
            expected = Facts.of(mine.value.exit_code, str(mine.value))
            assert expected.says_something()
            assert Facts.of(its.value.status, str(its.value)) == expected
