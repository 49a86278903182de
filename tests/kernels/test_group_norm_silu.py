"""Group normalisation against float64: layouts, precisions, splits, large means; every element written."""

from __future__ import annotations

import pytest
import torch

from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.group_norm_silu import group_norm_silu, reference
from tests.kernels.buffers import TYPES, Guarded, normal

SHAPES = [(1, 4, 1, 2, 2), (2, 6, 1, 1, 2), (2, 12, 5, 7, 3), (1, 34, 4, 8, 1), (1, 4, 46, 50, 2)]
"""images, channels, height, width, groups: few values, one pixel, odd sizes, more channels or pixels than a tile has"""
TOLERANCE = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}  # bfloat16: the interpreter truncates


def laid_out(tensor: torch.Tensor, channels_last: bool) -> torch.Tensor:
    return tensor.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@pytest.mark.parametrize(
    ("case", "dtype", "use"),
    [(case, torch.float32, "both") for case in SHAPES]
    + [(SHAPES[2], dtype, use) for dtype in TYPES[1:] for use in ("plain", "both")]
    + [(SHAPES[2], torch.float32, use) for use in ("plain", "time", "residual", "norm only")],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_block_follows_the_reference(
    case: tuple[int, int, int, int, int], dtype: torch.dtype, channels_last: bool, use: str, device: torch.device
) -> None:
    *shape, groups = case
    images, channels, height, width = shape
    x, residual = (
        laid_out(normal((images, channels, height, width), device, i).to(dtype), channels_last) for i in (0, 1)
    )
    if height * width > 1 and channels_last and x.is_contiguous():
        pytest.skip("one layout is the other at this size")
    weight, bias, time = normal((channels,), device, 2), normal((channels,), device, 3), normal(x.shape[:2], device, 4)
    added = residual if use in ("residual", "both") else None
    embedding = time if use in ("time", "both") else None
    out = Guarded(tuple(x.shape), device, dtype, channels_last)
    summed = Guarded(tuple(x.shape), device, dtype, channels_last)
    group_norm_silu(
        out.tensor,
        x,
        weight,
        bias,
        torch.tensor([1e-5], device=device),
        groups,
        time=embedding,
        residual=added,
        summed=None if added is None else summed.tensor,
        silu=use != "norm only",
    )
    y, s = reference(x, weight, bias, groups, time=embedding, residual=added, silu=use != "norm only")
    torch.testing.assert_close(out.written(), y.cpu(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    if added is not None:
        torch.testing.assert_close(summed.written(), s.cpu(), rtol=TOLERANCE[dtype], atol=1e-6)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # in lanes beyond the plane, never stored
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_large_mean_does_not_swallow_the_variance(channels_last: bool, device: torch.device) -> None:
    # E[x^2] - E[x]^2 in float32 would leave no correct digit: 1000^2 needs 20 of its 24 bits
    x = laid_out(1000 + 0.25 * normal((1, 8, 30, 90), device, 0), channels_last)
    weight, bias, eps = torch.ones(8, device=device), torch.zeros(8, device=device), torch.tensor([1e-5], device=device)
    out = group_norm_silu(torch.empty_like(x), x, weight, bias, eps, 2)
    expected, _ = reference(x, weight, bias, 2)
    # the mean itself is known to 6e-5, a 4000th of the deviation
    torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_planes_longer_than_all_parts_are_covered(device: torch.device) -> None:
    x = normal((1, 1, 520, 512), device, 0)  # more than 128 blocks of 2048
    weight, bias, eps = torch.ones(1, device=device), torch.zeros(1, device=device), torch.tensor([1e-5], device=device)
    out = Guarded((1, 1, 520, 512), device)
    group_norm_silu(out.tensor, x, weight, bias, eps, 1)
    torch.testing.assert_close(out.written(), reference(x, weight, bias, 1)[0].cpu(), rtol=2e-6, atol=2e-6)


def test_the_input_may_be_overwritten(device: torch.device) -> None:
    x = normal((1, 8, 6, 5), device, 0)
    weight, bias, eps = normal((8,), device, 1), normal((8,), device, 2), torch.tensor([1e-5], device=device)
    apart = group_norm_silu(torch.empty_like(x), x, weight, bias, eps, 4)
    assert torch.equal(group_norm_silu(x, x, weight, bias, eps, 4), apart)


def test_a_wrong_call_says_what_is_wrong(device: torch.device) -> None:
    x, weight, eps = normal((1, 8, 6, 5), device, 0), torch.ones(8, device=device), torch.tensor([1e-5], device=device)
    with pytest.raises(KernelError, match="3 groups of 8 channels"):
        group_norm_silu(x, x, weight, weight, eps, 3)
    with pytest.raises(KernelError, match="out has strides"):
        group_norm_silu(x.to(memory_format=torch.channels_last), x, weight, weight, eps, 2)
    with pytest.raises(KernelError, match=r"residual is torch\.float16"):
        group_norm_silu(x, x, weight, weight, eps, 2, residual=x.half())
    with pytest.raises(KernelError, match=r"time has shape \(8,\)"):
        group_norm_silu(x, x, weight, weight, eps, 2, time=weight)
