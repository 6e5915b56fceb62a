"""Change a bundle's manifest, and check how a bundle is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.errors import BundleError


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = bundle / "manifest.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def refused(bundle: Path, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(bundle)
    text = str(caught.value)
    assert "\n" not in text
    assert text.rstrip().endswith(".")
