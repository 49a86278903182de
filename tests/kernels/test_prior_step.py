"""One sampler step against float64, over shapes, precisions, layouts and variants."""

from __future__ import annotations

import pytest
import torch

from kernels import noise
from kernels.errors import KernelError
from kernels.prior_step import Prediction, prior_step, reference, reference_input
from kernels.step_table import step_table
from tests.kernels.buffers import SHAPES, TYPES, Guarded, arranged, normal, number, random
from training.sampler import SamplerOptions
from training.sampler import step_table as sampler_steps
from training.schedule import DiffusionConfig

ROUNDING = {torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 8e-3}
"""What storing in that type may cost, relative: half a unit in the last place, or a whole one for bfloat16,
which the interpreter truncates and the GPU rounds."""


def table_of(eta: float, device: torch.device, clamp: bool = False) -> torch.Tensor:
    return step_table(sampler_steps(SamplerOptions(eta=eta), DiffusionConfig()), "input", 1000, clamp=clamp, on=device)


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "slice"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_step_and_network_input_follow_the_reference(
    shape: tuple[int, int, int], dtype: torch.dtype, layout: str, device: torch.device
) -> None:
    images, height, width = shape
    full = (images, 3, height, width)
    x, y = normal(full, device, 0), random(full, device, 1)
    mask = random((images, 1, height, width), device, 2)
    a, b = random(full, device, 3), random(full, device, 4)
    estimate = arranged(normal(full, device, 5), layout, dtype)
    table = table_of(0.0, device)
    channels = 8 if layout == "nhwc" else 7
    out = Guarded(full, device)
    network = Guarded((images, channels, height, width), device, dtype, channels_last=layout == "nhwc")
    prior_step(
        x,
        estimate,
        table,
        number(2, device),
        coefficients=(a, b),
        condition=(y, mask),
        network=network.tensor,
        out=out.tensor,
    )
    moved = reference(x.double(), estimate, table[2].double(), a.double(), b.double()).cpu()
    torch.testing.assert_close(out.written(), moved, rtol=1e-6, atol=1e-6)
    expected = reference_input(y.double().cpu(), mask.double().cpu(), out.written())
    torch.testing.assert_close(network.written()[:, :7], expected, rtol=ROUNDING[dtype], atol=1e-6)
    assert not network.written()[:, 7:].any()


@pytest.mark.parametrize("dtype", TYPES[1:])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_an_estimate_in_float32_for_a_network_in_halves(dtype: torch.dtype, eta: float, device: torch.device) -> None:
    """What engines give and take; the state is that of a network that takes x_t by itself."""
    full = (2, 3, 8, 20)
    x, e, y = normal(full, device, 0), normal(full, device, 1), random(full, device, 2)
    mask = random((2, 1, 8, 20), device, 3)
    table = table_of(eta, device)
    stream = noise.noise_stream(1, on=device).repeat(2, 1) if eta else None
    network = Guarded((2, 7, 8, 20), device, dtype)
    condition, out = (y, mask), torch.empty_like(x)
    prior_step(x, e, table, number(1, device), condition=condition, network=network.tensor, stream=stream, out=out)
    assert torch.equal(out, prior_step(x.clone(), e, table, number(1, device), stream=stream))
    expected = reference_input(y.double().cpu(), mask.double().cpu(), out.double().cpu())
    torch.testing.assert_close(network.written(), expected, rtol=ROUNDING[dtype], atol=1e-6)


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 15, 29)])
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


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "slice"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_other_predictions_follow_the_reference(
    prediction: Prediction, clamp: bool, dtype: torch.dtype, layout: str, device: torch.device
) -> None:
    full = (2, 3, 15, 29)
    x, a, b = normal(full, device, 0), random(full, device, 2), random(full, device, 3)
    estimate = arranged(normal(full, device, 1), layout, dtype)
    table = table_of(1.0, device, clamp)
    stream = torch.cat([noise.noise_stream(5, image=i, on=device) for i in range(2)])
    for step in range(len(table)):
        last, out = step + 1 == len(table), Guarded(full, device)
        prior_step(
            x,
            estimate,
            table,
            number(step, device),
            prediction=prediction,
            coefficients=(a, b),
            stream=stream,
            last=last,
            out=out.tensor,
        )
        fresh = noise.reference(stream.cpu(), step + 1, full).to(device)
        row = table[step].double()
        expected = reference(x.double(), estimate, row, a.double(), b.double(), fresh, prediction=prediction, last=last)
        torch.testing.assert_close(out.written(), expected.cpu(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("step", [0, 2, 4])
def test_what_the_network_estimates_makes_no_difference(step: int, device: torch.device) -> None:
    full = (1, 3, 9, 13)
    z, e, table = 2 * random(full, device, 0).double() - 1, normal(full, device, 1).double(), table_of(0.0, device)
    spread, root = table[step, 0].double(), 1 / table[step, 1].double()
    x = (root * z + spread * e).float()
    estimates: dict[Prediction, torch.Tensor] = {"noise": e, "v": root * e - spread * z, "x0": z}
    moved = [
        prior_step(x, estimate.float(), table, number(step, device), prediction=name, out=torch.empty_like(x))
        for name, estimate in estimates.items()
    ]
    # 1 / sqrt(alpha_bar) magnifies the rounding of a noise estimate, 1 / sqrt(1 - alpha_bar) that of a clean image
    for other in moved[1:]:
        torch.testing.assert_close(other, moved[0], rtol=1e-5, atol=1e-5)


def test_a_broken_network_is_not_hidden_by_the_clamp(device: torch.device) -> None:
    x, e = normal((1, 3, 2, 2), device, 0), normal((1, 3, 2, 2), device, 1)
    e[0, 1, 1, 0] = float("nan")
    prior_step(x, e, table_of(0.0, device, clamp=True), number(0, device))
    assert x.isnan().sum() == 1


def test_a_wrong_call_says_what_is_wrong(device: torch.device) -> None:
    x, table, index = normal((1, 3, 4, 6), device, 0), table_of(0.0, device), number(0, device)
    seven = torch.empty(1, 7, 4, 6, device=device)
    with pytest.raises(KernelError, match="rows must follow each other"):
        prior_step(x, normal((1, 3, 4, 8), device, 1)[..., :6], table, index)
    with pytest.raises(KernelError, match="last step has no next network input"):
        prior_step(x, x, table, index, network=seven, last=True)
    with pytest.raises(KernelError, match="give network too"):
        prior_step(x, x, table, index, condition=(x, x[:, :1].contiguous()))
    eight = torch.empty(1, 8, 4, 6, device=device).to(memory_format=torch.channels_last)
    with pytest.raises(KernelError, match="written whole"):
        prior_step(x, x, table, index, network=eight)
    with pytest.raises(KernelError, match=r"table has shape \(5, 4\)"):
        prior_step(x, x, table[:, :4].contiguous(), index)
    with pytest.raises(KernelError, match=r"estimate is torch\.float64"):
        prior_step(x, x.double(), table, index)
    with pytest.raises(KernelError, match="prediction 'epsilon' is unknown: use one of noise, v, x0"):
        prior_step(x, x, table, index, prediction="epsilon")  # type: ignore[arg-type]
    with pytest.raises(KernelError, match=r"stream has shape \(1, 4\), not \(2, 4\)"):
        prior_step(x.repeat(2, 1, 1, 1), x.repeat(2, 1, 1, 1), table, index, stream=noise.noise_stream(0, on=device))
