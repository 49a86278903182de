"""The training loss against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig
from shadowdiffusion.training.diffusion import add_noise, antithetic_timesteps, diffusion_loss
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.schedule import DiffusionConfig, alpha_bars

TABLE = alpha_bars(DiffusionConfig())


def batch(count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(count, 3, 8, 8, generator=generator, dtype=dtype)
    mask = (torch.rand(count, 1, 8, 8, generator=generator, dtype=dtype) > 0.5).to(dtype)
    return x * (1 - 0.6 * mask), x, mask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 33), st.integers(1, 1000), st.integers(0, 100))
def test_antithetic_timesteps(count: int, timesteps: int, seed: int) -> None:
    t = antithetic_timesteps(count, timesteps, seeded(seed))
    assert t.shape == (count,)
    assert t.dtype == torch.int64
    assert t.min() >= 0
    assert t.max() < timesteps
    half = (count + 1) // 2
    assert torch.equal(t[half:], timesteps - 1 - t[: count - half])


def test_all_timesteps_are_reached() -> None:
    assert set(antithetic_timesteps(400, 10, seeded()).tolist()) == set(range(10))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_equals_its_definition(count: int) -> None:
    y, x, mask = batch(count)
    seen: dict[str, Tensor] = {}

    def denoise(y_in: Tensor, m_in: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        seen.update(y=y_in, m=m_in, x_t=x_t, t=t)
        return 0.3 * x_t, torch.sigmoid(x_t[:, :1])

    loss = diffusion_loss(denoise, y, x, mask, TABLE, seeded(9))
    assert torch.equal(seen["y"], 2 * y - 1)
    assert torch.equal(seen["m"], mask)
    assert seen["t"].dtype == x.dtype
    noise_sum, mask_sum = 0.0, 0.0
    for i in range(count):
        factors = [1 - (1e-4 + 0.0199 * k / 999) for k in range(int(seen["t"][i]) + 1)]
        level = math.prod(factors)
        clean = 2 * x[i] - 1
        noise = (seen["x_t"][i] - math.sqrt(level) * clean) / math.sqrt(1 - level)
        target = ((x[i] - y[i]).mean(dim=0) >= 0.05).double()
        noise_sum += float((noise - 0.3 * seen["x_t"][i]).abs().mean())
        mask_sum += float((torch.sigmoid(seen["x_t"][i, 0]) - target).abs().mean())
    assert float(loss.noise) == pytest.approx(noise_sum / count, rel=1e-9)
    assert float(loss.mask) == pytest.approx(mask_sum / count, rel=1e-9)
    assert float(loss.total) == pytest.approx((noise_sum + 0.5 / 3 * mask_sum) / count, rel=1e-9)


def test_noise_is_standard_normal() -> None:
    x = torch.full((64, 3, 16, 16), 0.5)
    drawn: dict[str, Tensor] = {}

    def denoise(y: Tensor, m: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        drawn["noise"] = x_t / (1 - TABLE[t.long()]).sqrt().view(-1, 1, 1, 1)  # x = 0 in [-1, 1]
        return x_t, m

    diffusion_loss(denoise, x, x, x[:, :1], TABLE, seeded())
    assert drawn["noise"].mean().item() == pytest.approx(0.0, abs=0.02)
    assert drawn["noise"].std().item() == pytest.approx(1.0, abs=0.02)


def test_oracle_has_no_loss() -> None:
    y, x, mask = batch(4)

    def oracle(y_in: Tensor, m_in: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        level = TABLE[t.long()].view(-1, 1, 1, 1)
        target = ((x - y).mean(dim=1, keepdim=True) >= 0.05).double()
        return (x_t - level.sqrt() * (2 * x - 1)) / (1 - level).sqrt(), target

    loss = diffusion_loss(oracle, y, x, mask, TABLE, seeded())
    assert float(loss.total) < 1e-12


def test_only_the_generator_decides() -> None:
    y, x, mask = batch(3)

    def denoise(y: Tensor, m: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x_t), m

    torch.manual_seed(0)
    one = diffusion_loss(denoise, y, x, mask, TABLE, seeded(1)).total
    torch.manual_seed(1)
    assert torch.equal(diffusion_loss(denoise, y, x, mask, TABLE, seeded(1)).total, one)
    assert not torch.equal(diffusion_loss(denoise, y, x, mask, TABLE, seeded(2)).total, one)


def test_add_noise_ends() -> None:
    x, noise = torch.rand(1, 3, 2, 2), torch.randn(1, 3, 2, 2)
    assert torch.equal(add_noise(x, noise, torch.tensor(1.0, dtype=torch.float64)), x)
    assert torch.equal(add_noise(x, noise, torch.tensor(0.0, dtype=torch.float64)), noise)


def test_mask_weight() -> None:
    y, x, mask = batch(2)

    def denoise(y: Tensor, m: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x_t), 0 * m

    loss = diffusion_loss(denoise, y, x, mask, TABLE, seeded(), mask_weight=0.0)
    assert torch.equal(loss.total, loss.noise)
    assert float(loss.mask) > 0


@pytest.mark.parametrize("patch", [1, 2])
def test_a_few_steps_lower_the_loss(patch: int) -> None:
    """Every parameter that the untrained network's zeros do not hide receives a gradient, and learning
    works."""
    torch.manual_seed(0)
    denoiser = Denoiser(DenoiserConfig(base=8, multipliers=(1, 2), blocks=1, groups=4, patch=patch))
    y, x, mask = batch(4, torch.float32)
    optimiser = torch.optim.Adam(denoiser.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss = diffusion_loss(denoiser, y, x, mask, TABLE, seeded())  # the same noise: one batch to overfit
        losses.append(float(loss.total.detach()))
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None and bool(p.grad.any()) for p in denoiser.parameters())


def test_shapes_that_do_not_fit_are_refused() -> None:
    y, x, mask = batch(2)

    def denoise(y: Tensor, m: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("must not be called")

    for wrong in ((y[:1], x, mask), (y, x, mask[..., :4]), (y[:, :2], x[:, :2], mask), (y, x, x)):
        with pytest.raises(TrainingError, match="photos must be"):
            diffusion_loss(denoise, *wrong, TABLE, seeded())
