"""Preparing the training pictures: packages, licences, splits, shards."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lavin_deploy.cli.data import data as data_command
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.training.data import curate, generated, packages, prepare, readers
from lavin_deploy.training.data.catalogue import SOURCES, Source
from lavin_deploy.training.data.inventory import Inventory, Item
from lavin_deploy.training.data.packages import Package, verify
from lavin_deploy.training.data.readers import Picture
from lavin_deploy.training.data.shards import Shards, ShardWriter
from lavin_deploy.training.synthesis.collage import Collage
from tests.helpers.processes import at_once

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def prepared(data: Path) -> Path:
    """A folder of generated pictures: no network, no package."""
    return data


def test_without_a_network_generated_pictures_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise subprocess.CalledProcessError(1, "client", stderr=b"W: noise\nE: no route\n")

    monkeypatch.setattr(packages.subprocess, "run", offline)
    inventory = prepare.prepare(tmp_path / "out", cache=tmp_path / "cache")
    assert inventory.missing == tuple(SOURCES)
    assert {item.package for item in inventory.items} == {"generated"}
    left_out = [record for record in caplog.records if "left out" in record.message]
    assert len(left_out) == len(SOURCES)
    assert all("no route" in record.message for record in left_out)


def test_a_source_asked_for_by_name_must_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("apt-get")

    monkeypatch.setattr(packages.subprocess, "run", offline)
    with pytest.raises(WorkError, match="stamps"):
        prepare.prepare(tmp_path / "out", cache=tmp_path, sources=["stamps"])


def test_splits_share_no_source_file(prepared: Path) -> None:
    inventory = Inventory.load(prepared)
    splits = defaultdict(set)
    for item in inventory.items:
        assert Shards(prepared).read(item.path)
        assert item.license
        splits[item.package, item.file].add(item.split)
    assert all(len(names) == 1 for names in splits.values())
    assert set(inventory.counts()) == {"cutout/test", "cutout/train", "photo/test", "photo/train"}


def test_look_alike_stamps_stay_in_one_split() -> None:
    names = [f"animals/cats/{stem}" for stem in ("lion", "lion-2", "lion_3", "Lion4")]
    assert len({curate.group_of(name) for name in names}) == 1
    photos = ("a/tajMahal.jpg", "b/TajMahal_background.webp", "c/tajmahal2.webp")
    assert len({curate.subject_of(file) for file in photos}) == 1
    many = [f"food/{letter * 3}.png" for letter in "abcdefghij"]
    assert len(readers.hold_out_groups(many)) == 2


def test_preparing_again_keeps_what_is_whole_and_removes_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare.prepare(tmp_path, sources=["generated"])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    stale = "photo-train-000009.tar"
    (tmp_path / stale).write_bytes(b"old")
    (tmp_path / "own.tar").write_bytes(b"of the user")
    extra = Item(**{**vars(first.items[0]), "id": "old", "package": "p", "path": f"{stale}/o.jpg"})
    replace(first, items=(*first.items, extra)).save(tmp_path)

    def again(*args: object) -> None:
        raise AssertionError("a source that is whole is prepared again")

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "_write", again)
        assert prepare.prepare(tmp_path, sources=["generated"]) == first
    (tmp_path / "own.tar").unlink()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    (tmp_path / "cutout-test-000000.tar").unlink()  # a lost shard is made again
    second = prepare.prepare(tmp_path, sources=["generated"])
    assert second.counts() == first.counts()
    assert len(Collage.load(tmp_path, "test").pyramids) == first.counts()["cutout/test"]


def test_an_interrupted_preparation_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def read(name: str, fails: bool) -> Iterator[Picture]:
        calls.append(name)
        for number in range(3):
            if fails and number == 2:
                raise KeyboardInterrupt
            yield Picture(
                image=generated.photo(np.random.default_rng(number)),
                file=f"{name}-{number}.jpg",
                license="CC0-1.0",
                attribution="A",
                test=number == 0,
            )

    def source(name: str, fails: bool = False) -> Source:
        package = Package(name=name, version="1", client="wheel", sha256=name, size=1)
        return Source(package=package, kind="photo", read=lambda _: read(name, fails))

    monkeypatch.setattr(prepare, "fetch", lambda *args: tmp_path)
    monkeypatch.setattr(prepare, "SOURCES", {"a": source("a"), "b": source("b", fails=True)})
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(tmp_path)
    assert not list(tmp_path.glob(".lavin-*"))
    assert {item.package for item in Inventory.load(tmp_path).items} == {"a"}
    monkeypatch.setattr(prepare, "SOURCES", {"a": source("a"), "b": source("b")})
    whole = prepare.prepare(tmp_path)
    assert calls == ["a", "b", "b"]
    assert whole.counts()["photo/train"] == 4
    assert len(Collage.load(tmp_path, "train").photos) == 4
    fresh = replace(source("a").package, sha256="another version")
    newer = replace(source("a"), package=fresh)
    monkeypatch.setattr(prepare, "SOURCES", {"a": newer, "b": source("b")})
    assert prepare.prepare(tmp_path).counts() == whole.counts()
    assert calls[3:] == ["a"]


def test_shards_keep_the_files_of_a_sample_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lavin_deploy.training.data.shards.SHARD_SAMPLES", 2)
    with ShardWriter(tmp_path, {"k-train-000001.tar"}) as writer:
        shards = [
            writer.add("k-train", f"s{n}", {"png": bytes([n]), "target.png": b"t", "json": b"{}"})
            for n in range(5)
        ]
    assert shards == [f"k-train-{n:06d}.tar" for n in (0, 0, 2, 2, 3)]
    with tarfile.open(tmp_path / shards[2]) as tar:
        names = tar.getnames()
    assert names == ["s2.png", "s2.target.png", "s2.json", "s3.png", "s3.target.png", "s3.json"]
    read = Shards(tmp_path)
    assert read.read(f"{shards[3]}/s3.png") == b"\x03"
    for path in (f"{shards[3]}/s1.png", "k-train-000001.tar/s2.png"):
        with pytest.raises(InputError, match="prepare the folder again"):
            read.read(path)


def test_every_sample_has_its_licence_beside_it(prepared: Path) -> None:
    for item in Inventory.load(prepared).items:
        shard, _, member = item.path.partition("/")
        beside = Shards(prepared).read(f"{shard}/{item.id}.json")
        assert json.loads(beside) == {**vars(item), "path": member}
        assert "." not in item.id


def test_a_wrong_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package(name="p", version="1", client="deb", sha256="0" * 64, size=3)
    (tmp_path / "p_1.deb").write_bytes(b"abc")
    with pytest.raises(WorkError, match="pinned"):
        verify(package, tmp_path / "p_1.deb")

    def deliver(command: list[str], cwd: str, **kwargs: object) -> None:
        assert command == ["apt-get", "download", "p=1"]
        (Path(cwd) / "p_1.deb").write_bytes(b"abc")

    monkeypatch.setattr(packages.subprocess, "run", deliver)
    with pytest.raises(WorkError, match="pinned"):
        packages.fetch(package, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_what_is_cached_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    package = Package(name="p", version="1", client="wheel", sha256=digest, size=3)
    calls = []

    def deliver(command: list[str], cwd: str, **kwargs: object) -> None:
        calls.append(command)
        (Path(cwd) / "p-1.whl").write_bytes(b"abc")

    monkeypatch.setattr(packages.subprocess, "run", deliver)
    assert packages.fetch(package, tmp_path) == packages.fetch(package, tmp_path)
    assert len(calls) == 1
    (tmp_path / "p-1.whl").write_bytes(b"abd")  # damaged since
    packages.fetch(package, tmp_path)
    assert len(calls) == 2


def test_licences_come_from_the_copyright_file() -> None:
    rights = curate.CopyrightFile(
        "Format: x\n\nFiles: *\nCopyright: 2010 A\n 2011 B\nLicense: GPL-3+\n\n"
        "Files: src/a/fish.jpg\n src/b/*\nCopyright: C\nLicense: CC-BY-2.0\n\nLicense: MIT\n text\n"
    )
    assert rights.look_up("src/a/fish.webp") == ("CC-BY-2.0", "C")
    assert rights.look_up("src/b/x.webp")[0] == "CC-BY-2.0"
    assert rights.look_up("src/c/x.webp") == ("GPL-3+", "2010 A 2011 B")
    assert curate.licence_allowed("public-domain")
    assert not curate.licence_allowed("GFDL-NIV-1.2+")
    assert not curate.licence_allowed("unstated")


def test_the_command_prepares_and_explains(tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(
        data_command, ["prepare", "--sources", "generated", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["photo/train"] > 0
    wrong = runner.invoke(data_command, ["prepare", "--sources", "stamp", "--out", str(tmp_path)])
    assert wrong.exit_code == 2
    assert "Did you mean 'stamps'" in wrong.stderr
    assert "Traceback" not in wrong.output


def test_a_folder_that_is_not_prepared_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lavin-data prepare"):
        Collage.load(tmp_path, "train")
    (tmp_path / "inventory.json").write_text('{"items": [{}]')
    with pytest.raises(InputError, match="damaged"):
        Collage.load(tmp_path, "train")


def test_curation_drops_flat_and_dark_pictures() -> None:
    rng = np.random.default_rng(8)
    assert not curate.looks_like_photo(np.zeros((200, 200, 3), np.uint8))
    flat = np.repeat(np.repeat(rng.integers(0, 255, (4, 4, 3)), 50, 0), 50, 1).astype(np.uint8)
    assert not curate.looks_like_photo(flat)
    assert curate.looks_like_photo(generated.photo(rng))
    assert Image.fromarray(generated.cutout(rng)).mode == "RGBA"


def test_two_preparations_of_one_folder_wait_for_each_other(tmp_path: Path) -> None:
    imports = """
import sys
from pathlib import Path
from lavin_deploy.training.data.prepare import prepare
"""
    code = """print(len(prepare(Path(sys.argv[1]), sources=["generated"]).items))"""
    at_once(imports, code, [(tmp_path / "out",)] * 2)
    inventory = Inventory.load(tmp_path / "out")
    assert len(inventory.items) == 80
    shards = {item.path.partition("/")[0] for item in inventory.items}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*shards, "inventory.json"}
    for item in inventory.items:
        assert Shards(tmp_path / "out").read(item.path)
