"""What whole programs do besides their work: no file outside their output, no use of the network.

Each runs in a home folder of its own under strace, which writes down every socket and every file
that is opened to be written or made.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import GOLDEN, ROOT
from tests.cpp.conftest import cpp, onnxruntime_file  # noqa: F401

pytestmark = pytest.mark.cli

TOY = GOLDEN / "toy.lavin"
TRACED = "trace=%network,open,openat,creat,mkdir,mkdirat"
NETWORK = re.compile(r"\b(socket|connect|sendto|sendmsg)\(|/etc/resolv\.conf|/etc/hosts")
WRITES = re.compile(r"(?:O_WRONLY|O_RDWR|O_CREAT|\bcreat\(|mkdir(?:at)?\()")
NAMED = re.compile(r'"([^"]*)"')
HARMLESS = ("/dev/", "/proc/")
LOADER = "import sys, importlib; {}importlib.import_module('onnxruntime')"


class Trace:
    """A program's end, and what it did besides."""

    def __init__(self, folder: Path, *words: object, **environment: str) -> None:
        if shutil.which("strace") is None:
            pytest.skip("strace is not installed")
        home, temporary, log = (folder / name for name in ("home", "tmp", "strace.log"))
        for place in (home, temporary):
            place.mkdir(parents=True)
        kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
        kept = {k: v for k, v in kept.items() if not k.startswith("XDG_")}
        kept |= {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
        kept["LOGNAME"] = "somebody"  # else torch looks the user's name up, over a socket
        strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "400", "-o", str(log), "-e", TRACED]
        self.done = subprocess.run(
            [*strace, *map(str, words)],
            cwd=folder,
            env=kept | {"PYTHONPATH": str(ROOT)} | environment,
            capture_output=True,
            text=True,
        )
        if "ptrace" in self.done.stderr:
            pytest.skip(f"strace may not trace here: {self.done.stderr}")
        lines = [line for line in log.read_text().splitlines() if "= -1" not in line]
        every = log.read_text().splitlines()
        self.network = [line for line in every if NETWORK.search(line)]
        written = [NAMED.search(line) for line in lines if WRITES.search(line)]
        self.written = {(folder / found[1]).resolve() for found in written if found and found[1]}
        # torch makes an empty folder torchinductor_USER among temporary files.
        kept_files = [p for p in temporary.rglob("*") if not p.is_dir()]
        self.left = sorted([*home.rglob("*"), *kept_files])

    def elsewhere(self, *places: Path) -> list[Path]:
        """Files opened to be written, or made, outside of some places."""
        return sorted(
            path
            for path in self.written
            if not str(path).startswith(HARMLESS)
            and not any(path == place or place in path.parents for place in places)
        )


def command(name: str) -> list[str]:
    """A console script of this checkout, whatever is installed."""
    module, function = {"run": ("run", "run"), "export": ("export", "export")}[name]
    code = f"from lavin_deploy.cli.{module} import {function}; {function}()"
    return [sys.executable, "-c", code]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    return tmp_path / "in" / "a.png"


def quiet(trace: Trace, *places: Path) -> None:
    assert trace.done.returncode == 0, trace.done.stderr
    assert not trace.network
    assert not trace.left
    assert not trace.elsewhere(*places)


def test_lavin_run_writes_its_output_and_asks_nobody(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    words = ["--bundle", TOY, "--task", "brighten", picture, "-o", out / "a.png"]
    quiet(Trace(tmp_path / "t", *command("run"), *words), out)
    assert (out / "a.png").exists()


def test_lavin_export_writes_its_bundle_and_asks_nobody(golden: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    words = ["--ckpt", golden, "--size", "32x32", "--pairs", "1", "--out", out / "x.lavin"]
    trace = Trace(tmp_path / "t", *command("export"), *words)
    quiet(trace, out, tmp_path / "t" / "tmp")
    assert (out / "x.lavin" / "manifest.json").exists()


def test_lavin_cli_writes_its_output_and_asks_nobody(
    cpp: Path,  # noqa: F811
    onnxruntime_file: str,  # noqa: F811
    picture: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    words = ["--bundle", TOY, "--task", "brighten", picture, out / "a.png"]
    program = [cpp / "lavin_cli", *words]
    quiet(Trace(tmp_path / "t", *program, LAVIN_ONNXRUNTIME=onnxruntime_file), out)
    assert (out / "a.png").exists()
    told = {"LAVIN_ONNXRUNTIME": onnxruntime_file, "ORT_DISABLE_TELEMETRY": "0"}
    assert Trace(tmp_path / "u", *program, **told).left, "what the user says does not hold"


def test_telemetry_is_as_the_environment_says(tmp_path: Path) -> None:
    first = LOADER.format("import lavin_deploy; ")
    alone = Trace(tmp_path / "alone", sys.executable, "-c", LOADER.format(""))
    if not alone.left:
        pytest.skip("this ONNX Runtime writes nothing by itself")
    told = Trace(tmp_path / "told", sys.executable, "-c", first, ORT_DISABLE_TELEMETRY="0")
    assert {path.name for path in told.left} == {path.name for path in alone.left}
    quiet(Trace(tmp_path / "off", sys.executable, "-c", first))


OTHERS = {
    "openvino": "import sys; sys.modules['openvino_telemetry'] = None\n"
    "import openvino, pathlib; core = openvino.Core()\n"
    "graphs = sorted(pathlib.Path(sys.argv[1]).rglob('*.onnx'))\n"
    "[core.compile_model(str(graph), 'CPU') for graph in graphs]; assert graphs",
    "tensorboard": "from torch.utils.tensorboard import SummaryWriter\n"
    "import sys; writer = SummaryWriter(sys.argv[2]); writer.add_scalar('x', 1, 1); writer.close()",
    "polygraphy": "import sys, pathlib; from polygraphy.tools import main\n"
    "graph = sorted(pathlib.Path(sys.argv[1]).rglob('*.onnx'))[0]\n"
    "sys.argv = ['polygraphy', 'inspect', 'model', str(graph)]; main()",
}
"""What other libraries do that tests, training and the checks of graphs use."""


@pytest.mark.parametrize("library", OTHERS)
def test_what_other_libraries_do_is_as_the_page_says(library: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(library) is None:  # polygraphy serves whom it is imported for first
        pytest.skip(f"{library} is not installed")
    out = tmp_path / "out"
    out.mkdir()
    trace = Trace(tmp_path / "t", sys.executable, "-c", OTHERS[library], TOY, out)
    quiet(trace, out, tmp_path / "t" / "tmp")
    page = (ROOT / "docs" / "status.md").read_text().lower()
    assert library in page


def test_no_file_loads_a_library_that_sends_before_it_is_silenced() -> None:
    """In a file outside the package, ``lavin_deploy`` comes before ``onnxruntime``."""
    seen = 0
    for folder in ("benchmarks", "examples", "scripts", "packaging"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            names: list[str] = []
            for node in sorted(
                (
                    n
                    for n in ast.walk(ast.parse(file.read_text()))
                    if isinstance(n, ast.Import | ast.ImportFrom)
                ),
                key=lambda n: n.lineno,
            ):
                given = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [name.split(".")[0] for name in given or [node.module or ""]]
            for library in {"onnxruntime", "openvino"} & set(names):
                seen += 1
                assert "lavin_deploy" in names[: names.index(library)], f"{file}: {library}"
    assert seen > 1
