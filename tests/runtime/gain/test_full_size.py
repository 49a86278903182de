from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shadowdiffusion.runtime.gain import brightening as full_size
from shadowdiffusion.runtime.gain.brightening import brighten
from shadowdiffusion.runtime.gain.illumination import log_gain, to_encoded, to_linear
from shadowdiffusion.runtime.gain.resizing import enlarged, reduced
from tests.runtime.tiny import picture


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_no_gain_changes_no_pixel(dtype: Any) -> None:
    photo = picture(70, 50, dtype)
    out = brighten(photo, reduced(photo, 7), np.zeros((7, 5, 3), np.float32))
    assert out.dtype == dtype
    assert np.allclose(out, photo, atol=0 if dtype != np.float32 else 1e-6)


def test_at_equal_size_the_gain_reproduces_the_restored_image() -> None:
    degraded, restored = picture(40, 50, np.float32), picture(40, 50, np.float32, seed=1)
    assert np.abs(brighten(degraded, degraded, log_gain(degraded, restored)) - restored).max() < 1e-5


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
def test_strength_is_a_factor_of_the_log_gain(dtype: Any) -> None:
    photo = picture(40, 50, dtype)
    small, gain = reduced(photo, 10), np.full((8, 10, 3), -1.0, np.float32)
    none = brighten(photo, small, gain, 0)
    assert np.array_equal(none, photo)
    assert none is not photo
    assert np.array_equal(brighten(photo, small, gain, 0.25), brighten(photo, small, np.float32(0.25) * gain))


def test_strips_and_threads_agree_with_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = picture(90, 70)
    gain = np.random.default_rng(0).normal(0, 0.5, (9, 7, 3)).astype(np.float32)
    whole = brighten(photo, reduced(photo, 9), gain)
    for pixels in (1, 70, 1000):
        monkeypatch.setattr(full_size, "STRIP", pixels)
        assert np.array_equal(brighten(photo, reduced(photo, 9), gain), whole)


def test_what_goes_wrong_in_a_strip_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(light: Any) -> Any:
        raise MemoryError("no strip")

    monkeypatch.setattr(full_size, "to_encoded", fail)
    photo = picture(9, 9)
    with pytest.raises(MemoryError, match="no strip"):
        brighten(photo, reduced(photo, 9), np.zeros((9, 9, 3), np.float32))


def in_deep_shadow(noise: float, height: int = 240, width: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """(photo, truth) uint8: a grey gradient at a thirtieth of its light, with noise of so many 8-bit levels."""
    columns = np.linspace(0.3, 0.8, width, dtype=np.float32)
    truth = np.broadcast_to(columns[None, :, None], (height, width, 3))
    grain = np.random.default_rng(0).normal(0, noise, truth.shape)
    photo = np.rint(255 * to_encoded(to_linear(truth) / np.float32(30)) + grain).clip(0, 255)
    return photo.astype(np.uint8), np.rint(255 * truth).astype(np.uint8)


def colour_noise(image: np.ndarray) -> float:
    """Standard deviation of red minus green and blue minus green, in 8-bit levels."""
    red, green, blue = np.moveaxis(image.astype(np.float32), 2, 0)
    return float(np.std([red - green, blue - green]))


@pytest.mark.parametrize("noise", [0.0, 1.0, 2.0])
def test_noise_in_deep_shadow_does_not_become_coloured(noise: float) -> None:
    photo, truth = in_deep_shadow(noise)
    small = reduced(photo, 40)
    gain = log_gain(small, reduced(truth, 40))
    light = to_linear(reduced(photo, 320)) * np.exp(enlarged(gain, 240, 320))
    bilinear = np.rint(255 * to_encoded(light.clip(0, 1)))
    ours = brighten(photo, small, gain)
    assert colour_noise(ours) <= 0.5 * colour_noise(bilinear)
    assert np.abs(ours.astype(float).mean(axis=(0, 1)) - truth.mean(axis=(0, 1))).max() < 4


def test_colour_stays_where_nothing_is_amplified() -> None:
    photo = picture(120, 160)
    darker = np.full((12, 16, 3), -0.7, np.float32)
    light = to_linear(reduced(photo, 160)) + 1e-4
    expected = np.rint(255 * to_encoded((light * np.exp(np.float32(-0.7)) - 1e-4).clip(0, 1).astype(np.float32)))
    assert np.abs(brighten(photo, reduced(photo, 16), darker) - expected).max() <= 1


def test_clipped_highlights_stay_white_in_a_coloured_shadow() -> None:
    photo = np.full((120, 160, 3), (40, 44, 52), np.uint8)
    photo[40:60, 50:70] = 255
    photo[100, 100] = 255
    truth = np.full_like(photo, 200)
    truth[40:60, 50:70] = 255
    truth[100, 100] = 255
    small = reduced(photo, 20)
    out = brighten(photo, small, log_gain(small, reduced(truth, 20)))
    assert (out[photo.min(axis=2) == 255] == 255).all()


def test_black_stays_dark() -> None:
    photo = np.array([0, 1, 254, 255], np.uint8).reshape(1, 4, 1).repeat(3, 2)
    out = brighten(photo, reduced(photo, 4), np.full((1, 4, 3), np.log(4), np.float32))
    assert out[0, :, 0].tolist()[2:] == [255, 255]
    assert out[0, 0, 0] < 2
