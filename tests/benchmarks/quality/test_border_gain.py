"""The classic baseline: exact on a flat shadow, harmless on impossible masks."""

import numpy as np
import pytest

from shadowdiffusion.benchmarks.quality.border_gain import border_gain
from shadowdiffusion.runtime.gain.illumination import to_encoded, to_linear


def _scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    clean = np.full((96, 128, 3), (180, 160, 140), np.uint8)
    mask = np.zeros((96, 128), bool)
    mask[30:70, 40:90] = True
    light = to_linear(clean.astype(np.float32) / np.float32(255))
    light[mask] *= np.array([0.2, 0.25, 0.35], np.float32)
    return np.round(to_encoded(light) * 255).astype(np.uint8), clean, mask


def test_flat_shadow_is_removed_with_its_colour() -> None:
    shadowed, clean, mask = _scene()
    corrected = border_gain(shadowed, mask)
    inside = np.zeros_like(mask)
    inside[42:58, 52:78] = True  # away from the softened border
    assert np.abs(corrected[inside].astype(int) - clean[inside]).max() <= 2
    far = np.zeros_like(mask)
    far[:10] = True
    assert np.array_equal(corrected[far], clean[far])


@pytest.mark.parametrize("value", [False, True])
def test_masks_without_a_border_change_nothing(value: bool) -> None:
    shadowed, _, mask = _scene()
    assert np.array_equal(border_gain(shadowed, np.full_like(mask, value)), shadowed)


def test_thin_shadow_and_narrow_rest() -> None:
    shadowed, _, mask = _scene()
    thin = np.zeros_like(mask)
    thin[48, 40:90] = True
    assert border_gain(shadowed, thin).shape == shadowed.shape
    assert border_gain(shadowed, ~thin).shape == shadowed.shape
