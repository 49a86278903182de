"""Illumination map and blend coefficients against float64 and against the runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.prior_coefficients import illumination_limits, prior_coefficients, reference
from shadowdiffusion.runtime.bundle.folder import Illumination
from shadowdiffusion.runtime.loop.prior_update import blend_coefficients, illumination
from tests.kernels.buffers import SHAPES, Guarded, number, random


def table_of(rho: float, device: torch.device) -> torch.Tensor:
    table = torch.full((3, 8), 9.0, device=device)
    table[1, 5] = rho
    return table


@pytest.mark.parametrize("shape", SHAPES)
def test_maps_follow_the_reference(shape: tuple[int, int, int], device: torch.device) -> None:
    images, height, width = shape
    full = (images, 3, height, width)
    y, limits, table = random(full, device, 0), illumination_limits(1e-4, 0.01, 4.0, on=device), table_of(0.2, device)
    clean = random(full, device, 1)
    a, b, h = (Guarded(full, device) for _ in range(3))
    prior_coefficients(a.tensor, b.tensor, y, clean, limits, table, number(1, device), h.tensor)
    expected = reference(y.double(), clean.double(), limits.double(), table[1, 5].double())
    for written, wanted in zip((h, a, b), expected, strict=True):
        torch.testing.assert_close(written.written(), wanted.cpu(), rtol=1e-6, atol=1e-6)


def test_h_is_optional_and_changes_nothing_else(device: torch.device) -> None:
    full = (1, 3, 6, 11)
    y, clean, limits = random(full, device, 0), random(full, device, 1), illumination_limits(1e-4, 0.01, 4.0, on=device)
    with_h = [Guarded(full, device) for _ in range(3)]
    without = [Guarded(full, device) for _ in range(2)]
    table, index = table_of(0.5, device), number(1, device)
    prior_coefficients(with_h[0].tensor, with_h[1].tensor, y, clean, limits, table, index, with_h[2].tensor)
    prior_coefficients(without[0].tensor, without[1].tensor, y, clean, limits, table, index)
    for one, other in zip(without, with_h[:2], strict=True):
        assert torch.equal(one.written(), other.written())


@pytest.mark.parametrize("rho", [0.0, 1e-6, 0.2, 1e6])
def test_dark_and_bright_extremes_agree_with_the_runtime(rho: float, device: torch.device) -> None:
    values = torch.tensor([0.0, 1e-6, 1e-4, 0.01, 0.5, 0.999, 1.0], device=device)
    y = values[:, None].expand(7, 7).expand(1, 3, 7, 7).contiguous()
    clean = values.expand(1, 3, 7, 7).contiguous()
    a, b, h = (Guarded((1, 3, 7, 7), device) for _ in range(3))
    limits = illumination_limits(1e-4, 0.01, 4.0, on=device)
    prior_coefficients(a.tensor, b.tensor, y, clean, limits, table_of(rho, device), number(1, device), h.tensor)
    expected_h = illumination(y.cpu().numpy(), clean.cpu().numpy(), Illumination(1e-4, 0.01, 4.0))
    expected_a, expected_b = blend_coefficients(y.cpu().numpy(), expected_h, rho)
    np.testing.assert_allclose(h.written(), expected_h, rtol=3e-7)
    np.testing.assert_allclose(a.written(), expected_a, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(b.written(), expected_b, rtol=1e-6)
    assert h.written().min() == pytest.approx(0.01)
    assert h.written().max() == 4.0


def test_a_wrong_call_says_what_is_wrong(device: torch.device) -> None:
    y = random((1, 3, 4, 6), device, 0)
    limits, table, index = illumination_limits(1e-4, 0.01, 4.0, on=device), table_of(0.2, device), number(1, device)
    with pytest.raises(KernelError, match="0 < floor < ceiling"):
        illumination_limits(1e-4, 4.0, 0.01)
    with pytest.raises(KernelError, match=r"clean has shape \(1, 1, 4, 6\)"):
        prior_coefficients(y, y, y, y[:, :1], limits, table, index)
    with pytest.raises(KernelError, match=r"A is torch\.float16"):
        prior_coefficients(y.half(), y, y, y, limits, table, index)
