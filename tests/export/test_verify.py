"""The figures of a comparison, and the tolerances they are held to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.verify import MOST_DB, Violation, difference, psnr, snr, verification, worse
from shadowdiffusion.runtime.bundle.folder import Difference


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
        ("denoiser.noise 2", Difference(0.1, 1.1e-4, 150.0), 20 * math.log10(1.1)),
        ("denoiser.noise 2", Difference(0.1, 0.9e-4, 10.0), None),
        ("denoiser.mask 1", Difference(0.1, 1.0, 80.0), None),
        ("prior.clean", Difference(0.1, 1.0, 79.0), 1.0),
        ("prior.matte", Difference(0.1, 1.0, 54.0), 1.0),
        ("prior.matte", Difference(0.1, 1.0, 55.0), None),
        ("step 3", Difference(0.1, 0.5, 59.0), 1.0),
        ("loop", Difference(0.1, 0.5, 59.9), 0.1),
        ("blind loop", Difference(0.1, 0.5, 60.0), None),
        ("golden", Difference(0.1, 0.5, 51.0), None),
        ("golden", Difference(0.1, 0.5, 49.0), 1.0),
    ],
)
def test_tolerances_of_float32(key: str, found: Difference, missing: float | None) -> None:
    report, violation = verification("PyTorch", ["a"], {"denoiser.mask 3": FINE, key: found})
    assert report.passed == (missing is None) == (violation is None)
    if violation is not None:
        assert violation.missing == pytest.approx(missing, abs=0.01)
        assert violation.text.startswith(f"{key} agrees with ")


LOW = {
    "prior.clean": Difference(0.1, 0.1, 90.0),
    "prior.matte": Difference(0.1, 0.1, 60.0),
    "denoiser.noise 1": Difference(0.1, 0.05, 10.0),  # a signal-to-noise ratio of 26 dB
    "denoiser.mask 1": Difference(0.1, 0.1, 25.0),
    "step 1": Difference(0.1, 0.1, 20.0),
    "loop": Difference(0.1, 0.1, 45.0),
    "blind loop": Difference(0.1, 0.1, 42.0),
}


def test_the_loops_of_lower_precision_are_held_to_the_gate() -> None:
    assert verification("portable ONNX", [], LOW, "int8")[0].passed
    report, violation = verification("portable ONNX", [], LOW, "int8", gate=50.0)
    assert not report.passed
    assert violation == Violation(8.0, "blind loop agrees with portable ONNX to 42.0 dB only, 50 dB are needed")


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("denoiser.noise 1", Difference(0.1, 0.1, 200.0)),
        ("denoiser.mask 1", Difference(0.1, 0.0, 13.0)),
        ("prior.clean", Difference(0.1, 0.0, 50.0)),
        ("prior.matte", Difference(0.1, 0.0, 30.0)),
    ],
)
def test_a_good_photo_hides_no_output(output: str, found: Difference) -> None:
    """The prior update may tie the restored image to the prior so closely that the denoiser hardly counts."""
    report, violation = verification("portable ONNX", [], LOW | {output: found}, "int8", gate=10.0)
    assert not report.passed
    assert violation is not None
    assert violation.text.startswith(f"{output} agrees with portable ONNX to ")
