"""The GStreamer element in real pipelines."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import lavin_deploy as lavin
from tests.conftest import GOLDEN
from tests.cpp.conftest import missing

pytestmark = pytest.mark.cli

TOY = GOLDEN / "toy.lavin"


@pytest.fixture(scope="module")
def plugins(cpp: Path) -> Path:
    folder = cpp / "gstreamer"
    if shutil.which("gst-launch-1.0") is None or not list(folder.glob("*.so")):
        missing("GStreamer is missing; scripts/cpp_packages.sh names the packages")
    return folder


def launch(plugins: Path, pipeline: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | {
        "GST_PLUGIN_PATH": str(plugins),
        "GST_REGISTRY": str(plugins / "registry.bin"),
    }
    words = ["gst-launch-1.0", "-q", *pipeline.split()]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.parametrize("width", [64, 101])  # of 101 pixels rows are padded
def test_answers_every_frame(plugins: Path, tmp_path: Path, width: int) -> None:
    source = f"videotestsrc num-buffers=3 ! video/x-raw,format=RGB,width={width},height=48"
    for name, filtered in (("in", ""), ("out", f"! lavinfilter bundle={TOY} task=brighten ")):
        done = launch(plugins, f"{source} {filtered}! filesink location={tmp_path / name}")
        assert done.returncode == 0, done.stderr
    stride = (3 * width + 3) // 4 * 4
    shape = (3, 48, stride)
    frames, answers = (
        np.frombuffer((tmp_path / name).read_bytes(), np.uint8).reshape(shape)[:, :, : 3 * width]
        for name in ("in", "out")
    )
    with lavin.load(TOY) as model:
        for frame, answer in zip(frames, answers, strict=True):
            mine = model.run("brighten", np.ascontiguousarray(frame).reshape(48, width, 3))
            np.testing.assert_array_equal(answer.reshape(48, width, 3), mine.image)


def test_tells_what_is_wrong(plugins: Path) -> None:
    source = "videotestsrc num-buffers=1 ! video/x-raw,format=RGB,width=64,height=48"
    done = launch(plugins, f"{source} ! lavinfilter bundle={TOY} task=brigten ! fakesink")
    assert done.returncode != 0
    assert "The bundle has no task 'brigten'" in done.stdout + done.stderr
    done = launch(plugins, f"{source} ! lavinfilter bundle=/none.lavin task=x ! fakesink")
    assert done.returncode != 0
    assert "there is no bundle at '/none.lavin'" in done.stdout + done.stderr


def test_takes_rgb_alone(plugins: Path) -> None:
    source = "videotestsrc num-buffers=1 ! video/x-raw,format=I420,width=64,height=48"
    done = launch(plugins, f"{source} ! lavinfilter bundle={TOY} task=brighten ! fakesink")
    assert done.returncode != 0
    converted = f"{source} ! videoconvert ! lavinfilter bundle={TOY} task=brighten steps=2 "
    assert launch(plugins, f"{converted} ! fakesink").returncode == 0


def test_frames_to_be_shown_turned_are_refused(plugins: Path) -> None:
    environment = dict(os.environ) | {
        "GST_PLUGIN_PATH": str(plugins),
        "GST_REGISTRY": str(plugins / "registry.bin"),
    }
    for orientation in ("rotate-0", "rotate-90", "flip-rotate-0"):
        command = [str(plugins / "gstlavin_test_tags"), str(TOY), "brighten", orientation]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=90)
        assert done.returncode == (orientation != "rotate-0"), done.stderr
        sentence = f"to be shown as {orientation}, and upright ones are answered; put videoflip"
        assert (sentence in done.stderr) == (orientation != "rotate-0")
