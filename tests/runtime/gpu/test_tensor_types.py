"""Arrays as an engine takes them, against the conversions of ml_dtypes and NumPy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.gpu.tensor_types import encoded

SPECIAL = [0.0, -0.0, 1.0, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, 1 + 2**-8, 1 + 3 * 2**-8, 65504.0, 65520.0]


def values() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Random bit patterns of every exponent, ties, and the ends of the ranges."""
    bits = np.random.default_rng(1).integers(0, 2**32, 20_000, np.uint32)
    ties = bits & np.uint32(0xFFFF0000) | np.uint32(0x8000)
    drawn = np.concatenate([bits, ties]).view(np.float32)
    return np.concatenate([np.array(SPECIAL, np.float32), drawn[~np.isnan(drawn)]])


def test_bfloat16_is_rounded_to_nearest_even() -> None:
    found = encoded(values(), "BF16")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values().astype(ml_dtypes.bfloat16).view(np.uint16))


@pytest.mark.filterwarnings("ignore:overflow")
def test_half_and_single_are_those_of_numpy() -> None:
    np.testing.assert_array_equal(encoded(values(), "HALF"), values().astype(np.float16))
    np.testing.assert_array_equal(encoded(values(), "FLOAT"), values())


@pytest.mark.parametrize("kind", ["FLOAT", "HALF", "BF16"])
def test_what_is_no_number_stays_none(kind: str) -> None:
    nans = np.array([0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0x7FFFFFFF], np.uint32).view(np.float32)
    found = encoded(nans, kind)
    assert np.isnan(found.view(ml_dtypes.bfloat16) if kind == "BF16" else found).all()


def test_the_result_is_contiguous_and_unknown_types_are_refused() -> None:
    turned = np.zeros((2, 3, 4, 5), np.float32).transpose(0, 2, 3, 1)
    assert all(encoded(turned, kind).flags.c_contiguous for kind in ("FLOAT", "HALF", "BF16"))
    with pytest.raises(BundleError, match="values of type FP4, which this runtime does not know"):
        encoded(turned, "FP4")
