from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lavin_deploy.evaluation import metrics
from lavin_deploy.tasks.painting import paint, share_from_colours
from tests.helpers.toy_bundle import flat

pytestmark = pytest.mark.unit

RED, BLUE = (200, 10, 10), (10, 10, 200)


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((20, 20), bool)
    mask[top:bottom, left:right] = True
    return mask


def random_pictures(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 256, (24, 31, 3)).astype(np.uint8)
    noise = rng.normal(0, 20, truth.shape)
    return np.clip(truth + noise, 0, 255).astype(np.uint8), truth


def test_what_is_painted_is_read_back_within_half_a_grey_level() -> None:
    share = np.linspace(0, 1, 400).reshape(20, 20)
    read = share_from_colours(paint(share, RED, BLUE), RED, BLUE)
    assert np.abs(read - share).max() < 0.5 / 190 + 1e-6
    beyond = share_from_colours(flat(2, 2, 255, 0, 0), RED, BLUE)
    assert (beyond == 1).all()


def test_a_mask_is_the_nearer_colour() -> None:
    share = np.linspace(0, 1, 400).reshape(20, 20)
    mask = metrics.mask_from_colours(paint(share, RED, BLUE), RED, BLUE)
    clear = np.abs(share - 0.5) > 0.005
    assert (mask == (share > 0.5))[clear].all()
    assert not metrics.mask_from_colours(flat(2, 2, 105, 10, 105), RED, BLUE).any()  # a tie


def test_overlap_of_rectangles() -> None:
    first, second = rectangle(0, 0, 10, 10), rectangle(0, 5, 10, 15)
    assert metrics.iou(first, second) == pytest.approx(50 / 150)
    assert metrics.dice(first, second) == pytest.approx(100 / 200)
    empty = np.zeros((20, 20), bool)
    assert metrics.iou(empty, empty) == metrics.dice(empty, empty) == 1
    assert metrics.iou(first, empty) == metrics.dice(first, empty) == 0


def test_outline_of_a_rectangle() -> None:
    mask = rectangle(5, 5, 11, 12)
    assert metrics.outline(mask).sum() == 2 * 6 + 2 * 7 - 4
    assert not metrics.outline(np.ones((20, 20), bool)).any()


def test_boundary_f_forgives_up_to_the_tolerance() -> None:
    truth, near, far = (rectangle(0, c, 20, c + 1) for c in (5, 7, 8))
    assert metrics.boundary_f(near, truth, 2) == 1
    assert metrics.boundary_f(far, truth, 2) == 0
    assert metrics.boundary_f(truth | far, truth, 2) == pytest.approx(2 * 0.5 / 1.5)
    empty = np.zeros((20, 20), bool)
    assert metrics.boundary_f(empty, empty, 2) == 1
    assert metrics.boundary_f(truth, empty, 2) == metrics.boundary_f(empty, truth, 2) == 0


def test_the_tolerance_is_euclidean() -> None:
    one, diagonal = rectangle(5, 5, 6, 6), rectangle(6, 6, 7, 7)
    assert metrics.boundary_f(one, diagonal, 1.4) == 0
    assert metrics.boundary_f(one, diagonal, 1.5) == 1


def test_psnr_of_a_constant_error() -> None:
    answer, truth = flat(8, 8, 110, 110, 110), flat(8, 8, 100, 100, 100)
    assert metrics.psnr(answer, truth) == pytest.approx(20 * math.log10(255 / 10))
    assert metrics.psnr(truth, truth) == metrics.PSNR_LIMIT
    where = rectangle(0, 0, 1, 1)[:8, :8]
    answer[1:] = 0
    assert metrics.psnr(answer, truth, where) == pytest.approx(20 * math.log10(255 / 10))


def test_psnr_and_ssim_equal_scikit_image() -> None:
    answer, truth = random_pictures()
    assert metrics.psnr(answer, truth) == pytest.approx(peak_signal_noise_ratio(truth, answer))
    expected = structural_similarity(truth, answer, channel_axis=2, data_range=255)
    assert metrics.mean_ssim(answer, truth) == pytest.approx(expected)
    assert metrics.mean_ssim(truth, truth) == pytest.approx(1)


def test_lab_equals_scikit_image() -> None:
    answer, truth = random_pictures()
    assert np.abs(metrics.lab(truth) - rgb2lab(truth)).max() < 0.02
    error = np.square(rgb2lab(answer)[..., 1:] - rgb2lab(truth)[..., 1:]).mean()
    assert metrics.ab_psnr(answer, truth) == pytest.approx(10 * math.log10(255**2 / error), 1e-4)


def test_ab_psnr_does_not_see_lightness() -> None:
    assert metrics.ab_psnr(flat(4, 4, 30, 30, 30), flat(4, 4, 200, 200, 200)) > 80
    assert metrics.colourfulness(flat(4, 4, 30, 30, 30)) == 0
    assert metrics.colourfulness(flat(4, 4, 255, 0, 0)) == pytest.approx(
        0.3 * math.hypot(255, 127.5)
    )


def test_scale_and_shift_do_not_count_but_polarity_does() -> None:
    truth = np.random.default_rng(1).random((9, 9), np.float32)
    fitted = metrics.scale_shift_fit(0.2 * truth + 0.3, truth)
    assert np.abs(fitted - truth).max() < 1e-6
    turned = metrics.scale_shift_fit(1 - truth, truth)
    assert turned == pytest.approx(np.full_like(truth, truth.mean()))
    constant = metrics.scale_shift_fit(np.full_like(truth, 0.4), truth)
    assert constant == pytest.approx(np.full_like(truth, truth.mean()))


def test_depth_errors_leave_out_what_is_far() -> None:
    truth = np.array([[0.0, 0.05, 0.5, 1.0]], np.float32)
    answer = np.array([[9.0, 9.0, 0.6, 0.7]], np.float32)
    assert metrics.abs_rel(answer, truth) == pytest.approx((0.2 + 0.3) / 2)
    assert metrics.delta1(answer, truth) == 0.5
    assert math.isnan(metrics.abs_rel(answer, np.zeros_like(truth)))
    assert math.isnan(metrics.delta1(answer, np.zeros_like(truth)))


def test_angle_between_normals() -> None:
    up, ahead, none = (
        flat(3, 3, 128, 255, 128),
        flat(3, 3, 128, 128, 255),
        flat(3, 3, 128, 128, 128),
    )
    assert metrics.mean_angle(up, ahead) == pytest.approx(90, abs=1)
    assert metrics.mean_angle(up, up) == pytest.approx(0, abs=0.1)
    assert math.isnan(metrics.mean_angle(up, none))


def test_contours_correlate_where_they_lie_alike_whatever_the_colours() -> None:
    truth = flat(32, 32, 200, 40, 40)
    truth[8:20, 10:24] = (20, 30, 90)
    assert metrics.contour_correlation(truth, truth) == pytest.approx(1)
    assert metrics.contour_correlation(255 - truth, truth) == pytest.approx(1)
    assert metrics.contour_correlation(np.roll(truth, 5, axis=1), truth) < 0.5
    assert metrics.contour_correlation(flat(32, 32, 9, 9, 9), truth) == 0
    assert np.isnan(metrics.contour_correlation(truth, flat(32, 32, 9, 9, 9)))
