"""Animated pictures: every frame with its time, in and out."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import Disposal

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.media import animations
from lavin_deploy.runtime.media.animations import AnimationReader, AnimationWriter
from lavin_deploy.runtime.video.reader import Frame
from tests.helpers import icc

pytestmark = pytest.mark.unit

DURATIONS = [100, 40, 330, 70]
COLOURS = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (90, 120, 30)]


def save(path: Path, durations: Any = DURATIONS, mode: str = "RGB", **options: Any) -> Path:
    frames = []
    for colour in COLOURS:
        frame = Image.new("RGBA", (24, 16), (*colour, 255))
        if mode == "RGBA":
            frame.paste((0, 0, 0, 0), (0, 0, 12, 16))
        frames.append(frame.convert(mode))
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=durations, **lossless, **options
    )
    return path


def times(path: Path) -> list[float]:
    """As Pillow reads them, in milliseconds."""
    with Image.open(path) as image:
        found = []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            found.append(image.info.get("duration", 0))
        return found


def frames_of(path: Path) -> list[Frame]:
    with AnimationReader(path) as reader:
        frames = list(reader)
        assert len(frames) == reader.info.frames
        assert not reader.notices
        assert {frame.image.shape for frame in frames} == {
            (reader.info.height, reader.info.width, 3)
        }
        return frames


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif", ".avif"])
def test_frames_and_times_are_read(tmp_path: Path, suffix: str) -> None:
    frames = frames_of(save(tmp_path / f"a{suffix}"))
    assert [1000 * frame.duration * frame.time_base for frame in frames] == DURATIONS
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.14, 0.47])
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert np.abs(frame.image.astype(int) - colour).max() <= (6 if suffix == ".avif" else 0)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
def test_transparent_parts_lie_on_white_in_every_frame(tmp_path: Path, suffix: str) -> None:
    disposal = {".gif": {"disposal": 2}, ".png": {"disposal": Disposal.OP_BACKGROUND}}
    path = save(tmp_path / f"a{suffix}", mode="RGBA", **disposal.get(suffix, {}))
    for frame, colour in zip(frames_of(path), COLOURS, strict=True):
        assert (frame.image[:, :12] == 255).all()
        assert (frame.image[:, 12:] == colour).all()


def test_a_profile_holds_for_every_frame_and_is_complained_of_once(tmp_path: Path) -> None:
    path = save(tmp_path / "a.webp", icc_profile=icc.rgb_profile("Display P3"))
    for frame, colour in zip(frames_of(path), COLOURS, strict=True):
        assert np.abs(frame.image - icc.in_srgb(np.uint8(colour), "Display P3")).max() <= 1.2
    with AnimationReader(save(tmp_path / "b.webp", icc_profile=b"junk")) as reader:
        assert len(list(reader)) == 4
    (notice,) = reader.notices
    assert "the profile is of no use" in notice


def test_the_picture_for_those_without_animations_is_no_frame(tmp_path: Path) -> None:
    first, *others = [Image.new("RGB", (8, 8), colour) for colour in COLOURS]
    first.save(
        tmp_path / "a.png", save_all=True, append_images=others, default_image=True, duration=50
    )
    assert [tuple(frame.image[0, 0]) for frame in frames_of(tmp_path / "a.png")] == COLOURS[1:]


def copied(source: Path, target: Path) -> Path:
    with AnimationReader(source) as reader:
        size = (reader.info.width, reader.info.height)
        with AnimationWriter(target, reader.info, size, reader.plays) as writer:
            for frame in reader:
                writer.write(frame)
    return target


@pytest.mark.parametrize("source", [".png", ".webp", ".gif"])
@pytest.mark.parametrize("target", [".png", ".apng", ".webp", ".gif"])
def test_what_is_written_is_what_was_read(tmp_path: Path, source: str, target: str) -> None:
    made = copied(save(tmp_path / f"a{source}"), tmp_path / f"b{target}")
    assert times(made) == DURATIONS
    for frame, colour in zip(frames_of(made), COLOURS, strict=True):
        assert (frame.image == colour).all()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"a{source}", f"b{target}"]


def test_fractions_of_a_millisecond_stay_in_png_and_do_not_add_up_elsewhere(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", [1000 / 30] * 4)
    assert times(copied(source, tmp_path / "b.png")) == pytest.approx([100 / 3] * 4)
    assert times(copied(source, tmp_path / "b.webp")) == [33, 34, 33, 33]
    assert times(copied(source, tmp_path / "b.gif")) == [30, 40, 30, 30]


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_frames_without_a_time_of_their_own(tmp_path: Path, suffix: str) -> None:
    source = save(tmp_path / f"a{suffix}", [0] * 4)
    assert [frame.time for frame in frames_of(source)] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert times(copied(source, tmp_path / f"b{suffix}")) == [0] * 4


@pytest.mark.parametrize(
    ("suffix", "options", "plays"),
    [
        (".gif", {}, 1),
        (".gif", {"loop": 0}, 0),
        (".gif", {"loop": 3}, 4),
        (".png", {"loop": 0}, 0),
        (".png", {"loop": 4}, 4),
        (".webp", {"loop": 0}, 0),
        (".webp", {"loop": 1}, 1),
    ],
)
def test_how_often_it_is_played_is_kept(
    tmp_path: Path, suffix: str, options: Any, plays: int
) -> None:
    source = save(tmp_path / f"a{suffix}", **options)
    copies = [copied(source, tmp_path / f"b{end}") for end in (".gif", ".png", ".webp")]
    for path in (source, *copies):
        with AnimationReader(path) as reader:
            assert reader.plays == plays


def test_many_colours_survive_in_gif_nearly(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    pixels = np.stack([4 * x, 4 * y, 2 * (x + y)], axis=2).astype(np.uint8)
    info = AnimationReader(save(tmp_path / "a.gif"))
    with info as reader, AnimationWriter(tmp_path / "b.gif", reader.info, (64, 64), 0) as writer:
        for index, image in enumerate((pixels, pixels[::-1])):
            writer.write(Frame(image=image, pts=index, duration=1, time_base=Fraction(1, 10)))
    first, second = frames_of(tmp_path / "b.gif")
    for frame, image in ((first, pixels), (second, pixels[::-1])):
        assert np.abs(frame.image.astype(int) - image).mean() < 8


def test_a_damaged_animation_is_a_sentence_and_leaves_no_file(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) - 60])
    with pytest.raises(InputError, match=r"a\.png cannot be read as a"):
        copied(tmp_path / "a.png", tmp_path / "b.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_errors_of_others_are_not_taken_for_the_pictures(tmp_path: Path) -> None:
    save(tmp_path / "a.gif")

    def fail() -> None:
        with AnimationReader(tmp_path / "a.gif") as reader:
            for _ in reader:
                raise OSError("no space")

    def warn() -> None:
        with AnimationReader(tmp_path / "a.gif") as reader:
            next(iter(reader))
            warnings.warn("of a model", stacklevel=1)

    with pytest.raises(OSError, match="no space"):
        fail()
    with pytest.warns(UserWarning, match="of a model"):
        warn()


def test_what_memory_cannot_hold_is_sent_to_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animations, "MAX_ANIMATION_PIXELS", 4 * 24 * 16 - 1)
    with pytest.raises(InputError, match=r"4 frames, 1536 pixels .* -o b\.mp4"):
        copied(save(tmp_path / "a.gif"), tmp_path / "b.gif")
