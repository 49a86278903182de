"""Guided upsampling against float64: sizes, layouts, what it must reproduce exactly; every element written."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.guided_upsample import guided_upsample, reference
from tests.kernels.buffers import TYPES, Guarded, arranged, normal, random

SIZES = [((1, 1), (1, 1)), ((1, 3), (5, 4)), ((7, 5), (15, 23)), ((6, 5), (6, 5)), ((13, 11), (33, 47))]
"""of the gain and of the photo: one pixel, a row, odd, the same, several blocks and many"""


@pytest.mark.parametrize(
    ("small", "full", "dtype", "layout", "radius"),
    [(*sizes, torch.float32, "nchw", 1) for sizes in SIZES]
    + [(*SIZES[2], kind, layout, 1) for kind, layout in zip(TYPES, ("nchw", "nhwc", "slice"), strict=True)]
    + [(*SIZES[2], torch.float32, "nchw", 2)]
    + [((2, 3), (5, 4), torch.float32, "nchw", 3)],  # every window is the whole gain
)
def test_gain_follows_the_reference(
    small: tuple[int, int],
    full: tuple[int, int],
    dtype: torch.dtype,
    layout: str,
    radius: int,
    device: torch.device,
) -> None:
    gain, guide = normal((2, 3, *small), device, 0), random((2, 3, *small), device, 1)
    photo = arranged(random((2, 3, *full), device, 2), layout, dtype)
    out = Guarded((2, 3, *full), device)
    guided_upsample(out.tensor, gain, guide, photo, torch.tensor([1e-3], device=device), radius)
    expected = reference(gain, guide, photo, radius, 1e-3).cpu()
    # slopes reach about 10 here: they magnify the rounding of means and positions
    torch.testing.assert_close(out.written(), expected, rtol=2e-5, atol=2e-5)


def test_a_constant_gain_stays_constant(device: torch.device) -> None:
    gain = torch.full((1, 3, 6, 8), 0.7, device=device)
    guide, photo = random((1, 3, 6, 8), device, 0), random((1, 3, 20, 30), device, 1)
    out = torch.empty_like(photo)
    guided_upsample(out, gain, guide, photo, torch.tensor([1e-4], device=device), 2)
    torch.testing.assert_close(out, torch.full_like(out, 0.7), rtol=0, atol=1e-5)


def test_a_gain_linear_in_the_guide_follows_the_photo(device: torch.device) -> None:
    weights = torch.tensor([0.2126, 0.7152, 0.0722], device=device)[:, None, None]
    guide, photo = random((1, 3, 10, 10), device, 0), random((1, 3, 25, 25), device, 1)
    gain = (3 * (guide * weights).sum(dim=1, keepdim=True) + 1).expand(1, 3, 10, 10).contiguous()
    out = torch.empty_like(photo)
    guided_upsample(out, gain, guide, photo, torch.tensor([1e-9], device=device), 2)
    expected = 3 * (photo * weights).sum(dim=1, keepdim=True) + 1
    torch.testing.assert_close(out, expected.expand_as(out), rtol=1e-4, atol=1e-4)


def test_a_flat_guide_leaves_smooth_bilinear_enlargement(device: torch.device) -> None:
    gain, guide = normal((1, 3, 7, 9), device, 0), torch.full((1, 3, 7, 9), 0.5, device=device)
    photo, out = torch.full((1, 3, 21, 18), 0.5, device=device), torch.empty(1, 3, 21, 18, device=device)
    guided_upsample(out, gain, guide, photo, torch.tensor([1e-4], device=device), 1)
    smooth = gain
    for _ in range(2):
        smooth = F.avg_pool2d(smooth, 3, stride=1, padding=1, count_include_pad=False)
    expected = F.interpolate(smooth, (21, 18), mode="bilinear", align_corners=False)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_a_wrong_call_says_what_is_wrong(device: torch.device) -> None:
    gain, photo, eps = normal((1, 3, 4, 4), device, 0), random((1, 3, 8, 8), device, 1), torch.ones(1, device=device)
    with pytest.raises(KernelError, match="radius 0 is out of range"):
        guided_upsample(photo, gain, gain, photo, eps, 0)
    with pytest.raises(KernelError, match=r"guide has shape \(1, 3, 8, 8\), not \(1, 3, 4, 4\)"):
        guided_upsample(photo, gain, photo, photo, eps, 1)
