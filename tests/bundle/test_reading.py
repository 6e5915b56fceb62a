from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import lavin_deploy
from lavin_deploy.bundle.manifest import Manifest
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.errors import BundleError
from tests.helpers.bundles import edit
from tests.helpers.toy_bundle import WEIGHTS, write_toy

pytestmark = pytest.mark.unit

TABLE = "tables/modulation.npy"


def test_a_written_bundle_reads_back(tmp_path: Path) -> None:
    written = write_toy(tmp_path / "toy.lavin", sizes=((32, 32), (16, 48)))
    with open_bundle(tmp_path / "toy.lavin") as bundle:
        assert bundle.manifest == written
        assert Manifest.from_text(written.to_text()) == written
        assert bundle.array(TABLE).shape == (4, 2)
        assert bundle.file(WEIGHTS).read_bytes() == bundle.read(WEIGHTS)
        assert bundle.manifest.sizes() == ((32, 32), (16, 48))
        assert bundle.manifest.pairs_at(16, 48) == (1, 2)
    existing = {
        p.relative_to(bundle.path).as_posix() for p in bundle.path.rglob("*") if p.is_file()
    }
    assert existing == {*written.files, "manifest.json"}


def test_the_manifest_fits_its_schema(original: Path) -> None:
    schema = json.loads(
        (Path(lavin_deploy.__file__).parent / "bundle" / "bundle.schema.json").read_text(
            encoding="utf-8"
        )
    )
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    data = json.loads((original / "manifest.json").read_text())
    validator.validate(data)
    names = {field for field in Manifest.__dataclass_fields__}
    assert names == set(schema["properties"]) == set(data)
    samples = {"folder": "validation/edges", "samples": 3}
    validator.validate({**data, "validation": {"edges": samples}})
    error = {"l2": 0.1, "max": 0.2}
    stream = {"chunk": 2, "frames": [17], "encoder": error, "decoder": error}
    variant = {**data["variants"][0], "stream": stream}
    validator.validate({**data, "variants": [variant]})
    bare = {"variants": [{**variant, "stream": {**stream, "chunk": 0}}]}
    many = {"validation": {"edges": {**samples, "samples": 17}}}
    for broken in ({"format_version": 2}, {"files": {"../x": {}}}, {"buckets": []}, many, bare):
        assert list(validator.iter_errors({**data, **broken}))


def test_unknown_fields_are_ignored(toy: Path) -> None:
    def add(data: dict[str, Any]) -> None:
        data["later"] = {"x": 1}
        data["variants"][0]["graphs"][0]["later"] = None

    edit(toy, add)
    open_bundle(toy).close()


def test_unlisted_files_are_never_read(toy: Path) -> None:
    (toy / "engines").mkdir()
    (toy / "engines" / "x.bin").write_bytes(b"x")
    with open_bundle(toy) as bundle, pytest.raises(BundleError, match="lists no file"):
        bundle.read("engines/x.bin")


def test_graphs_and_variants_that_are_missing_list_what_there_is(original: Path) -> None:
    with open_bundle(original) as bundle:
        variant = bundle.variant()
        assert variant.graph("step", height=32, width=32, pairs=2).pairs == 2
        with pytest.raises(BundleError, match="32x32 with 1 pair, 32x32 with 2 pairs"):
            variant.graph("step", height=64, width=64, pairs=1)
        with pytest.raises(BundleError, match="it has: none"):
            variant.graph("step_euler")
        with pytest.raises(BundleError, match="no int8 variant; it has: fp32 portable"):
            bundle.variant("int8")
