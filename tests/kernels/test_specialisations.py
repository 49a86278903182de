"""Kernels compile for sizes of one pixel and groups of one channel, which Triton makes constants."""

from __future__ import annotations

import json

import pytest

from tests.compiled_kernels import compiling

NEVER_CONSTANT = {
    "guided_apply_kernel": {"height", "width", "small_height", "small_width", "photo_image"},
    "partial_statistics_kernel": {"length"},
    "merge_statistics_kernel": {"length"},
}
"""Integers that are declared to stay variables, or are never 1: a multiple of a block, or of three channels."""


@pytest.mark.xdist_group("compiled")
def test_every_kernel_compiles_where_any_integer_is_1() -> None:
    found = json.loads(compiling("-m", "tests.kernels.specialise"))
    assert {name.removesuffix("_kernel") for name in found} == {
        *("start_state", "prior_step", "prior_coefficients", "confident_mask", "confident_depth", "mask_update"),
        *("partial_statistics", "merge_statistics", "normalise", "window_fit", "window_mean", "guided_apply"),
    }
    for name, kernel in found.items():
        assert {*kernel["integers"]} - {*kernel["ones"]} == NEVER_CONSTANT.get(name, set()), name
