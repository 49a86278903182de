"""The figures of a comparison, and the tolerances they are held to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from export.errors import ExportError
from export.verify import GRAPH_DB, LOOP_DB, MATTE_DB, MOST_DB, Violation, difference, psnr, snr, verification, worse
from runtime.bundle.folder import Difference


def test_figures_of_a_known_error() -> None:
    reference = np.full((1, 3, 4, 4), 0.5, np.float32)
    result = reference.copy()
    result[0, 0, 0, 0] += 0.25
    found = difference(result, reference)
    assert found.max_abs == 0.25
    assert found.relative_l2 == pytest.approx(0.25 / math.sqrt(48 * 0.25), rel=2e-3)
    assert found.psnr == pytest.approx(10 * math.log10(48 / 0.0625), abs=0.01)
    assert psnr(result, reference) == found.psnr
    assert snr(result, reference) == pytest.approx(10 * math.log10(48 * 0.25 / 0.0625), abs=0.02)


def test_the_peak_is_that_of_an_untrained_network() -> None:
    reference = np.full((1, 3, 4, 4), 100, np.float32)
    assert difference(reference + 1, reference).psnr == pytest.approx(40)


def test_ends_of_the_scale() -> None:
    zeros, ones = np.zeros((1, 1, 2, 2), np.float32), np.ones((1, 1, 2, 2), np.float32)
    assert difference(ones, ones) == Difference(0.0, 0.0, MOST_DB)
    assert difference(zeros, zeros) == Difference(0.0, 0.0, MOST_DB)
    assert math.isfinite(difference(ones, zeros).relative_l2)
    for value in (math.nan, math.inf):
        with pytest.raises(ExportError, match="not finite"):
            difference(np.full_like(ones, value), ones)
    with pytest.raises(ExportError, match="shape"):
        difference(ones[..., :1], ones)


def test_the_worst_is_kept_figure_by_figure() -> None:
    one, other = Difference(0.1, 0.02, 50.0), Difference(0.2, 0.01, 45.0)
    assert worse(None, one) == one
    assert worse(one, other) == worse(other, one) == Difference(0.2, 0.02, 45.0)


FINE = Difference(1e-6, 1e-6, 120.0)


@pytest.mark.parametrize(
    ("key", "found", "missing"),
    [
        ("prior.clean", Difference(0.1, 1.1e-4, 150.0), 20 * math.log10(1.1)),
        ("denoiser.noise", Difference(0.1, 0.9e-4, 10.0), None),
        ("prior.matte", Difference(0.1, 2e-3, 150.0), 55 + 20 * math.log10(2e-3)),
        ("prior.matte", Difference(0.1, 1e-3, 150.0), None),
        ("step 3", Difference(0.1, 0.5, 59.0), 1.0),
        ("loop", Difference(0.1, 0.5, 59.9), 0.1),
        ("blind loop", Difference(0.1, 0.5, 60.0), None),
        ("golden", Difference(0.1, 0.5, 51.0), None),
        ("golden", Difference(0.1, 0.5, 49.0), 1.0),
    ],
)
def test_tolerances_of_float32(key: str, found: Difference, missing: float | None) -> None:
    assert (GRAPH_DB, MATTE_DB, LOOP_DB) == (80.0, 55.0, 60.0)
    report, violation = verification("PyTorch", ["a"], {"denoiser.shadow": FINE, key: found})
    assert report.passed == (missing is None) == (violation is None)
    if violation is not None:
        assert violation.missing == pytest.approx(missing, abs=0.01)
        assert violation.text.startswith(f"{key} agrees with ")


def test_lower_precision_is_held_to_its_gate_over_the_loops() -> None:
    found = {
        "denoiser.noise": Difference(0.1, 0.1, 20.0), "step 1": Difference(0.1, 0.1, 20.0),
        "loop": Difference(0.1, 0.1, 45.0), "blind loop": Difference(0.1, 0.1, 42.0),
    }  # fmt: skip
    assert verification("portable ONNX", [], found, gate=40.0)[0].passed
    report, violation = verification("portable ONNX", [], found, gate=50.0)
    assert not report.passed
    assert violation == Violation(8.0, "blind loop agrees with portable ONNX to 42.0 dB only, 50 dB are needed")
