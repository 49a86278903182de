"""The mask that the prior finds: sizes, the limit itself and values that are no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shadowdiffusion.kernels.confident_mask import BLOCK, confident_mask, reference
from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.runtime.loop import prior_update
from tests.kernels.buffers import SHAPES, Guarded, random


@pytest.mark.parametrize("shape", SHAPES)
def test_mask_is_that_of_the_runtime(shape: tuple[int, int, int], device: torch.device) -> None:
    images, height, width = shape
    assert max(height * width for _, height, width in SHAPES) > BLOCK
    matte = random((images, 1, height, width), device, 0)
    threshold = matte[0, 0, 0, 0][None].clone()  # the limit itself counts as shadow
    mask = Guarded((images, 1, height, width), device)
    assert confident_mask(mask.tensor, matte, threshold) is mask.tensor
    expected = prior_update.confident_mask(matte.cpu().numpy(), float(threshold))
    np.testing.assert_array_equal(mask.written().float().numpy(), expected)
    assert torch.equal(mask.tensor, reference(matte, threshold))
    assert mask.tensor[0, 0, 0, 0] == 1


def test_what_is_no_number_is_not_shadow(device: torch.device) -> None:
    matte = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.75], device=device).view(1, 1, 2, 2)
    mask = Guarded((1, 1, 2, 2), device)
    for limit in (0.75, float("nan")):
        confident_mask(mask.tensor, matte, torch.tensor([limit], device=device))
        with np.errstate(invalid="ignore"):
            expected = prior_update.confident_mask(matte.cpu().numpy(), limit)
        np.testing.assert_array_equal(mask.written().float().numpy(), expected)
        assert mask.tensor.flatten().tolist() == ([0, 1, 0, 1] if limit == 0.75 else [0, 0, 0, 0])


def test_a_wrong_call_says_what_is_wrong(device: torch.device) -> None:
    matte, threshold = random((1, 1, 4, 6), device, 0), torch.tensor([0.75], device=device)
    with pytest.raises(KernelError, match=r"matte has shape \(1, 3, 4, 6\), not \(1, 1, 4, 6\)"):
        confident_mask(matte, matte.repeat(1, 3, 1, 1), threshold)
    with pytest.raises(KernelError, match=r"mask is torch\.float16"):
        confident_mask(matte.half(), matte, threshold)
    with pytest.raises(KernelError, match=r"matte has strides .*: it must be contiguous"):
        confident_mask(matte[..., :3].contiguous(), matte[..., ::2], threshold)
    with pytest.raises(KernelError, match=r"threshold is torch\.float64"):
        confident_mask(matte, matte, threshold.double())
