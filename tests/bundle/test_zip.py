from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lavin_deploy.bundle.edit import pack
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.errors import BundleError, InputError
from tests.helpers.bundles import refused
from tests.helpers.toy_bundle import WEIGHTS

pytestmark = pytest.mark.unit

TABLE = "tables/modulation.npy"


def zip_of(bundle: Path, target: Path, method: int = zipfile.ZIP_STORED, top: str = "") -> Path:
    with zipfile.ZipFile(target, "w", method) as archive:
        for file in sorted(bundle.rglob("*")):
            if file.is_file():
                archive.write(file, top + file.relative_to(bundle).as_posix())
    return target


def test_pack_and_read_the_zip(original: Path, tmp_path: Path) -> None:
    with open_bundle(original) as bundle:
        first = pack(bundle, tmp_path / "one.zip")
        pack(bundle, tmp_path / "two.zip")
    assert first.read_bytes() == (tmp_path / "two.zip").read_bytes()
    with open_bundle(first) as zipped:
        assert zipped.manifest == bundle.manifest
        graph = zipped.manifest.variants[0].graphs[1]
        file = zipped.graph_file(zipped.variant(), graph)
        assert file.read_bytes() == (original / graph.file).read_bytes()
        assert (file.parent / Path(WEIGHTS).name).is_file()
        assert pack(zipped, tmp_path / "three.zip").read_bytes() == first.read_bytes()
    assert not file.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.zip", "three.zip", "two.zip"]


def test_a_zip_with_one_top_folder_is_read(original: Path, tmp_path: Path) -> None:
    open_bundle(zip_of(original, tmp_path / "a.zip", top="toy.lavin/")).close()


def test_pack_refuses_a_folder_as_target(original: Path, tmp_path: Path) -> None:
    with open_bundle(original) as bundle, pytest.raises(InputError, match="cannot write a zip"):
        pack(bundle, tmp_path)


def test_compressed_entries_are_refused(original: Path, tmp_path: Path) -> None:
    refused(zip_of(original, tmp_path / "a.zip", zipfile.ZIP_DEFLATED), "is compressed")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "c:/evil"])
def test_zip_entries_that_leave_the_bundle(original: Path, tmp_path: Path, name: str) -> None:
    path = zip_of(original, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    refused(path, "is not allowed in a bundle")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_linked_damaged_and_hostile_zips(original: Path, tmp_path: Path) -> None:
    path = zip_of(original, tmp_path / "duplicate.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(TABLE, b"x")
    refused(path, "twice")

    path = zip_of(original, tmp_path / "link.zip")
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, b"/etc/passwd")
    refused(path, "symbolic link")

    whole = zip_of(original, tmp_path / "whole.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "half.zip", "neither a bundle folder nor a readable zip")

    table = (original / TABLE).read_bytes()
    at = whole.index(table)
    damaged = whole[:at] + bytes([table[0] ^ 1]) + whole[at + 1 :]
    (tmp_path / "damaged.zip").write_bytes(damaged)
    refused(tmp_path / "damaged.zip", "cannot be read|sha256")

    (tmp_path / "text.zip").write_text("no zip")
    refused(tmp_path / "text.zip", "neither a bundle folder nor a readable zip")


def test_overlapping_entries_are_refused(original: Path, tmp_path: Path) -> None:
    """A zip bomb without compression: many directory entries that share the same bytes."""
    path = zip_of(original, tmp_path / "bomb.zip")
    with zipfile.ZipFile(path, "a") as archive:
        big = zipfile.ZipInfo("big")
        archive.writestr(big, bytes(100_000))
        for number in range(50):
            copy = zipfile.ZipInfo(f"copy{number}")
            copy.header_offset, copy.CRC = archive.NameToInfo["big"].header_offset, 0
            copy.file_size = copy.compress_size = 100_000
            archive.filelist.append(copy)
    refused(path, "overlap")


def copied(source: Path, target: Path, names: Callable[[str], str], first: bool = False) -> Path:
    """A zip with what people's tools put beside a bundle, before or after its own entries."""
    with zipfile.ZipFile(target, "w") as archive, zipfile.ZipFile(source) as whole:
        strange = [
            *("__MACOSX/._toy.lavin", "__MACOSX/toy.lavin/._manifest.json", "__MACOSX/notes.txt"),
            *(f"__MACOSX/{name}" for name in whole.namelist()),
            *(names(name) for name in (".DS_Store", "Thumbs.db", "._manifest.json", "notes.txt")),
            *(names(name) for name in ("Grüße an alle.txt", "graphs/メモ.md", "graphs/.DS_Store")),
            *(names(name) for name in ("tasks/a b.png", "con.txt", "a:b", "12:30.txt", "x\\y")),
            names("graphs/" + 300 * "x"),
        ]

        def write_strange() -> None:
            for number, name in enumerate(strange):
                method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
                archive.writestr(name, b"no part of it " * 200, method)

        if first:
            write_strange()
        for name in whole.namelist():
            archive.writestr(names(name), whole.read(name))
        if not first:
            write_strange()
    return target


@pytest.mark.parametrize("top", ["", "toy.lavin/", "Mein Bündel (Kopie).lavin/"])
@pytest.mark.parametrize("first", [True, False])
def test_what_people_put_into_a_zip_is_ignored(
    original: Path, tmp_path: Path, top: str, first: bool
) -> None:
    plain = zip_of(original, tmp_path / "plain.zip")
    path = copied(plain, tmp_path / "a.zip", lambda name: top + name, first)
    with open_bundle(path) as bundle, open_bundle(original) as expected:
        assert bundle.manifest == expected.manifest
        for name in bundle.manifest.files:
            assert bundle.read(name) == expected.read(name)
        for name in ("notes.txt", "Thumbs.db", ".DS_Store"):
            with pytest.raises(BundleError, match="lists no file"):
                bundle.read(name)


def test_notes_beside_the_only_folder_are_ignored(original: Path, tmp_path: Path) -> None:
    path = zip_of(original, tmp_path / "a.zip", top="toy.lavin/")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("read me.txt", b"x" * 1000)
        archive.writestr("graphs/step.onnx", b"x" * 1000)
    open_bundle(path).close()


def test_a_zip_of_two_bundles_is_refused(original: Path, tmp_path: Path) -> None:
    path = zip_of(original, tmp_path / "a.zip", top="toy.lavin/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.lavin/manifest.json", b"{}")
    refused(path, "holds several bundles, 'other.lavin' and 'toy.lavin'; make a zip of each")
