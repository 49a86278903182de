"""One sampler step against float64, over shapes, precisions and variants."""

from __future__ import annotations

import pytest
import torch

from shadowdiffusion.kernels import noise
from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.prior_step import prior_step, reference, reference_input
from shadowdiffusion.kernels.step_table import step_table
from shadowdiffusion.training.sampler import SamplerOptions
from shadowdiffusion.training.sampler import step_table as sampler_steps
from shadowdiffusion.training.schedule import DiffusionConfig
from tests.kernels.buffers import SHAPES, TYPES, Guarded, normal, number, random

ROUNDING = {torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 8e-3}
"""What storing in that type may cost, relative: half a unit in the last place, or a whole one for bfloat16,
which the interpreter truncates and the GPU rounds."""


def table_of(eta: float, device: torch.device, clamp: bool = False) -> torch.Tensor:
    return step_table(sampler_steps(SamplerOptions(eta=eta), DiffusionConfig()), "input", 1000, clamp=clamp, on=device)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_step_and_network_input_follow_the_reference(
    shape: tuple[int, int, int], dtype: torch.dtype, eta: float, device: torch.device
) -> None:
    """The state is that of a network that takes x_t by itself, bit for bit."""
    images, height, width = shape
    full = (images, 3, height, width)
    x, e, y = normal(full, device, 0), normal(full, device, 5), random(full, device, 1)
    mask = random((images, 1, height, width), device, 2)
    blend = random(full, device, 3), random(full, device, 4)
    table, row = table_of(eta, device), number(2, device)
    stream = noise.noise_stream(1, on=device).repeat(images, 1) if eta else None
    out, network = Guarded(full, device), Guarded((images, 7, height, width), device, dtype)
    shown = {"condition": (y, mask), "network": network.tensor}
    prior_step(x, e, table, row, coefficients=blend, stream=stream, out=out.tensor, **shown)  # type: ignore[arg-type]
    assert torch.equal(out.tensor, prior_step(x.clone(), e, table, row, coefficients=blend, stream=stream))
    fresh = noise.reference(stream.cpu(), 3, full) if stream is not None else None
    a, b = (tensor.double().cpu() for tensor in blend)
    moved = reference(x.double().cpu(), e.cpu(), table[2].double().cpu(), a, b, fresh)
    torch.testing.assert_close(out.written(), moved, rtol=2e-6, atol=2e-6)
    expected = reference_input(y.double().cpu(), mask.double().cpu(), out.written())
    torch.testing.assert_close(network.written(), expected, rtol=ROUNDING[dtype], atol=1e-6)


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 9)])
def test_every_step_of_a_schedule_uses_its_own_row(
    shape: tuple[int, int, int], clamp: bool, eta: float, consistent: bool, device: torch.device
) -> None:
    images, height, width = shape
    full = (images, 3, height, width)
    x, e = normal(full, device, 0), normal(full, device, 1)
    a, b = random(full, device, 2), random(full, device, 3)
    table = table_of(eta, device, clamp)
    stream = torch.cat([noise.noise_stream(11 + i, image=2 * i, top=3, left=4 * i, on=device) for i in range(images)])
    for step in range(len(table)):
        out = Guarded(full, device)
        coefficients = (a, b) if consistent else None
        fresh = stream if eta else None
        prior_step(x, e, table, number(step, device), coefficients=coefficients, stream=fresh, out=out.tensor)
        expected = reference(
            x.double().cpu(),
            e.cpu(),
            table[step].double().cpu(),
            a.double().cpu() if consistent else None,
            b.double().cpu() if consistent else None,
            noise.reference(stream.cpu(), step + 1, full) if eta else None,
        )
        # the first steps divide by sqrt(alpha_bar), which magnifies float32 rounding up to 25-fold
        torch.testing.assert_close(out.written(), expected, rtol=2e-6, atol=2e-6)


def test_the_step_may_overwrite_its_state(device: torch.device) -> None:
    x, e, table = normal((1, 3, 9, 9), device, 0), normal((1, 3, 9, 9), device, 1), table_of(0.0, device)
    expected = prior_step(x, e, table, number(1, device), out=torch.empty_like(x))
    assert prior_step(x, e, table, number(1, device)) is x
    assert torch.equal(x, expected)


def test_condition_channels_stay_as_they_are_without_a_condition(device: torch.device) -> None:
    x, e = normal((2, 3, 8, 9), device, 0), normal((2, 3, 8, 9), device, 1)
    network = torch.full((2, 7, 8, 9), 5.0, device=device)
    prior_step(x, e, table_of(0.0, device), number(0, device), network=network)
    assert bool((network[:, :4] == 5).all())
    assert torch.equal(network[:, 4:], x)


def test_tiles_step_like_the_whole(device: torch.device) -> None:
    x, e, table = normal((1, 3, 12, 20), device, 0), normal((1, 3, 12, 20), device, 1), table_of(1.0, device)
    whole = prior_step(x, e, table, number(1, device), stream=noise.noise_stream(3, on=device), out=torch.empty_like(x))
    tile = (..., slice(4, 9), slice(7, 18))
    part = prior_step(
        x[tile].contiguous(),
        e[tile].contiguous(),
        table,
        number(1, device),
        stream=noise.noise_stream(3, top=4, left=7, on=device),
    )
    assert torch.equal(whole[tile], part)


def test_a_broken_network_is_not_hidden_by_the_clamp(device: torch.device) -> None:
    x, e = normal((1, 3, 2, 2), device, 0), normal((1, 3, 2, 2), device, 1)
    e[0, 1, 1, 0] = float("nan")
    prior_step(x, e, table_of(0.0, device, clamp=True), number(0, device))
    assert x.isnan().sum() == 1


def test_a_wrong_call_says_what_is_wrong(device: torch.device) -> None:
    x, table, index = normal((1, 3, 4, 6), device, 0), table_of(0.0, device), number(0, device)
    seven = torch.empty(1, 7, 4, 6, device=device)
    with pytest.raises(KernelError, match=r"estimate has strides .*: it must be contiguous"):
        prior_step(x, normal((1, 3, 4, 8), device, 1)[..., :6], table, index)
    with pytest.raises(KernelError, match=r"network has shape \(1, 8, 4, 6\), not \(1, 7, 4, 6\)"):
        prior_step(x, x, table, index, network=torch.empty(1, 8, 4, 6, device=device))
    with pytest.raises(KernelError, match="last step has no next network input"):
        prior_step(x, x, table, index, network=seven, last=True)
    with pytest.raises(KernelError, match="give network too"):
        prior_step(x, x, table, index, condition=(x, x[:, :1].contiguous()))
    with pytest.raises(KernelError, match=r"table has shape \(5, 4\)"):
        prior_step(x, x, table[:, :4].contiguous(), index)
    with pytest.raises(KernelError, match=r"estimate is torch\.float64"):
        prior_step(x, x.double(), table, index)
    with pytest.raises(KernelError, match=r"stream has shape \(1, 4\), not \(2, 4\)"):
        prior_step(x.repeat(2, 1, 1, 1), x.repeat(2, 1, 1, 1), table, index, stream=noise.noise_stream(0, on=device))
