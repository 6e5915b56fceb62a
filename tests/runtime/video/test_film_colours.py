"""Colours of films: tone-mapping, matrices, and pixels that nothing is painted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.runtime.hdr import HLG, PQ, tone_map
from lavin_deploy.runtime.media.views import compose
from lavin_deploy.runtime.video.reader import VideoReader
from lavin_deploy.runtime.video.writer import VideoWriter
from tests.helpers import hdr
from tests.helpers.films import copy, read
from tests.helpers.videos import picture

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("transfer", "code"), [(PQ, hdr.pq), (HLG, hdr.hlg)])
def test_tone_mapping(transfer: int, code: Any) -> None:
    lights = [0, 0.5, 2, 10, 40, 80, 120, 203, 400, 700, 1000]
    codes = np.array([round(65535 * code(light)) if light else 0 for light in lights], np.uint16)
    grey = tone_map(codes[None, :, None].repeat(3, axis=2), transfer)[0].astype(int)
    assert np.ptp(grey, axis=1).max() == 0
    levels = grey[:, 0]
    assert (np.diff(levels[:9]) > 0).all()
    assert (np.diff(levels[8:]) >= 0).all()
    dark = [255 * (light / 203) ** (1 / 2.4) for light in lights[:6]]  # unchanged below the knee
    np.testing.assert_allclose(levels[:6], dark, atol=1)
    assert levels[-1] == 255
    assert 200 < levels[7] < 245  # white leaves room for what is brighter
    red = tone_map(np.array([[[codes[7], codes[4], codes[4]]]]), transfer)[0, 0]
    assert red[0] > 200 > red[1]


def write_hdr(path: Path, transfer: int, code: Any) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries = 1, 9, 9
        context.color_trc = transfer
        for i in range(4):
            frame = av.VideoFrame(64, 48, "yuv420p10le")
            for plane in frame.planes:
                row = np.full(plane.line_size // 2, 512, np.uint16)
                if plane.width == 64:
                    row[:32], row[32:] = 64, round(64 + 876 * code(203))
                plane.update(np.tile(row, plane.height).tobytes())
            frame.colorspace, frame.color_primaries = 9, 9
            frame.color_trc, frame.color_range, frame.pts = transfer, 1, i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("transfer", "code"), [(PQ, hdr.pq), (HLG, hdr.hlg)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_an_hdr_film_becomes_bt709_and_says_so(
    tmp_path: Path, transfer: int, code: Any, suffix: str
) -> None:
    source = write_hdr(tmp_path / "a.mp4", transfer, code)
    frames, notices = read(source)
    assert len(notices) == 1
    assert "HDR" in notices[0]
    assert frames[0].image[24, 10].max() <= 1
    white = frames[0].image[24, 50].astype(int)
    assert np.ptp(white) <= 1
    assert 200 < white[0] < 245
    assert copy(source, tmp_path / f"out{suffix}") == notices
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        answer = next(container.decode(video=0))
    assert (answer.colorspace, answer.color_primaries, answer.color_trc) == (1, 1, 1)
    second, none = read(tmp_path / f"out{suffix}")
    assert none == []
    assert np.abs(second[0].image.astype(int) - frames[0].image)[:, 36:].mean() <= 1.5


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("limits", [1, 2])
@pytest.mark.parametrize("transfer", [1, 2, 13, 16, 18])
@pytest.mark.parametrize("pixels", ["yuv444p", "yuv420p", "yuv422p10le"])
def test_unpainted_pixels_keep_their_colours(
    tmp_path: Path, matrix: int, limits: int, transfer: int, pixels: str
) -> None:
    """An overlay on the right half leaves the left one: exactly in RGB, to a level in the file."""
    generator = np.random.default_rng(matrix)
    patches = generator.integers(16, 240, (3, 4, 3), dtype=np.uint8).repeat(32, 0).repeat(32, 1)
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, pixels
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_trc = matrix, limits, transfer
        scaler = {4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 1: 1}[matrix]
        frame = av.VideoFrame.from_ndarray(patches, format="rgb24")
        frame = frame.reformat(
            format=pixels, dst_colorspace=scaler, dst_color_range=limits, interpolation=FINE
        )
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (first,), _ = read(source)
    if transfer in (1, 2, 13):
        assert cores(first.image.astype(int) - patches).mean() <= 1
    answer = np.zeros_like(first.image)
    answer[:, 64:] = 255
    shown = []
    with VideoReader(source) as reader:
        writer = VideoWriter.like(tmp_path / "out.mkv", reader.info, 128, 96)
        writer._codec = "ffv1"
        with writer:
            for each in reader:
                shown.append(compose("overlay", each.image, answer))
                writer.write(replace(each, image=shown[-1]))
    assert (shown[0][:, :64] == first.image[:, :64]).all()
    assert np.abs(shown[0][:, 64:].astype(int) - first.image[:, 64:]).mean() > 20
    (second,), notices = read(tmp_path / "out.mkv")
    assert notices == []
    assert cores(second.image.astype(int) - shown[0]).mean() <= 1


FINE = 4 | 0x40000 | 0x2000 | 0x4000
"""libswscale's SWS_BICUBIC | ACCURATE_RND | FULL_CHR_H_INT | FULL_CHR_H_INP."""


def cores(difference: Any) -> Any:
    """Absolute differences inside the patches: 4:2:0 blurs their edges."""
    return np.abs(difference).reshape(3, 32, 4, 32, 3)[:, 8:24, :, 8:24]


def test_bt2020_primaries_without_a_matrix_and_unknown_matrices(tmp_path: Path) -> None:
    for tags, matrix, count in (((2, 9), 9, 0), ((8, 1), 6, 1), ((12, 9), 9, 1)):
        path = tmp_path / f"{tags[0]}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            context = stream.codec_context
            context.colorspace, context.color_primaries = tags
            frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.colorspace, frame.color_primaries, frame.pts = *tags, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with VideoReader(path) as reader:
            assert reader.info.colors.matrix == matrix
            assert sum("colour matrix" in n for n in reader.notices) == count


def constant_luminance(rgb: Any) -> Any:
    """ITU-R BT.2020-2, table 4: R'G'B' in [0, 1] to Y'C, C'BC and C'RC, in Python's floats."""

    def linear(signal: float) -> float:
        return signal / 4.5 if signal < 0.08145 else ((signal + 0.0993) / 1.0993) ** (1 / 0.45)

    def coded(light: float) -> float:
        return 4.5 * light if light < 0.0181 else 1.0993 * light**0.45 - 0.0993

    r, g, b = (float(part) for part in rgb)
    luma = coded(0.2627 * linear(r) + 0.6780 * linear(g) + 0.0593 * linear(b))
    blue = (b - luma) / (1.9404 if b <= luma else 1.5816)
    red = (r - luma) / (1.7184 if r <= luma else 0.9936)
    return luma, blue, red


@pytest.mark.parametrize("limits", [1, 2])
@pytest.mark.parametrize("depth", [10, 12])
def test_constant_luminance_is_read_by_its_own_equations(
    tmp_path: Path, limits: int, depth: int
) -> None:
    patches = np.random.default_rng(3).uniform(0, 1, (3, 4, 3))
    codes = np.empty((3, 3, 4))
    for place in np.ndindex(3, 4):
        luma, blue, red = constant_luminance(patches[place])
        scale = 2 ** (depth - 8)
        if limits == 1:
            codes[(slice(None), *place)] = (
                scale * (16 + 219 * luma), scale * (128 + 224 * blue), scale * (128 + 224 * red)
            )  # fmt: skip
        else:
            top, middle = 2**depth - 1, 2 ** (depth - 1)
            codes[(slice(None), *place)] = top * luma, middle + top * blue, middle + top * red
    form = f"yuv444p{depth}le"
    values = np.rint(codes).clip(0, 2**depth - 1).astype(np.uint16).repeat(16, 1).repeat(16, 2)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, form
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_range = 10, 9, limits
        frame = av.VideoFrame(64, 48, form)
        for plane, content in zip(frame.planes, values, strict=True):
            rows = np.zeros((48, plane.line_size // 2), np.uint16)
            rows[:, :64] = content
            plane.update(rows.tobytes())
        frame.colorspace, frame.color_primaries, frame.color_range, frame.pts = 10, 9, limits, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (first,), notices = read(tmp_path / "a.mkv")
    assert notices == []
    middles = first.image[8::16, 8::16]
    assert np.abs(middles - 255 * patches).max() <= 1.5
    copy(tmp_path / "a.mkv", tmp_path / "out.mkv", "ffv1")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert next(container.decode(video=0)).colorspace == 9
    again = read(tmp_path / "out.mkv")[0][0].image[8::16, 8::16]
    assert np.abs(again.astype(int) - middles).mean() <= 1


def test_ictcp_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p10le"
        stream.codec_context.colorspace = 14
        frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24").reformat(
            format="yuv444p10le"
        )
        frame.colorspace, frame.pts = 14, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="ICtCp"):
        read(tmp_path / "a.mkv")
