"""An installed copy is found and linked by somebody else's three-line project, in C and in C++."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import GOLDEN, ROOT

pytestmark = pytest.mark.cli

CONSUMERS = ROOT / "cpp" / "tests" / "consumer"
PROGRAM = ["brighten"]


def output(*command: object, **environment: str) -> str:
    """Run a command, which must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(cpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in a folder that has been moved since it was installed."""
    folder = tmp_path_factory.mktemp("installed")
    output("cmake", "--install", cpp, "--prefix", folder / "before")
    return Path(shutil.move(folder / "before", folder / "after"))


@pytest.fixture(scope="module")
def answer(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the program in C++ prints."""
    return build_and_run(CONSUMERS, installed, tmp_path_factory.mktemp("cpp"))


def build_and_run(source: Path, installed: Path, folder: Path) -> str:
    output("cmake", "-S", source, "-B", folder, f"-DCMAKE_PREFIX_PATH={installed}")
    output("cmake", "--build", folder)
    return output(folder / "app", GOLDEN / "toy.lavin", *PROGRAM)


def test_by_cmake_in_c_and_in_cpp(answer: str, installed: Path, tmp_path: Path) -> None:
    lines = (CONSUMERS / "CMakeLists.txt").read_text().splitlines()
    assert [line for line in lines if line and line[0] != "#"][2:] == [
        "find_package(lavin REQUIRED)",
        "add_executable(app main.cpp)",
        "target_link_libraries(app lavin::lavin)",
    ]
    assert len(answer.strip()) == 16
    assert build_and_run(CONSUMERS / "c", installed, tmp_path) == answer


def test_by_the_archive(answer: str, installed: Path, tmp_path: Path) -> None:
    shutil.copytree(CONSUMERS, tmp_path / "source")
    project = tmp_path / "source" / "CMakeLists.txt"
    project.write_text(project.read_text().replace("lavin::lavin", "lavin::static"))
    assert build_and_run(tmp_path / "source", installed, tmp_path / "build") == answer
    assert "liblavin" not in output("ldd", tmp_path / "build" / "app")


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_by_pkg_config(answer: str, installed: Path, tmp_path: Path, kind: str) -> None:
    folder = next(installed.rglob("lavin.pc")).parent
    words = ["--static"] if kind == "static" else []
    flags = output("pkg-config", *words, "--cflags", "--libs", "lavin", PKG_CONFIG_PATH=str(folder))
    flags = flags.replace("-llavin", "-l:liblavin.a") if kind == "static" else flags
    app = tmp_path / "app"
    output("cc", "-std=c99", CONSUMERS / "c" / "main.c", "-o", app, *flags.split())
    found = {"LD_LIBRARY_PATH": str(folder.parent)}
    assert output(app, GOLDEN / "toy.lavin", *PROGRAM, **found) == answer


def test_the_command_line_comes_along(installed: Path) -> None:
    assert output(installed / "bin" / "lavin_cli", "--version") == "lavin_cli 0.1.0\n"


def test_headers_stand_alone(installed: Path, tmp_path: Path) -> None:
    """In every standard that they promise, with all warnings, and no type of a vendor in them."""
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only"]
    (tmp_path / "a.c").write_text("#include <lavin/lavin.h>\nint main(void) { return 0; }\n")
    (tmp_path / "a.cpp").write_text("#include <lavin/lavin.hpp>\nint main() {}\n")
    include = f"-I{installed / 'include'}"
    for standard in ("c99", "c11", "c17"):
        output("cc", f"-std={standard}", *warnings, include, tmp_path / "a.c")
    for standard in ("c++17", "c++20", "c++23"):
        output("c++", f"-std={standard}", *warnings, include, tmp_path / "a.cpp")
    for header in (installed / "include" / "lavin").iterdir():
        includes = [line for line in header.read_text().splitlines() if line.startswith("#include")]
        for vendor in ("Nv", "cuda", "opencv", "onnx", "nlohmann"):
            assert not any(vendor in line for line in includes), header


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="not Debian")
def test_debian_package(cpp: Path, tmp_path: Path) -> None:
    output("cpack", "--config", cpp / "CPackConfig.cmake", "-G", "DEB", "-B", tmp_path)
    (package,) = tmp_path.glob("*.deb")
    listed = output("dpkg-deb", "--contents", package)
    for file in ("/lavin.h", "/lavin.hpp", "/liblavin.so.0", "/liblavin.a", "/bin/lavin_cli"):
        assert file in listed
    fields = output("dpkg-deb", "--info", package)
    assert "Package: lavin\n" in fields
    assert "onnxruntime" not in fields.split("Description:")[0]  # found at run time, if at all
