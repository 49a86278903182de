from __future__ import annotations

import numpy as np
import pytest

from shadowdiffusion.runtime.gain.illumination import log_gain, to_encoded, to_linear


def test_srgb_curves_invert_each_other_and_match_known_values() -> None:
    values = np.linspace(0, 1, 65536, dtype=np.float32)
    assert np.abs(to_encoded(to_linear(values)) - values).max() < 2e-6
    known = np.array([0.0, 0.04045, 0.5, 1.0], np.float32)
    assert np.allclose(to_linear(known), [0, 0.0031308, 0.2140411, 1], atol=1e-6)


def test_black_has_a_finite_gain() -> None:
    black, white = np.zeros((1, 1, 3), np.float32), np.ones((1, 1, 3), np.float32)
    assert np.exp(log_gain(black, white)).max() == pytest.approx(128, rel=1e-5)
    assert np.exp(log_gain(white, black)).min() == pytest.approx(1 / 16, rel=1e-5)
