from __future__ import annotations

import numpy as np
import pytest

from shadowdiffusion.runtime.gain.illumination import FLOOR, log_gain, to_encoded, to_linear
from shadowdiffusion.runtime.gain.refinement import refined
from shadowdiffusion.runtime.gain.resizing import enlarged, reduced
from tests.runtime.tiny import picture

DEPTH = 0.2
"""Light in the shadow, of that beside it."""


def shadowed(height: int, width: int, blur: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(photo, truth, log gain), float32 [H, W, 3], of a slanted shadow `blur` pixels wide at its border."""
    truth = 0.5 + 0.5 * picture(height, width, np.float32, seed=3)
    truth[:, width // 2 :] = truth[:, : width - width // 2]  # without the dark half
    rows, columns = np.mgrid[:height, :width]
    distance = columns - 0.4 * width - 0.3 * rows
    inside = np.clip(distance / max(blur, 1) + 0.5, 0, 1)[..., None].astype(np.float32)
    light = to_linear(truth) * np.exp(inside * np.float32(np.log(DEPTH)))
    photo = to_encoded(light)
    return photo, truth, log_gain(photo, truth)


@pytest.mark.parametrize("factor", [3, 4, 8, 11])
@pytest.mark.parametrize("blur", [0, 6])
def test_the_gain_at_a_shadow_border_is_nearer_the_truth_than_a_bilinear_one(factor: int, blur: int) -> None:
    photo, truth, gain = shadowed(264, 352, blur)
    small = log_gain(reduced(photo, 352 // factor), reduced(truth, 352 // factor))
    errors = [enlarged(field, 264, 352) - gain for field in (small, refined(photo, small))]
    bilinear, ours = (np.sqrt(np.square(error).mean()) for error in errors)
    assert ours < 0.85 * bilinear


def test_the_fine_gain_reduced_again_is_the_one_that_was_given() -> None:
    photo, truth, _ = shadowed(240, 320, 3)
    small, target = reduced(photo, 40), reduced(truth, 40)
    gain = log_gain(small, target)

    def missed(fine: np.ndarray) -> float:
        light = (to_linear(photo) + FLOOR) * np.exp(enlarged(fine, 240, 320)) - FLOOR
        reached = log_gain(small, reduced(to_encoded(light.clip(0, 1)), 40))
        return float(np.sqrt(np.square(reached - gain).mean()))

    assert missed(refined(photo, gain)) < 0.25 * missed(gain)


def test_no_gain_lies_outside_its_neighbourhood() -> None:
    photo, truth, _ = shadowed(240, 320)
    gain = log_gain(reduced(photo, 40), reduced(truth, 40))
    fine = refined(photo, gain)
    assert fine.shape == (120, 160, 3)  # four times as fine
    assert fine.min() >= gain.min()
    assert fine.max() <= gain.max()


def test_where_nothing_changes_nothing_is_added() -> None:
    photo = picture(160, 240)
    assert not refined(photo, np.zeros((20, 30, 3), np.float32)).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 500), (90, 100)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_photo_is_taken(size: tuple[int, int], channels: int) -> None:
    photo = picture(*size, channels=channels)
    gain = np.random.default_rng(0).normal(0, 1, reduced(photo, 50).shape).astype(np.float32)
    fine = refined(photo, gain)
    assert np.isfinite(fine).all()
    if max(size) < 100:
        assert fine is gain
