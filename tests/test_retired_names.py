"""Names that were given up stand nowhere any more; ``retired_names.txt`` lists them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.unit

LIST = Path(__file__).with_name("retired_names.txt")
HISTORY = ("docs/LOG.md", "CHANGELOG.md", "benchmarks/results/")
OURS = ("tests/retired_names.txt", "tests/test_retired_names.py", "tests/test_architecture.py")
TEXT = {
    ".py",
    ".md",
    ".sh",
    ".toml",
    ".txt",
    ".cpp",
    ".h",
    ".hpp",
    ".cu",
    ".c",
    ".in",
    ".json",
    ".cmake",
    ".html",
    "",
}


def retired() -> dict[str, list[str]]:
    """The old names by section."""
    sections: dict[str, list[str]] = {}
    for line in LIST.read_text().splitlines():
        if line.startswith("["):
            entries = sections[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            entries.append(line.partition(" -> ")[0])
    return sections


def pattern() -> re.Pattern[str]:
    """Finds a module by its dotted name or its file, a folder by its path, a name as a word."""
    names = retired()
    modules = [re.escape(name) for name in names["modules"]]
    files = [
        re.escape(name.removeprefix("lavin_deploy.").replace(".", "/")) + r"\.py"
        for name in names["modules"]
        if name.count(".") > 1
    ]
    every = (*modules, *files, *map(re.escape, names["folders"]), *map(re.escape, names["names"]))
    return re.compile(rf"(?<![\w/.])(?:lavin_deploy/)?(?:{'|'.join(every)})(?![\w-])")


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-c", "-o", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return listed.stdout.splitlines()


def test_no_retired_name_stands_in_code_or_docs() -> None:
    find, hits = pattern(), []
    for path in tracked():
        file = ROOT / path
        if path.startswith((*HISTORY, *OURS)) or file.suffix not in TEXT or not file.is_file():
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            hits += [f"{path}:{number}: {each}" for each in find.findall(line)]
    assert hits == []


def test_the_search_finds_them_in_each_form() -> None:
    find = pattern()
    for text in (
        "from lavin_deploy.manifest import Graph",
        '"lavin_deploy.bundle_io.atomic.os.replace"',
        "see export/fused.py",
        "lavin_deploy/export/fused.py",
        "Workshop(",
        "checkpoints/edge/stvae.safetensors",
    ):
        assert find.search(text), text
    for text in ("lavin_deploy.bundle.manifest", "checkpoints/edge-all", "export/graphs/fused.py"):
        assert not find.search(text), text


def test_every_dotted_name_of_the_package_exists() -> None:
    """Also in strings, which nothing imports until they are used."""
    missing = set()
    for path in tracked():
        file = ROOT / path
        if path.startswith((*HISTORY, *OURS)) or file.suffix not in {".py", ".md", ".toml", ".sh"}:
            continue
        if not file.is_file():
            continue
        for name in re.findall(r"(?<![\w/.-])lavin_deploy(?:\.\w+)+", file.read_text()):
            if not exists(name):
                missing.add(f"{path}: {name}")
    assert missing == set()


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something of a module or class."""
    parts = [part for part in name.split(".") if part != "__file__"]
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        if place.with_suffix(".py").is_file() or place.is_dir():
            if length == len(parts):
                return True
            source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            if not source.is_file():
                return False
            return re.search(rf"\b{parts[length]}\b", source.read_text()) is not None
    return False


def test_old_homes_of_public_names_still_serve() -> None:
    from lavin_deploy import portable
    from lavin_deploy.export.portable import inlined

    assert inlined is portable.inlined
