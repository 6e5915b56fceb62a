"""What the runtime may import, proven in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

WALK = """
import importlib, pkgutil, sys

class Ban:
    names = ("torch", "onnx", "onnxscript", "lavin_deploy.models", "lavin_deploy.training",
             "lavin_deploy.export")

    def find_spec(self, name, path=None, target=None):
        if any(name == ban or name.startswith(ban + ".") for ban in self.names):
            raise AssertionError(f"the runtime imports {name}")

sys.meta_path.insert(0, Ban())
import lavin_deploy
assert not {"numpy", "onnxruntime", "click", "PIL"} & set(sys.modules), "the package is heavy"
names = ["arrays", "config", "errors", "files", "limits", "names", "page"]
for package in ("bundle", "flow", "tasks", "runtime", "engines", "evaluation", "planning"):
    names.append(package)
    path = importlib.import_module(f"lavin_deploy.{package}").__path__
    names += [module.name.removeprefix("lavin_deploy.")
              for module in pkgutil.walk_packages(path, f"lavin_deploy.{package}.")]
for name in names:
    importlib.import_module(f"lavin_deploy.{name}")
"""

RUN = (
    WALK
    + """
from pathlib import Path
import numpy as np
bundle, pairs = sys.argv[1:]
from lavin_deploy.runtime.create_task import create_task
from lavin_deploy.tasks.stored import StoredTask
create_task(bundle, StoredTask(name="copy", pairs=()), pairs)
with lavin_deploy.load(bundle) as model:
    frame = np.full((20, 30, 3), 99, np.uint8)
    image = model.run("copy", frame, guidance=1.5, steps=3).image
    assert np.abs(image.astype(int) - 99).max() <= 1
assert "torch" not in sys.modules and "onnx" not in sys.modules
print("done")
"""
)


def python(code: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_no_module_of_the_runtime_imports_torch_or_onnx() -> None:
    python(WALK)


def test_creating_and_running_a_task_imports_neither(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from PIL import Image

    from tests.helpers.toy_bundle import flat, write_toy

    folder = tmp_path_factory.mktemp("run")
    write_toy(folder / "toy.lavin", pairs=(1,))
    for role in ("input", "target"):
        Image.fromarray(flat(32, 32, 50, 50, 50)).save(folder / f"a_{role}.png")
    assert python(RUN, folder / "toy.lavin", folder) == "done\n"
