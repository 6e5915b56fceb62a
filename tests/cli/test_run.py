"""``lavin-run`` as a whole, on real files, with the tiny bundle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from lavin_deploy.cli.run import run
from lavin_deploy.runtime.media.images import read_image, write_image
from tests.helpers.videos import damage_sound, picture, probe, write_sound, write_video

pytestmark = pytest.mark.cli

Run = Callable[..., Result]


@pytest.fixture
def lavin_run(tiny_bundle: Path) -> Run:
    def call(*words: str | Path, task: str = "segmentation") -> Result:
        options = ["--task", task, "--bundle", str(tiny_bundle), "--steps", "1"]
        return CliRunner().invoke(run, [*map(str, words), *options])

    return call


def load(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        return dict(arrays)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("h264.mp4", {"audio": "aac"}),
        ("mpeg4.avi", {"codec": "mpeg4"}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
        ("odd.mp4", {"size": (65, 47), "pixels": "yuv444p"}),
        ("one.mp4", {"frames": 1}),
        ("grey.mkv", {"codec": "ffv1", "pixels": "gray"}),
        ("uneven.mkv", {"times": [0, 1, 5, 6, 20, 21, 22, 23, 24, 90]}),
    ],
)
def test_video(tmp_path: Path, lavin_run: Run, name: str, settings: dict[str, Any]) -> None:
    source = write_video(tmp_path / name, **settings)
    result = lavin_run(source, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    before, after = probe(source), probe(Path(report["output"]))
    assert report["output"] == str(source.with_suffix(f".segmentation{source.suffix}"))
    assert report["frames"] == after.frames == before.frames
    assert (report["width"], report["height"]) == after.size == before.size
    if source.suffix != ".avi":  # PyAV alone gives AVI's decoding times
        np.testing.assert_allclose(after.times, before.times, atol=0.0005)
    assert after.audio == before.audio


def test_portrait(tmp_path: Path, lavin_run: Run) -> None:
    source = write_video(tmp_path / "a.mp4", 3, rotation=90)
    assert lavin_run(source, "-o", tmp_path / "out.mp4").exit_code == 0
    assert probe(tmp_path / "out.mp4").size == (48, 64)


def test_report(tmp_path: Path, lavin_run: Run) -> None:
    source = write_video(tmp_path / "a.mp4", 3)
    report = json.loads(lavin_run(source, "--seed", "5", "--json").stdout)
    assert set(report) >= {
        *("output", "frames", "width", "height", "seconds", "frames_per_second", "backend"),
        *("precision", "steps", "seed", "pairs", "stages"),
    }
    assert (report["backend"], report["steps"], report["seed"]) == ("onnxruntime", 1, 5)
    stages = report["stages"]
    assert {"read", "encode", "sample", "decode", "draw", "write"} <= set(stages)
    assert 0 < sum(stages.values()) <= 1000 * report["seconds"] / 3 * 1.01
    done = lavin_run(source)
    assert done.stderr.startswith("backend auto: onnxruntime ")
    assert done.stderr.count("\n") == 1
    assert not lavin_run(source, "--backend", "onnxruntime").stderr
    line = done.stdout
    assert line.startswith(f"{tmp_path / 'a.segmentation.mp4'}: 3 frame(s) 64x48 in ")
    assert line.count("\n") == 1


def test_image_views_and_data(tmp_path: Path, lavin_run: Run) -> None:
    source = tmp_path / "a.png"
    write_image(source, picture(3, 50, 30))
    results = {}
    for view in ("target", "side-by-side", "overlay"):
        out = tmp_path / f"{view}.png"
        done = lavin_run(source, "-o", out, "--view", view, "--data", tmp_path / "a.npz")
        assert done.exit_code == 0, done.stderr
        results[view] = read_image(out)
    image, target = read_image(source), results["target"]
    assert target.shape == results["overlay"].shape == image.shape
    assert (results["side-by-side"] == np.concatenate([image, target], axis=1)).all()
    data = load(tmp_path / "a.npz")
    h, w, _ = data["target"].shape
    assert data["target"].dtype == np.uint8
    assert data["latents"].shape == (1, 16, 1, h // 8, w // 8)
    assert data["latents"].dtype == np.float32


def test_same_seed_same_answer(tmp_path: Path, lavin_run: Run) -> None:
    source = tmp_path / "a.png"
    write_image(source, picture(3, 50, 30))
    latents = []
    for i, seed in enumerate(("1", "1", "2")):
        lavin_run(source, "--seed", seed, "--data", tmp_path / f"{i}.npz")
        latents.append(load(tmp_path / f"{i}.npz")["latents"])
    assert (latents[0] == latents[1]).all()


def test_video_data_is_one_file_a_frame(tmp_path: Path, lavin_run: Run) -> None:
    source = write_video(tmp_path / "a.mp4", 4)
    assert lavin_run(source, "-o", tmp_path / "b.mp4", "--data", tmp_path / "d").exit_code == 0
    assert names(tmp_path / "d") == [f"{i:06d}.npz" for i in range(4)]
    times = [float(load(tmp_path / "d" / f"{i:06d}.npz")["time"]) for i in range(4)]
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.12])


def test_video_data_again_and_in_one_file(tmp_path: Path, lavin_run: Run) -> None:
    long, short = write_video(tmp_path / "a.mp4", 4), write_video(tmp_path / "b.mp4", 3)
    folder, file = tmp_path / "d", tmp_path / "d.npz"
    for source in (long, short):
        assert lavin_run(source, "--data", folder).exit_code == 0
        assert lavin_run(source, "--data", file).exit_code == 0
    assert names(folder) == [f"{i:06d}.npz" for i in range(3)]
    whole = load(file)
    assert len(whole) == 9
    for index in range(3):
        for name, array in load(folder / f"{index:06d}.npz").items():
            np.testing.assert_array_equal(whole[f"{name}_{index:06d}"], array)
    (folder / "notes.txt").write_text("mine")
    done = lavin_run(short, "--data", folder)
    assert done.exit_code == 2
    assert "not empty" in done.stderr
    assert len(names(folder)) == 4


def test_folder_and_pattern(tmp_path: Path, lavin_run: Run) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for i in range(3):
        write_image(media / f"{i}.png", picture(i, 40, 30 + i))
    write_video(media / "clip.mp4", 2)
    (media / "notes.txt").write_text("")
    done = lavin_run(media, "--data", tmp_path / "data")
    assert done.exit_code == 0, done.stderr
    assert "1 file(s) left out" in done.stderr
    assert names(tmp_path / "media.segmentation") == ["0.png", "1.png", "2.png", "clip.mp4"]
    assert read_image(tmp_path / "media.segmentation" / "2.png").shape == (32, 40, 3)
    assert names(tmp_path / "data") == [
        *("0.png.npz", "1.png.npz", "2.png.npz", "clip.mp4"),
        *("clip.mp4/000000.npz", "clip.mp4/000001.npz"),
    ]
    assert lavin_run(f"{media}/[01].png", "-o", tmp_path / "some").exit_code == 0
    assert names(tmp_path / "some") == ["0.png", "1.png"]


def test_what_is_changed_of_a_film_is_said_once_also_at_its_end(
    tmp_path: Path, lavin_run: Run
) -> None:
    source = damage_sound(write_sound(tmp_path / "a.mkv", "flac"))
    done = lavin_run(source, "-o", tmp_path / "out.mov")
    assert done.exit_code == 0, done.stderr
    assert probe(tmp_path / "out.mov").frames == 15
    for sentence in (
        "audio track 1 (flac) is encoded anew as aac: mov cannot hold flac.",
        "a part of audio track 1 (flac) is left out: 2 packets are damaged.",
    ):
        assert done.stderr.count(sentence) == 1, done.stderr


def test_failures_are_one_sentence_and_leave_nothing(tmp_path: Path, lavin_run: Run) -> None:
    whole = write_video(tmp_path / "whole.mp4", 20, size=(128, 96), muxer={"movflags": "faststart"})
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-800])
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    before = names(tmp_path)
    cases: list[tuple[list[str | Path], str]] = [
        ([tmp_path / "cut.mp4"], "a part of it is missing"),
        ([tmp_path / "text.mp4"], "cannot be read as a video"),
        ([tmp_path / "none.mp4"], "does not exist"),
        ([tmp_path / "folder"], "holds no image and no video"),
        ([whole, "-o", tmp_path / "none" / "a.mp4"], "none does not exist"),
        ([whole, "-o", whole], "is an input"),
        ([whole, "-o", tmp_path / "a.xyz"], "must end with one of"),
        ([whole, "--pairs", "99"], "99"),
        (["rtsp://host/stream"], "this version does not read"),
        ([whole, "--view", "nope"], "nope"),
        ([whole, "--precision", "nope"], "nope"),
        ([whole, "--backend", "tensorrt"], "use the back end 'onnxruntime'"),
        ([tmp_path / "empty.mp4"], "cannot be read as a video"),
        ([whole, "--guidance", "nan"], "guidance is nan"),
        ([whole, "--seed", str(2**64)], "seed is 18446744073709551616"),
    ]
    for words, text in cases:
        done = lavin_run(*words)
        assert (done.exit_code, done.stdout) == (2, ""), (words, done.stderr)
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1, done.stderr
        assert text in done.stderr
        assert names(tmp_path) == before, words


def test_unknown_task_and_missing_bundle(tmp_path: Path, lavin_run: Run) -> None:
    source = write_video(tmp_path / "a.mp4", 2)
    done = lavin_run(source, task="segmentatoin")
    assert done.exit_code == 2
    assert "Did you mean 'segmentation'" in done.stderr
    assert done.stderr.count("\n") == 1
    words = [str(source), "--task", "segmentation", "--bundle", str(tmp_path / "none.lavin")]
    done = CliRunner().invoke(run, words)
    assert done.exit_code == 2
    assert "none.lavin" in done.stderr
    assert names(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "kill"]
)
def test_interrupted_it_leaves_no_file(
    tmp_path: Path, tiny_bundle: Path, number: signal.Signals, code: int
) -> None:
    source = write_video(tmp_path / "a.mp4", 1400, size=(64, 48))
    # A shell's background job is born deaf to Ctrl-C; the program is to hear it there too.
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{hear}; from lavin_deploy.cli.run import run; run()"
    words = [str(source), "--task", "segmentation", "--bundle", str(tiny_bundle)]
    with subprocess.Popen(
        [sys.executable, "-c", program, *words], stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while (
            not list(tmp_path.glob(".lavin-*.tmp/new/a.segmentation.mp4"))
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        assert list(tmp_path.glob(".lavin-*.tmp")), "it has not begun to write"
        time.sleep(0.3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert names(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
def test_an_animation_is_answered_frame_by_frame(
    tmp_path: Path, lavin_run: Run, suffix: str
) -> None:
    durations = [100, 40, 330]
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green", "blue")]
    source = tmp_path / f"a{suffix}"
    frames[0].save(
        source, save_all=True, append_images=frames[1:], duration=durations, lossless=True, loop=2
    )
    result = lavin_run(source, "--json", "--view", "side-by-side")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["frames"] == 3
    with Image.open(tmp_path / f"a.segmentation{suffix}") as made, Image.open(source) as first:
        assert made.size == (80, 30)
        assert made.info["loop"] == first.info["loop"] == 2
        for index, duration in enumerate(durations):
            made.seek(index)
            first.seek(index)
            left = np.asarray(made.convert("RGB"))[:, :40].astype(int)
            assert made.info["duration"] == duration
            assert np.abs(left - np.asarray(first.convert("RGB"))).max() <= 2
    result = lavin_run(source, "-o", tmp_path / "b.mp4", "--data", tmp_path / "tensors")
    assert result.exit_code == 0, result.stderr
    video = probe(tmp_path / "b.mp4")
    assert video.size == (40, 30)
    assert video.times == pytest.approx([0, 0.1, 0.14])
    assert names(tmp_path / "tensors") == ["000000.npz", "000001.npz", "000002.npz"]
    assert lavin_run(source, "-o", tmp_path / "c.jpg").exit_code == 2


def test_notices_of_pictures_come_once(tmp_path: Path, lavin_run: Run) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-2])
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green")]
    frames[0].save(tmp_path / "b.png", save_all=True, append_images=frames[1:], icc_profile=b"junk")
    for name, sentence in (("a.jpg", "lacks its end marker"), ("b.png", "profile is of no use")):
        result = lavin_run(tmp_path / name)
        assert result.exit_code == 0, result.stderr
        assert result.stderr.count(sentence) == 1
