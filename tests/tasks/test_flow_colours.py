from __future__ import annotations

import colorsys

import numpy as np
import pytest

from lavin_deploy.tasks.flow_colours import end_point_error, paint_flow, read_flow

pytestmark = pytest.mark.unit


def random_flow(largest: float) -> np.ndarray:
    """Every direction and every speed up to the largest: (40, 50, 2) float32."""
    rng = np.random.default_rng(0)
    angle, speed = rng.uniform(0, 2 * np.pi, (40, 50)), largest * rng.random((40, 50))
    return np.stack([speed * np.cos(angle), speed * np.sin(angle)], axis=-1).astype(np.float32)


@pytest.mark.parametrize("largest", [0.5, 8.0])
def test_what_is_painted_is_read_back(largest: float) -> None:
    flow = random_flow(largest)
    read = read_flow(paint_flow(flow, largest), largest)
    assert np.linalg.norm(read - flow, axis=-1).max() < 0.015 * largest
    assert 0 < end_point_error(read, flow) < 0.005 * largest
    assert end_point_error(flow, flow) == 0


def test_a_painting_is_hsv_with_full_saturation() -> None:
    flow = random_flow(3.0)
    image = paint_flow(flow, 3.0)
    for row, column in ((0, 0), (7, 30), (39, 49), (20, 11)):
        x, y = flow[row, column]
        hue, value = np.arctan2(y, x) / (2 * np.pi) % 1, np.hypot(x, y) / 3
        expected = 255 * np.array(colorsys.hsv_to_rgb(hue, 1, value))
        assert np.abs(image[row, column] - expected).max() < 0.51


def test_directions_stillness_and_speeds_beyond_the_largest() -> None:
    flow = np.array([[[2, 0], [0, 0], [40, 0], [-2, 0]]], np.float32)
    image = paint_flow(flow, 2.0)
    assert image.tolist() == [[[255, 0, 0], [0, 0, 0], [255, 0, 0], [0, 255, 255]]]
    assert read_flow(image, 2.0) == pytest.approx(np.clip(flow, -2, 2), abs=1e-6)


def test_pale_colours_count_by_their_hue_and_grey_stands_still() -> None:
    pale = np.array([[[255, 128, 128], [90, 90, 90]]], np.uint8)
    assert read_flow(pale, 4.0) == pytest.approx(np.array([[[4, 0], [0, 0]]]), abs=1e-6)


def test_the_end_point_error_of_a_shift() -> None:
    flow = random_flow(2.0)
    assert end_point_error(flow + np.array([3, 4], np.float32), flow) == pytest.approx(5, abs=1e-6)
