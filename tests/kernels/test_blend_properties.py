"""What the blend of photo and diffusion must satisfy for any values: `prior_coefficients` and `prior_step` together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shadowdiffusion.kernels.noise import noise_stream
from shadowdiffusion.kernels.prior_coefficients import illumination_limits, prior_coefficients
from shadowdiffusion.kernels.prior_step import prior_step
from shadowdiffusion.kernels.step_table import step_table
from shadowdiffusion.training.sampler import SamplerOptions
from shadowdiffusion.training.sampler import step_table as sampler_steps
from shadowdiffusion.training.schedule import DiffusionConfig
from tests.kernels.buffers import number

SHAPE = (1, 3, 2, 3)
UNIT = arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))
STATE = arrays(np.float32, SHAPE, elements=st.floats(-8, 8, width=32))
STEPS = st.integers(0, 4)
properties = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the device stays the same
)


class Blend(NamedTuple):
    """What the kernels make of one step: x~, the estimate z that goes into it, and the photo's part; on the CPU."""

    clean: torch.Tensor
    z: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    h: torch.Tensor
    y: torch.Tensor

    @property
    def photo(self) -> torch.Tensor:
        """y / h in [-1, 1] coordinates, in float64."""
        return 2 * self.y.double() / self.h.double() - 1


def blend(
    y: np.ndarray,
    clean: np.ndarray,
    state: np.ndarray,
    estimate: np.ndarray,
    rho: float,
    step: int,
    device: torch.device,
) -> Blend:
    photo, prior, x, e = (torch.from_numpy(array).to(device) for array in (y, clean, state, estimate))
    table, index = step_table(sampler_steps(SamplerOptions(), DiffusionConfig()), "input", 1000, on=device), step
    table[:, 5] = rho
    row = number(index, device)
    a, b, h, x_tilde, z = (torch.empty_like(photo) for _ in range(5))
    prior_coefficients(a, b, photo, prior, illumination_limits(1e-4, 0.01, 4.0, on=device), table, row, h)
    prior_step(x, e, table, row, coefficients=(a, b), last=True, out=x_tilde)
    prior_step(x, e, table, row, last=True, out=z)
    return Blend(*(tensor.cpu() for tensor in (x_tilde, z, a, b, h, photo)))


@properties
@given(y=UNIT, clean=UNIT, state=STATE, estimate=STATE, rho=st.floats(1e10, 1e30), step=STEPS)
def test_an_endless_rho_gives_the_diffusion_alone(
    y: np.ndarray,
    clean: np.ndarray,
    state: np.ndarray,
    estimate: np.ndarray,
    rho: float,
    step: int,
    device: torch.device,
) -> None:
    found = blend(y, clean, state, estimate, rho, step, device)
    torch.testing.assert_close(found.clean, found.z, rtol=3e-7, atol=1e-8)


@properties
@given(y=UNIT, clean=UNIT, state=STATE, estimate=STATE, rho=st.just(0.0) | st.floats(1e-30, 1e-13), step=STEPS)
def test_a_vanishing_rho_gives_the_photo_without_its_shadow(
    y: np.ndarray,
    clean: np.ndarray,
    state: np.ndarray,
    estimate: np.ndarray,
    rho: float,
    step: int,
    device: torch.device,
) -> None:
    found = blend(y, clean, state, estimate, rho, step, device)
    torch.testing.assert_close(found.clean.double(), found.photo, rtol=1e-6, atol=1e-6)


@properties
@given(y=UNIT, state=STATE, estimate=STATE, step=STEPS)
def test_without_shadow_and_rho_the_photo_stays_bit_for_bit(
    y: np.ndarray, state: np.ndarray, estimate: np.ndarray, step: int, device: torch.device
) -> None:
    found = blend(y, y, state, estimate, 0.0, step, device)
    assert bool((found.h == 1).all())
    assert torch.equal(found.clean, 2 * found.y - 1)


@properties
@given(y=UNIT, clean=UNIT, rho=st.floats(0, 1e6), step=STEPS)
def test_the_weights_of_photo_and_diffusion_add_up_to_one(
    y: np.ndarray, clean: np.ndarray, rho: float, step: int, device: torch.device
) -> None:
    found = blend(y, clean, np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32), rho, step, device)
    weight = found.b.double()
    assert bool(((weight >= 0) & (weight <= 1 + 1e-6)).all())
    torch.testing.assert_close(found.a.double(), (1 - weight) * found.photo, rtol=1e-6, atol=1e-6)


@properties
@given(
    y=UNIT,
    clean=UNIT,
    state=STATE,
    estimate=STATE,
    rho=st.floats(0, 1e6),
    eta=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_the_last_step_returns_the_blend_bit_for_bit(
    y: np.ndarray,
    clean: np.ndarray,
    state: np.ndarray,
    estimate: np.ndarray,
    rho: float,
    eta: float,
    device: torch.device,
) -> None:
    found = blend(y, clean, state, estimate, rho, 4, device)
    assert torch.equal(found.clean, found.a + found.b * found.z)
    # a captured graph may run the ordinary variant at the last row too
    table = step_table(sampler_steps(SamplerOptions(eta=eta), DiffusionConfig()), "input", 1000, on=device)
    x, e, a, b = (tensor.to(device) for tensor in (torch.from_numpy(state), torch.from_numpy(estimate), *found[2:4]))
    stream = noise_stream(1, on=device) if eta else None
    ordinary = torch.empty_like(x)
    prior_step(x, e, table, number(4, device), coefficients=(a, b), stream=stream, out=ordinary)
    assert torch.equal(ordinary.cpu(), found.clean)
