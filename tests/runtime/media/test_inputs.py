from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.media.destinations import OutputPlan, plan_outputs
from lavin_deploy.runtime.media.images import write_image
from lavin_deploy.runtime.media.inputs import find_inputs
from tests.helpers.videos import write_video

pytestmark = pytest.mark.unit


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.zeros((4, 4, 3), np.uint8))
    return path


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    save(folder / "b.png")
    save(folder / "a.jpg")
    save(folder / ".hidden.png")
    save(folder / "deeper" / "c.png")
    (folder / "notes.txt").write_text("hello")
    write_video(folder / "clip.mp4", 2)
    return folder


def test_one_file(media: Path) -> None:
    for name, kind in (("b.png", "image"), ("clip.mp4", "video")):
        inputs = find_inputs(str(media / name))
        (file,) = inputs.files
        assert (file.path, file.kind, file.name) == (media / name, kind, Path(name))
        assert inputs.folder is None


def test_files_without_a_known_suffix_are_known_by_their_content(media: Path) -> None:
    (media / "b.png").rename(media / "picture")
    (media / "clip.mp4").rename(media / "film.bin")
    assert find_inputs(str(media / "picture")).files[0].kind == "image"
    assert find_inputs(str(media / "film.bin")).files[0].kind == "video"
    with pytest.raises(InputError, match="neither an image nor a video"):
        find_inputs(str(media / "notes.txt"))


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "avif", "apng"])
def test_a_picture_that_moves_is_an_animation(tmp_path: Path, suffix: str) -> None:
    pictures = [Image.new("RGB", (8, 8), (i * 90, 0, 0)) for i in range(3)]
    pictures[0].save(tmp_path / f"still.{suffix}")
    pictures[0].save(tmp_path / f"moves.{suffix}", save_all=True, append_images=pictures[1:])
    (tmp_path / "noname").write_bytes((tmp_path / f"moves.{suffix}").read_bytes())
    for name, kind in (
        (f"still.{suffix}", "image"), (f"moves.{suffix}", "animation"), ("noname", "animation")
    ):  # fmt: skip
        assert find_inputs(str(tmp_path / name)).files[0].kind == kind
    made = plan_outputs(find_inputs(str(tmp_path / f"moves.{suffix}")), "t").output.name
    assert made == ("moves.avif.t.png" if suffix == "avif" else f"moves.t.{suffix}")


def test_folder(media: Path) -> None:
    inputs = find_inputs(str(media))
    assert [(f.name.name, f.kind) for f in inputs.files] == [
        ("a.jpg", "image"),
        ("b.png", "image"),
        ("clip.mp4", "video"),
    ]
    assert (inputs.folder, inputs.skipped) == (media, 1)


def test_patterns(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = find_inputs(f"{media}/*.png")
    assert [f.name for f in inputs.files] == [Path("b.png")]
    assert inputs.folder == media
    deep = find_inputs(f"{media}/**/*.png")
    assert [f.name for f in deep.files] == [Path("b.png"), Path("deeper/c.png")]
    monkeypatch.chdir(media)
    assert [f.name for f in find_inputs("?.png").files] == [Path("b.png")]
    save(media / "x[1].png")  # a file of that name comes before a pattern
    assert find_inputs("x[1].png").folder is None


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ("none.png", "none.png does not exist"),
        ("none*.png", "no file matches"),
        ("empty", "holds no image and no video"),
        ("", "the input has no name"),
        ("-", "standard input, which this version does not read"),
        ("0", "a camera, which this version does not read"),
        ("rtsp://host/stream", "a URL, which this version does not read"),
        ("https://host/a.mp4", "a URL, which this version does not read"),
        ("pipe", "a device or a pipe"),
    ],
)
def test_refusals_say_what_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=match) as caught:
        find_inputs(argument)
    assert "a folder of them" in str(caught.value)
    assert "\n" not in str(caught.value)


def plan(argument: Path | str, output: Path | None = None, data: Path | None = None) -> OutputPlan:
    return plan_outputs(find_inputs(str(argument)), "edges", output, data)


def test_default_names(media: Path) -> None:
    assert plan(media / "b.png").output == media / "b.edges.png"
    assert plan(media / "clip.mp4").output == media / "clip.edges.mp4"
    (media / "clip.mp4").rename(media / "clip.ts")
    save(media / "d.png").rename(media / "d.ppm")
    assert plan(media / "clip.ts").output == media / "clip.ts.edges.mp4"
    assert plan(media / "d.ppm").output == media / "d.ppm.edges.png"
    many = plan(media)
    assert many.output == media.with_name("media.edges")
    assert [i.output.relative_to(many.output).as_posix() for i in many.items] == [
        *("a.jpg", "b.png", "clip.ts.mp4", "d.ppm.png")
    ]
    deep = plan(f"{media}/**/*.png")
    assert deep.folders == (many.output, many.output / "deeper")
    assert not many.output.exists()


def test_output_may_be_a_folder(media: Path, tmp_path: Path) -> None:
    assert plan(media / "b.png", tmp_path).output == tmp_path / "b.edges.png"
    assert plan(media, tmp_path / "new").output == tmp_path / "new"


def test_data_names(media: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert plan(media / "b.png", data=tmp_path / "x.npz").items[0].data == tmp_path / "x.npz"
    assert plan(media / "b.png", data=data).items[0].data == data / "b.npz"
    assert plan(media / "clip.mp4", data=data).items[0].data == data
    assert plan(media / "clip.mp4", data=tmp_path / "x.npz").items[0].data == tmp_path / "x.npz"
    assert [i.data for i in plan(media, data=data).items] == [
        *(data / "a.jpg.npz", data / "b.png.npz", data / "clip.mp4")
    ]


@pytest.mark.parametrize(
    ("argument", "output", "data", "match"),
    [
        ("b.png", "b.png", None, "is an input"),
        ("b.png", "link.png", None, "is an input"),
        ("clip.mp4", "out.png", None, r"must end with one of \.mp4"),
        ("b.png", "out.mp4", None, r"must end with one of \.png"),
        ("b.png", "none/out.png", None, "none does not exist"),
        ("b.png", "notes.txt/out.png", None, "cannot be written"),
        (".", "out.mp4", None, "has many; name a folder"),
        (".", ".", None, "is an input"),
        (".", "notes.txt", None, "is a file"),
        (".", None, "x.npz", "has many; name a folder"),
        ("clip.mp4", None, "deeper", "is not empty"),
        ("clip.mp4", None, "notes.txt", "is a file"),
        ("b.png", None, "none/x.npz", "none does not exist"),
    ],
)
def test_bad_outputs(
    media: Path,
    monkeypatch: pytest.MonkeyPatch,
    argument: str,
    output: str | None,
    data: str | None,
    match: str,
) -> None:
    monkeypatch.chdir(media)
    (media / "link.png").symlink_to(media / "b.png")
    before = sorted(media.rglob("*"))
    with pytest.raises(InputError, match=match):
        plan(argument, output and Path(output), data and Path(data))
    assert sorted(media.rglob("*")) == before


def test_many_files_are_planned_quickly(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    for index in range(2000):
        (folder / f"{index}.png").touch()
    (tmp_path / "out").mkdir()
    inputs = find_inputs(str(folder))
    start = time.process_time()
    assert len(plan_outputs(inputs, "edges", tmp_path / "out").items) == 2000
    assert time.process_time() - start < 2
    (tmp_path / "out" / "7.png").symlink_to(folder / "1999.png")
    with pytest.raises(InputError, match=r"7\.png is an input"):
        plan_outputs(inputs, "edges", tmp_path / "out")


def test_a_task_with_a_slash_cannot_be(media: Path) -> None:
    with pytest.raises(InputError, match="no slashes"):
        plan_outputs(find_inputs(str(media)), "../edges")


def test_two_inputs_with_one_output_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.ppm").touch()  # cannot be written as it is, so .png is appended
    (folder / "a.ppm.png").touch()
    with pytest.raises(InputError, match=r"both be written to .*a\.ppm\.png; rename one"):
        plan(folder)
