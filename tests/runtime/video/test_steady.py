"""The light of a video is steady where the scene is, and follows what moves."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shadowdiffusion.runtime.photo import read_photo, unit_floats
from shadowdiffusion.runtime.video.steady import MEMORY, SteadyGain, shift_between

PHOTO = Path(__file__).parents[3] / "docs" / "example" / "shadow.jpg"


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """Float32 [160, 200, 3] of a real photo with room around it."""
    return unit_floats(read_photo(PHOTO).pixels)[::2, ::2]


def noisy(frame: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.01, frame.shape)
    return (frame + noise).clip(0, 1).astype(np.float32)


def gains(count: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    """What single frames get: 0.5 and something else every time."""
    rng = np.random.default_rng(1)
    return [(0.5 + rng.normal(0, 0.1, shape)).astype(np.float32) for _ in range(count)]


def test_a_still_scene_averages_over_its_frames(scene: np.ndarray) -> None:
    steady, frame = SteadyGain(), scene[:120, :100]
    results = [steady(noisy(frame, number), gain) for number, gain in enumerate(gains(40, frame.shape))]
    flicker = [float(np.abs(after - before).mean()) for before, after in pairwise(results[20:])]
    alone = gains(40, frame.shape)
    before = np.mean([np.abs(second - first).mean() for first, second in pairwise(alone[20:])])
    assert np.mean(flicker) < 0.25 * before
    assert abs(float(results[-1].mean()) - 0.5) < 0.01


def test_the_first_frame_and_one_after_a_cut_are_left_alone(scene: np.ndarray) -> None:
    steady, (first, second) = SteadyGain(), gains(2, (120, 100, 3))
    assert steady(scene[:120, :100], first) is first
    np.testing.assert_array_equal(steady(1 - scene[:120, :100], second), second)


def test_what_moves_takes_its_gain_along_at_once(scene: np.ndarray) -> None:
    """A dark square on a still scene jumps; where it was and where it is now, nothing of the past may remain."""
    steady, frame = SteadyGain(), scene[:120, :100]
    pictures, lights = [], []
    for left in (10, 60):
        picture, light = frame.copy(), np.zeros_like(frame)
        picture[40:80, left : left + 30] *= 0.2
        light[40:80, left : left + 30] = 1.5
        pictures.append(picture)
        lights.append(light)
    for _ in range(10):
        steady(pictures[0], lights[0])
    result = steady(pictures[1], lights[1])
    assert np.abs(result[45:75, 65:85] - 1.5).max() < 0.05
    assert np.abs(result[45:75, 15:35]).max() < 0.05


def test_the_past_follows_the_camera(scene: np.ndarray) -> None:
    """The gain belongs to the scene: with the camera moving, a fixed pattern of it stays as it is."""
    pattern = np.random.default_rng(3).normal(0, 0.3, scene.shape).astype(np.float32)
    steady, last = SteadyGain(), pattern
    for step in range(12):
        view = np.s_[2 * step : 2 * step + 140, 3 * step : 3 * step + 120]
        last = steady(noisy(scene[view], step), pattern[view])
    truth = pattern[22:162, 33:153]
    assert np.abs(last - truth).mean() < 0.02


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -5), (-7, 0), (1, 12)])
def test_the_shift_of_the_camera_is_found_through_noise(scene: np.ndarray, down: int, right: int) -> None:
    before, after = scene[20:160, 20:140], scene[20 - down : 160 - down, 20 - right : 140 - right]
    assert shift_between(noisy(before, 1), noisy(after, 2)) == (down, right)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3)])
def test_tiny_frames(size: tuple[int, int]) -> None:
    steady, frame = SteadyGain(), np.full((*size, 3), 0.5, np.float32)
    steady(frame, np.zeros_like(frame))
    np.testing.assert_allclose(steady(frame, np.ones_like(frame)), 1 - MEMORY, atol=1e-6)
