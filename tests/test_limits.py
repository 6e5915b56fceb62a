"""One fact in one place: limits.json, which Python, C++ and the schema share."""

from __future__ import annotations

import re

import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.flow.grids import uniform
from lavin_deploy.limits import LIMITS
from tests.conftest import ROOT

pytestmark = pytest.mark.unit


def test_the_schema_has_the_same_bounds() -> None:
    schema = (ROOT / "lavin_deploy" / "bundle" / "bundle.schema.json").read_text()
    bounds = {"extent": LIMITS.pixels_a_side, "channels": LIMITS.channels,
              "samples": LIMITS.validation_samples, "time": 1}  # fmt: skip
    lines = [line for line in schema.splitlines() if '"maximum"' in line]
    assert {line.split('"')[1]: int(line.split('"maximum": ')[1].split()[0].strip(","))
            for line in lines} == bounds  # fmt: skip
    assert re.findall(r'"maxLength": (\d+)', schema) == [str(LIMITS.path_letters)]
    assert f'"^[a-z0-9][a-z0-9_-]{{0,{LIMITS.task_name_letters - 1}}}$"' in schema


def test_no_other_file_repeats_a_bound() -> None:
    """Those that mean nothing else are written nowhere else."""
    numbers = (LIMITS.picture_pixels, LIMITS.pixels_a_side, LIMITS.manifest_bytes)
    spellings = "|".join(rf"\b{number}\b|\b{number:_}\b" for number in numbers)
    files = [file for suffix in ("cpp", "h") for file in (ROOT / "cpp").rglob(f"*.{suffix}")]
    files = [file for file in files if file.relative_to(ROOT / "cpp").parts[0] in ("src", "cli")]
    files += (ROOT / "lavin_deploy" / "runtime").rglob("*.py")
    files += (ROOT / "lavin_deploy").glob("bundle*/**/*.py")
    assert len(files) > 100
    assert not [file for file in files if re.search(spellings, file.read_text())]


def test_steps_are_bounded() -> None:
    assert len(uniform(LIMITS.steps)) == LIMITS.steps + 1
    with pytest.raises(InputError, match=f"at most {LIMITS.steps} are taken"):
        uniform(LIMITS.steps + 1)
