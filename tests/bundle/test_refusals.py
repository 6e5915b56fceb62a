from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.errors import BundleError
from tests.helpers.bundles import edit, refused
from tests.helpers.toy_bundle import WEIGHTS

pytestmark = pytest.mark.unit

TABLE = "tables/modulation.npy"
BOUNDARY_ERROR = {"l2": 0.1, "max": 0.2}
STREAM = {"chunk": 0, "frames": [17], "encoder": BOUNDARY_ERROR, "decoder": BOUNDARY_ERROR}


def test_missing_bundle(tmp_path: Path, original: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle at"):
        open_bundle(tmp_path / "none")
    with pytest.raises(BundleError, match=r"Did you mean .*toy\.lavin"):
        open_bundle(original.with_name("toy"))
    with pytest.raises(BundleError, match=r"is not a bundle: it has no 'manifest\.json'"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.0])
def test_unknown_format_version(toy: Path, version: object) -> None:
    edit(toy, lambda data: data.update(format_version=version))
    refused(toy, "reads 1: export the bundle again")


def test_files_that_differ_from_the_manifest(toy: Path) -> None:
    content = (toy / TABLE).read_bytes()
    (toy / TABLE).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(toy, "does not have the sha256")
    (toy / TABLE).write_bytes(content + b"\0")
    refused(toy, "bytes where the manifest says")
    (toy / TABLE).unlink()
    refused(toy, "is incomplete: it has no 'tables/modulation.npy'")
    (toy / TABLE).mkdir()
    refused(toy, "not a plain file")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n"


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (POINTER, "run 'git lfs pull'"),
        (b"\n<!DOCTYPE html><html>", "a web page and not the file"),
    ],
)
def test_what_lies_in_a_files_place_is_said(toy: Path, head: bytes, sentence: str) -> None:
    (toy / TABLE).write_bytes(head)
    refused(toy, f"'{TABLE}' in the bundle is .*{sentence}")
    with zipfile.ZipFile(toy.with_name("toy.zip"), "w") as file:
        for path in sorted(toy.rglob("*")):
            file.write(path, path.relative_to(toy))
    refused(toy.with_name("toy.zip"), f"'{TABLE}' in the bundle is .*{sentence}")
    (toy / "manifest.json").write_bytes(head)
    refused(toy, f"'manifest.json' in the bundle is .*{sentence}")
    toy.with_name("whole.lavin").write_bytes(head)
    refused(toy.with_name("whole.lavin"), f"whole.lavin' is .*{sentence}")


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "C:/x", "a\\b", "", "a/", ".hidden", "nul"],
)
def test_paths_that_leave_the_bundle(toy: Path, path: str) -> None:
    entry = {"size": 1, "sha256": "0" * 64}
    edit(toy, lambda data: data["files"].update({path: entry}))
    refused(toy, "is not allowed in a bundle")


def test_validation_samples_that_no_bundle_has(toy: Path) -> None:
    for samples in (0, 17):
        entry = {"folder": "validation/edges", "samples": samples}
        edit(toy, lambda data, entry=entry: data.update(validation={"edges": entry}))
        refused(toy, f"declares {samples} validation samples of 'edges'")


def test_paths_that_are_one_file_elsewhere(toy: Path) -> None:
    entry = {"size": 1, "sha256": "0" * 64}
    edit(toy, lambda data: data["files"].update({TABLE.upper(): entry}))
    refused(toy, "twice")
    edit(toy, lambda data: data["files"].pop(TABLE.upper()))
    edit(toy, lambda data: data["files"].update({"tables": entry}))
    refused(toy, "is a file of the bundle and the folder of")


@pytest.mark.parametrize("part", [TABLE, "tables"])
def test_symbolic_links(toy: Path, tmp_path: Path, part: str) -> None:
    shutil.move(toy / part, tmp_path / "elsewhere")
    (toy / part).symlink_to(tmp_path / "elsewhere")
    refused(toy, "symbolic link")


def test_a_linked_bundle_folder_is_fine(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "link.lavin").symlink_to(toy)
    open_bundle(tmp_path / "link.lavin").close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(toy: Path) -> None:
    (toy / TABLE).unlink()
    os.mkfifo(toy / TABLE)
    refused(toy, "not a plain file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "no JSON object"),
        ('{"format_version": NaN}', "NaN"),
        ('{"format_version": 1, "format_version": 1}', "a key is repeated"),
        ("[" * 100_000, "not valid JSON"),
        ('{"format_version": 1}', "lacks 'name'"),
        ("\xff", "not valid JSON"),
    ],
)
def test_manifests_that_are_no_manifest(toy: Path, text: str, message: str) -> None:
    (toy / "manifest.json").write_bytes(text.encode("latin-1"))
    refused(toy, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(name=3), "name is 3; it must be of type str"),
        (lambda d: d["latent"].update(scale="1"), "latent: scale is '1'; it must be a finite num"),
        (lambda d: d["latent"].update(scale=10**400), "it must be a finite number"),
        (lambda d: d["latent"].update(scale=0), "must be positive"),
        (lambda d: d["time"].update(kind="cosine"), "kind is 'cosine'; it must be one of"),
        (lambda d: d["time"].update(default_grid=[0, 0.5]), "a time grid runs from 0"),
        (lambda d: d["defaults"].update(size=[32]), "it must be a list of 2"),
        (lambda d: d["defaults"].update(size=[64, 64]), "has no bucket"),
        (lambda d: d["defaults"].update(steps=0), "defaults.steps is 0"),
        (lambda d: d["buckets"].append(d["buckets"][0]), "lists bucket '32x32 with 1 pair' twice"),
        (lambda d: d["buckets"][0].update(height=31), "not a positive multiple of 8"),
        (lambda d: d.update(buckets=[]), "names no variant or no bucket"),
        (lambda d: d["variants"].append(d["variants"][0]), "variant 'fp32 portable' twice"),
        (lambda d: d["variants"][0].update(stream=STREAM), "has a stream of 0 latents; at least 1"),
        (lambda d: d["variants"][0].pop("graphs"), r"variants\[0\] lacks 'graphs'"),
        (lambda d: d["files"].pop(WEIGHTS), "which its 'files' does not list"),
        (lambda d: d["tables"]["modulation"].update(grid=[]), "empty grid"),
        (lambda d: d.update(tasks=[{"name": "a", "file": TABLE}] * 2), "task 'a' twice"),
        (lambda d: d.update(tasks=[{"name": "A/b", "file": TABLE}]), "'A/b' cannot name a task"),
        (lambda d: d["files"][WEIGHTS].update(size=-1), "bytes where the manifest says"),
    ],
)
def test_manifests_that_contradict_themselves(
    toy: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(toy, change)
    refused(toy, message)


def test_pickles_are_never_read(toy: Path) -> None:
    np.save(toy / TABLE, np.array([{"a": 1}], object), allow_pickle=True)
    content = (toy / TABLE).read_bytes()
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(toy, lambda data: data["files"].update({TABLE: entry}))
    with open_bundle(toy) as bundle, pytest.raises(BundleError, match=r"not a .npy array"):
        bundle.array(TABLE)
