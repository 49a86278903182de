"""Degradation prior network: its size, its physics, its behaviour on masks."""

from dataclasses import replace

import pytest
import torch

from shadowdiffusion.training.color import to_linear, to_srgb
from shadowdiffusion.training.degradation import (
    LARGEST_VEIL,
    SMALL,
    UNKNOWN_MASK,
    DegradationConfig,
    DegradationPrior,
    illumination,
    residual_mask,
)

TINY = DegradationConfig(width=8, encoder=(1, 1), middle=1, decoder=(1, 1))


def _random(config: DegradationConfig = TINY, seed: int = 0) -> DegradationPrior:
    """A prior whose zero-initialised layers do something."""
    torch.manual_seed(seed)
    prior = DegradationPrior(config)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    return prior.eval()


def test_small_size_is_pinned() -> None:
    prior = DegradationPrior(SMALL)
    assert sum(p.numel() for p in prior.parameters()) == 3_546_279
    assert SMALL.multiple == 16


@pytest.mark.parametrize("size", [(8, 8), (16, 40), (24, 8)])
def test_output_has_the_inputs_size_and_range(size: tuple[int, int]) -> None:
    image, mask = torch.rand(2, 3, *size), torch.rand(2, 1, *size)
    with torch.no_grad():
        clean, matte = _random()(image, mask)
    assert matte.shape == mask.shape
    assert 0 <= matte.min() <= matte.max() <= 1
    assert clean.shape == image.shape
    assert clean.min() >= 0
    assert clean.max() <= 1


def test_estimate_is_the_degradation_model() -> None:
    """x_hat = y / h with h = 1 - (1 - w) m: hue changes only where the matte says so, texture is the photo's own."""
    image, mask = torch.rand(1, 3, 32, 32) * 0.3, torch.full((1, 1, 32, 32), UNKNOWN_MASK)
    with torch.no_grad():
        found = _random().estimate(image, mask)
    rebuilt = to_srgb((to_linear(image) * found.log_gain.exp()).clamp(0, 1))
    torch.testing.assert_close(rebuilt, found.clean)


def test_the_veil_is_left_alone() -> None:
    """x_hat = y + (y - v) (1 / h - 1) where y exceeds v, else y."""
    prior = _random(replace(TINY, veiled=True))
    torch.nn.init.zeros_(prior.veil_head.weight)
    assert prior.veil_head.bias is not None
    torch.nn.init.zeros_(prior.veil_head.bias)
    veil = LARGEST_VEIL / 2
    image = torch.rand(1, 3, 32, 32) * 0.3
    image[..., :8, :8] = to_srgb(torch.tensor(veil / 2))
    with torch.no_grad():
        found = prior.estimate(image, torch.ones(1, 1, 32, 32))
    linear = to_linear(image)
    rebuilt = linear + (linear - veil).clamp(min=0) * (found.log_gain.exp() - 1)
    torch.testing.assert_close(to_srgb(rebuilt.clamp(0, 1)), found.clean)
    torch.testing.assert_close(found.clean[..., :8, :8], image[..., :8, :8])


@pytest.mark.parametrize("veiled", [False, True])
def test_no_matte_no_change(veiled: bool) -> None:
    prior = _random(replace(TINY, veiled=veiled))
    torch.nn.init.zeros_(prior.matte_head.weight)
    assert prior.matte_head.bias is not None
    torch.nn.init.constant_(prior.matte_head.bias, -30.0)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(prior(image, torch.ones(1, 1, 32, 32))[0], image, atol=1e-5, rtol=0)


def test_mask_matters_and_black_pixels_stay_finite() -> None:
    prior = _random()
    image = torch.rand(1, 3, 32, 32)
    image[..., :8, :8] = 0
    with torch.no_grad():
        a, b = (prior(image, torch.full((1, 1, 32, 32), value))[0] for value in (0.0, 1.0))
    assert not torch.equal(a, b)
    assert torch.isfinite(a).all()
    prior.train()
    prior(image, torch.ones(1, 1, 32, 32))[0].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in prior.parameters() if p.grad is not None)


def test_transfer_curve_round_trip_and_known_values() -> None:
    values = torch.linspace(0, 1, 1001, dtype=torch.float64)
    torch.testing.assert_close(to_srgb(to_linear(values)), values, atol=1e-7, rtol=0)
    # IEC 61966-2-1: mid grey 0.5 is 0.21404 in linear light
    assert float(to_linear(torch.tensor(0.5, dtype=torch.float64))) == pytest.approx(0.2140411, abs=1e-6)


def test_illumination_is_clamped_and_one_on_equal_images() -> None:
    image = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(illumination(image, image), torch.ones_like(image))
    assert float(illumination(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)).max()) == pytest.approx(0.01)
    assert float(illumination(torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)).max()) == pytest.approx(4.0)


def test_residual_mask_threshold() -> None:
    image = torch.zeros(1, 3, 1, 2)
    clean = torch.tensor([0.06, 0.04]).expand(1, 3, 1, 2)
    assert residual_mask(image, clean).flatten().tolist() == [1.0, 0.0]
