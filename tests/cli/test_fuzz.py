"""Whatever is typed, every command ends in an exit code and sentences, never in a traceback.

Arguments, the environment and what lies under the names given are drawn by hypothesis. What would
be work for minutes (training, an export, a build) is drawn with an input that is missing.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from lavin_deploy.bundle.edit import pack
from lavin_deploy.bundle.reader import open_bundle
from lavin_deploy.cli.main import lavin
from tests.conftest import GOLDEN
from tests.helpers.videos import write_video

pytestmark = pytest.mark.cli

TOY = GOLDEN / "toy.lavin"
MINUTES = 10
"""Of the long form."""
Words = tuple[list[str], dict[str, str]]


def _picture(path: Path) -> None:
    Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save(path, "PNG")


def _pairs(path: Path, size: tuple[int, int] = (30, 20)) -> None:
    path.mkdir()
    for name in ("1_input.png", "1_target.png", "2_input.png", "2_target.png"):
        Image.new("RGB", size, "red").save(path / name)


def _folder(path: Path) -> None:
    path.mkdir()
    _picture(path / "a.png")
    (path / "b.png").write_text("none")
    (path / "c.txt").write_bytes(b"\xff\xfe")


def _checkpoint(path: Path) -> None:
    path.mkdir()
    (path / "lavin_dit.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    (path / "stvae.safetensors").write_bytes(b"")
    (path / "config.json").write_bytes(b'{"dit": \xff}')


def _zip(path: Path) -> None:
    with open_bundle(TOY) as bundle:
        pack(bundle, path)


def _broken_bundle(path: Path) -> None:
    shutil.copytree(TOY, path)
    (path / "manifest.json").write_bytes((path / "manifest.json").read_bytes()[:700])


STATES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "missing/below": lambda path: None,
    "n" * 300: lambda path: None,
    "deep/" * 900 + "x": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "empty.mp4": lambda path: path.write_bytes(b""),
    "text.png": lambda path: path.write_text("no picture"),
    "latin1.txt": lambda path: path.write_bytes("gr\u00fcn".encode("latin-1")),
    "half.png": lambda path: (_picture(path), path.write_bytes(path.read_bytes()[:60])),
    "a.png": _picture,
    "a.PNG": _picture,
    "a.jpg": _picture,
    "\udcff\udce4.png": _picture,
    "line\nbreak.png": _picture,
    "a.mp4": lambda path: write_video(path, 2),
    "half.mp4": lambda path: path.write_bytes(write_video(path, 5).read_bytes()[:900]),
    "folder": _folder,
    "nothing": lambda path: path.mkdir(),
    "folder/a.png/below": lambda path: None,
    "dangling.png": lambda path: path.symlink_to("nowhere"),
    "circle.png": lambda path: path.symlink_to(path),
    "pipe.png": lambda path: os.mkfifo(path),
    "toy": lambda path: shutil.copytree(TOY, path),
    "toy.zip": _zip,
    "broken": _broken_bundle,
    "ckpt": _checkpoint,
    "pairs": _pairs,
    "thin": lambda path: _pairs(path, (500, 3)),
    "locked.png": lambda path: (_picture(path), path.chmod(0)),
    "locked": lambda path: (_folder(path), path.chmod(0)),
}
"""What may lie under a name: each is made when it is drawn."""

NUMBERS = (
    *("0", "1", "2", "3", "-1", "0.5", "nan", "inf", "-inf", "1e400", "1000000001", "9" * 30, ""),
    *("1_0", "0x10", "\u0663", "1e3", "64x64", "0x0", "20x20", "999999x999999", "100ms", "8.9"),
)
NAMES = (
    *("brighten", "segmentation", "core", "paper", "pairs", "fp32", "fp16", "onnxruntime", "auto"),
    *("tensorrt", "tensorrt-rtx", "portable", "native", "orin-agx-64", "edge", "tiny", "stvae"),
    *(
        "jdit",
        "target",
        "overlay",
        "depth",
        "\udcff",
        "../x",
        "a b",
        "-",
        "--",
        "",
        "%s",
        "x=pairs",
    ),
    *("x=thin", "learning_rate=nan", "steps=1000000001", "size=24", "=", "a=b=c", "preset=x"),
)
VALUES = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(NAMES),
    st.sampled_from(list(STATES)),
    st.text(st.characters(exclude_characters="\0"), max_size=8),
)
SKIPPED = {"--debug", "--help"}  # the first prints a traceback because it is asked to


def _leaves() -> Iterator[tuple[list[str], click.Command]]:
    context = click.Context(lavin)
    for name in lavin.list_commands(context):
        command = lavin.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from (([name, each], command.commands[each]) for each in command.commands)
        else:
            yield [name], command


LEAVES = list(_leaves())
LIKELY = {
    "INPUT": ("a.png", "folder", "a.mp4", "folder/*.png"),
    "BUNDLE": ("toy", "toy", "toy.zip", "broken"),
    "--bundle": ("toy", "toy", "toy.zip", "broken"),
    "--task": ("brighten",),
    "--ckpt": ("ckpt", "missing", "a.png", "folder"),
    "--pairs": ("pairs", "x=pairs", "x=thin", "1", "2"),
    "--sources": ("none", "", "generated,none"),
    "--out": ("out",),
    "--output": ("out", "out.png", "out.mp4"),
    "NAME": ("new", "brighten"),
    "--target": ("tensorrt", "x"),  # the other library is there and would build
    "--device": ("orin-agx-64", "h100"),
    "--preset": ("edge", "0.1b"),
    "--suite": ("core", "pairs", "paper"),
}
ALWAYS = {"--sources", "--target", "--ckpt", "--bundle"}
"""Never left out and never anything else, because defaults and the right value are long work."""


def _of_type(kind: click.ParamType) -> Sequence[str]:
    """Values that click takes, so that the command itself is reached."""
    if isinstance(kind, click.Choice):
        return [str(choice) for choice in kind.choices]
    if isinstance(kind, click.types.FloatParamType):
        return "0", "1", "1.5", "-1", "nan", "inf", "1e300"
    if isinstance(kind, click.types.IntParamType):
        return "1", "2", "3", "10001", "1000000001", "9" * 30
    return list(STATES) if isinstance(kind, click.Path | click.types.FuncParamType) else ()


@st.composite
def command_lines(draw: st.DrawFn) -> Words:
    path, command = draw(st.sampled_from(LEAVES))
    words = list(path)
    for parameter in command.params:
        name = max(parameter.opts, key=len)
        if name in SKIPPED:
            continue
        argument = isinstance(parameter, click.Argument)
        label = parameter.human_readable_name.strip("[]").upper() if argument else name
        likely = LIKELY.get(label) or _of_type(parameter.type)
        required = parameter.required or name in ALWAYS
        if not draw(st.integers(0, 9)) < (9 if required else 1) and name not in ALWAYS:
            continue
        if isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(name)
            continue
        plain = likely and (name in ALWAYS or draw(st.integers(0, 7)))
        value = draw(st.sampled_from(likely) if plain else VALUES)
        if argument:
            words.append(value)
        else:
            words += [f"{name}={value}"] if draw(st.booleans()) else [name, value]
    if draw(st.integers(0, 19)) == 0:
        words.insert(draw(st.integers(0, len(words))), draw(VALUES))
    environment = draw(
        st.dictionaries(
            st.sampled_from(["TMPDIR", "COLUMNS", "LANG", "HOME", "LAVIN_PLUGINS", "NO_COLOR"]),
            st.sampled_from(["missing", "folder", "a.png", "-1", "C", "0", "9" * 30]),
            max_size=2,
        )
    )
    return words, environment


@contextlib.contextmanager
def world(words: list[str], place: Path) -> Iterator[None]:
    """A fresh current folder, with what the words name."""
    before = Path.cwd()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    os.chdir(place)
    try:
        for name, make in STATES.items():
            if any(name in word for word in words) and not name.startswith("deep/"):
                with contextlib.suppress(FileExistsError, OSError):
                    make(place / name)
        yield
    finally:
        os.chdir(before)
        for locked in place.glob("locked*"):
            locked.chmod(0o700)


def check(case: Words, place: Path) -> None:
    words, environment = case
    with world([*words, *environment.values()], place):
        result = CliRunner().invoke(lavin, words, env=environment)
    told = f"{words} {environment}: {result.exit_code} {result.stderr}"
    assert isinstance(result.exception, SystemExit | None), told
    assert result.exit_code in (0, 1, 2, 3), told
    assert "Traceback" not in result.stderr, told
    assert "fault of the program" not in result.stderr, told
    assert bool(result.exit_code) <= bool(result.stderr.strip()), told


COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": False,
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "world"


CREATE = ["task", "create", "new", "--pairs=pairs", "--bundle=toy"]


@settings(max_examples=60, derandomize=True, **COMMON)  # type: ignore[arg-type]
@example(case=([*CREATE, "--guidance=nan"], {}))
@example(case=([*CREATE, "--steps=1000000001"], {}))
@example(case=(["run", "--bundle=toy", "--task=brighten", "a.png", "--guidance=1e300"], {}))
@example(case=([*CREATE, "--description=\udcff"], {}))
@example(case=(["run", "--bundle=toy.zip", "--task=brighten", "a.png"], {"TMPDIR": "missing"}))
@example(case=(["run", "--bundle=toy", "--task=brighten", "\udcff\udce4.png"], {}))
@example(case=(["train", "jdit", "--out=a.png"], {}))
@example(case=(["train", "jdit", "--out=out", "--pairs=x=thin"], {}))
@given(case=command_lines())
def test_no_command_line_is_a_fault_of_the_program(case: Words, place: Path) -> None:
    check(case, place)


@pytest.mark.soak
@pytest.mark.timeout(60 * (MINUTES + 5))
def test_no_command_line_is_a_fault_of_the_program_for_minutes(place: Path) -> None:
    end, rounds = time.monotonic() + 60 * MINUTES, 0
    while time.monotonic() < end:
        number = random.SystemRandom().randrange(1 << 32)

        @seed(number)
        @settings(max_examples=200, **COMMON)  # type: ignore[arg-type]
        @given(case=command_lines())
        def fuzz(case: Words) -> None:
            check(case, place)

        fuzz()
        rounds += 1
    assert rounds
