from __future__ import annotations

import numpy as np
import pytest

from lavin_deploy.errors import InputError
from lavin_deploy.names import VIEWS
from lavin_deploy.runtime.media.views import OVERLAY_STRENGTH, compose, view_size

pytestmark = pytest.mark.unit

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_overlay_of_black_is_the_input() -> None:
    assert (compose("overlay", IMAGE, np.zeros_like(IMAGE)) == IMAGE).all()


def test_overlay_of_full_brightness_blends_by_the_strength() -> None:
    answer = np.zeros_like(IMAGE)
    answer[..., 1] = 255
    expected = IMAGE * (1 - OVERLAY_STRENGTH) + answer * OVERLAY_STRENGTH
    assert np.abs(compose("overlay", IMAGE, answer) - expected).max() < 2


def test_overlay_stays_between_input_and_answer() -> None:
    answer = np.random.default_rng(1).integers(0, 256, IMAGE.shape, dtype=np.uint8)
    mixed = compose("overlay", IMAGE, answer)
    assert (mixed >= np.minimum(IMAGE, answer)).all()
    assert (mixed <= np.maximum(IMAGE, answer)).all()


def test_target_and_side_by_side() -> None:
    answer = 255 - IMAGE
    assert (compose("target", IMAGE, answer) == answer).all()
    both = compose("side-by-side", IMAGE, answer)
    assert (both[:, :8] == IMAGE).all()
    assert (both[:, 8:] == answer).all()


@pytest.mark.parametrize("view", VIEWS)
def test_sizes_are_foretold(view: str) -> None:
    width, height = view_size(view, 8, 6)
    assert compose(view, IMAGE, IMAGE).shape == (height, width, 3)


def test_refusals() -> None:
    with pytest.raises(InputError, match="Did you mean 'overlay'"):
        compose("overlai", IMAGE, IMAGE)
    with pytest.raises(InputError, match="the answer is"):
        compose("overlay", IMAGE, IMAGE[:3])
