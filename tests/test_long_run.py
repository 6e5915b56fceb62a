"""``checkpoints/long-run`` reads the pairs of ``examples/pairs``, in torch and through a bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lavin_deploy.arrays import U8
from lavin_deploy.evaluation.metrics import iou, mask_from_colours, psnr
from lavin_deploy.runtime.create_task import read_pairs
from lavin_deploy.runtime.media.images import read_image
from lavin_deploy.runtime.video.reader import VideoReader
from lavin_deploy.tasks.pairs import find_pairs
from lavin_deploy.tasks.samples import Pairs
from lavin_deploy.training.families.held_out_filters import duotone
from lavin_deploy.training.torch_answers import TorchAnswers

ROOT = Path(__file__).parent.parent
CHECKPOINT = ROOT / "checkpoints" / "long-run"
SAMPLE = ROOT / "examples" / "sample.mp4"
BLOSSOM = ROOT / "examples" / "material" / "photos" / "blossom.jpg"
PAINT, BLACK = (255, 60, 60), (0, 0, 0)
LATER = (63, 81, 99)
"""Frames by which the bowl has moved far enough; the pair is frame 9."""


def shown(task: str) -> Pairs:
    return [(given, wanted) for _, given, wanted in read_pairs(find_pairs(pairs_of(task)))]


def pairs_of(task: str) -> Path:
    return ROOT / "examples" / "pairs" / task


def frames(path: Path) -> list[U8]:
    with VideoReader(path) as video:
        return [frame.image for frame in video]


def bowl(frame: U8) -> np.ndarray:
    """The bowl of the sample video: the hull of what is red, (H, W) bool."""
    red, green, blue = (frame[..., channel].astype(int) for channel in range(3))
    seen = ((red > 120) & (red > 2 * green) & (red > 2 * blue)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.erode(seen, np.ones((3, 3))))
    largest = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    hull = cv2.convexHull(np.argwhere(largest)[:, ::-1].astype(np.int32))
    filled = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillConvexPoly(filled, hull, 1)
    return filled > 0


def painted(answer: U8) -> np.ndarray:
    return mask_from_colours(answer, PAINT, BLACK)


def check_bowl(queries: list[U8], answers: list[U8]) -> None:
    copied = painted(shown("bowl")[0][1])
    for query, answer in zip(queries, answers, strict=True):
        truth = bowl(query)
        assert iou(painted(answer), truth) > 0.75
        stays = cv2.resize(copied.astype(np.uint8), truth.shape[::-1]) > 0
        assert iou(painted(answer), truth) > iou(stays, truth) + 0.2


def check_duotone(query: U8, answer: U8) -> None:
    wanted = duotone(query)
    assert psnr(answer, wanted) > psnr(query, wanted) + 4


def test_a_painted_bowl_is_found_in_later_frames() -> None:
    queries = [frames(SAMPLE)[number] for number in LATER]
    model = TorchAnswers(CHECKPOINT)
    check_bowl(queries, [model(shown("bowl"), query) for query in queries])


def test_four_pairs_show_a_filter() -> None:
    query = read_image(BLOSSOM)
    check_duotone(query, TorchAnswers(CHECKPOINT)(shown("duotone"), query))


@pytest.mark.soak
def test_the_commands_of_the_readme(tmp_path: Path) -> None:
    bundle = str(tmp_path / "pairs.lavin")

    def command(name: str, *words: object) -> str:
        line = [str(Path(sys.executable).with_name(f"lavin-{name}")), *map(str, words)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    size = ("--size", "128x128", "--pairs", 1, "--pairs", 4)
    command("export", "--ckpt", CHECKPOINT, *size, "--out", bundle)
    command("task", "create", "bowl", "--pairs", pairs_of("bowl"), "--bundle", bundle)
    four = ("--num-pairs", 4, "--view", "target", "--bundle", bundle)
    made = command("task", "create", "duotone", "--pairs", pairs_of("duotone"), *four)
    assert "4 pairs stored, 4 used" in made
    out = tmp_path / "bowl.mp4"
    command("run", "--bundle", bundle, "--task", "bowl", "--view", "target", SAMPLE, "-o", out)
    queries, answers = frames(SAMPLE), frames(out)
    check_bowl([queries[number] for number in LATER], [answers[number] for number in LATER])
    picture = tmp_path / "blossom.png"
    command("run", "--bundle", bundle, "--task", "duotone", BLOSSOM, "-o", picture)
    check_duotone(read_image(BLOSSOM), read_image(picture))
