"""Eq. 14 against float64 and against the reference sampler, and what the next evaluation sees."""

from __future__ import annotations

import pytest
import torch

from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.mask_update import (
    CONFIDENT,
    PARTS,
    confident_depth,
    mask_update,
    reference,
    reference_depth,
)
from shadowdiffusion.training import prior_update
from tests.kernels.buffers import SHAPES, Guarded, number, random


def table_of(rho: float, seen: float, device: torch.device) -> torch.Tensor:
    table = torch.full((3, 8), 9.0, device=device)
    table[1, 5], table[1, 7] = rho, seen
    return table


def sums_of(h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What `confident_depth` returns, in a fraction of the time the interpreter takes."""
    sure = (mask >= 0.9).float()
    totals = torch.cat(((1 - h) * sure, sure), dim=1).sum(dim=(2, 3))
    sums = torch.zeros(len(h), 4, PARTS, device=h.device)
    sums[:, :, 5], sums[:, :, 100] = 0.25 * totals, 0.75 * totals
    return sums


@pytest.mark.parametrize("seen", [0.0, 1.0])
@pytest.mark.parametrize("closed_form", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_masks_follow_the_reference(
    shape: tuple[int, int, int], closed_form: bool, seen: float, device: torch.device
) -> None:
    images, height, width = shape
    h, mask = random((images, 3, height, width), device, 0), random((images, 1, height, width), device, 1)
    mask[0, 0, 0, 0] = 0.9  # exactly at the limit counts as shadow
    v = random(tuple(mask.shape), device, 2)
    refined, shown = Guarded(tuple(mask.shape), device), Guarded(tuple(mask.shape), device)
    given = (h, sums_of(h, mask)) if closed_form else None
    mask_update(refined.tensor, shown.tensor, v, mask, table_of(0.2, seen, device), number(1, device), given)
    expected = v.double().cpu()
    if closed_form:
        depth = reference_depth(h.double(), mask)
        rho = torch.tensor(0.2).double().to(device)  # as float32, like the table
        expected = reference(h.double(), v, depth, rho).cpu()
        whole = prior_update.mask_update(h.double(), v.double(), mask, float(rho))
        torch.testing.assert_close(expected, whole.cpu())
    torch.testing.assert_close(refined.written(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(shown.written(), refined.written() if seen else mask.double().cpu())


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 33, 47), (1, 270, 270)])
def test_depth_is_the_mean_over_confident_shadow(shape: tuple[int, int, int], device: torch.device) -> None:
    images, height, width = shape  # the largest has more blocks than partial sums
    h, mask = random((images, 3, height, width), device, 0), random((images, 1, height, width), device, 1)
    sums = confident_depth(h, mask).double().sum(dim=2)
    depth = sums[:, :3] / sums[:, 3:].clamp(min=1)
    torch.testing.assert_close(depth, reference_depth(h.double(), mask)[..., 0, 0], rtol=1e-6, atol=1e-7)
    assert torch.equal(sums[:, 3], (mask >= 0.9).sum(dim=(1, 2, 3)).double())
    assert CONFIDENT.value == prior_update.CONFIDENT


def test_without_confident_shadow_the_mask_is_the_networks(device: torch.device) -> None:
    h, mask = random((1, 3, 9, 9), device, 0), torch.full((1, 1, 9, 9), 0.89, device=device)
    v, refined = random((1, 1, 9, 9), device, 1), torch.empty(1, 1, 9, 9, device=device)
    given = (h, confident_depth(h, mask))
    mask_update(refined, torch.empty_like(refined), v, mask, table_of(0.3, 1, device), number(1, device), given)
    torch.testing.assert_close(refined, v, rtol=1e-6, atol=1e-7)


def test_with_a_large_rho_the_mask_is_the_networks(device: torch.device) -> None:
    h, mask, v = random((1, 3, 9, 9), device, 0), random((1, 1, 9, 9), device, 1), random((1, 1, 9, 9), device, 2)
    refined = torch.empty_like(v)
    given = (h, confident_depth(h, mask))
    mask_update(refined, torch.empty_like(v), v, mask, table_of(1e9, 1, device), number(1, device), given)
    torch.testing.assert_close(refined, v, rtol=1e-6, atol=1e-6)


def test_a_wrong_call_says_what_is_wrong(device: torch.device) -> None:
    mask, table, index = random((1, 1, 4, 6), device, 0), table_of(0.2, 1, device), number(1, device)
    with pytest.raises(KernelError, match=r"h has shape \(1, 1, 4, 6\), not \(1, 3, 4, 6\)"):
        confident_depth(mask, mask)
    with pytest.raises(KernelError, match=r"seen has shape \(4, 6\)"):
        mask_update(mask, mask[0, 0], mask, mask, table, index)
    h = random((1, 3, 4, 6), device, 1)
    with pytest.raises(KernelError, match=r"sums has shape \(1, 4, 7\)"):
        mask_update(mask, mask, mask, mask, table, index, (h, torch.empty(1, 4, 7, device=device)))
