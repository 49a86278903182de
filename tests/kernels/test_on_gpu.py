"""On a GPU: the same inputs give the same bits, run after run and through a captured graph."""

from __future__ import annotations

import pytest
import torch

from kernels.group_norm_silu import group_norm_silu
from kernels.mask_update import confident_depth, mask_update
from kernels.noise import noise, noise_stream
from kernels.prior_coefficients import illumination_limits, prior_coefficients
from kernels.prior_step import prior_step
from kernels.step_table import step_table
from tests.kernels.buffers import normal, number, random
from training.sampler import SamplerOptions
from training.sampler import step_table as sampler_steps
from training.schedule import DiffusionConfig

pytestmark = [pytest.mark.gpu, pytest.mark.xdist_group("cuda")]

SIZE = (2, 3, 96, 160)
OPTIONS = SamplerOptions(eta=1.0, mask_policy="closed-form", rho_schedule="geometric", rho_gamma=1.3)


def one_step(index: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Everything a step computes besides the network, as a captured graph would hold it."""
    device = state.device
    y, clean, v = random(SIZE, device, 0), random(SIZE, device, 1), random((2, 1, 96, 160), device, 2)
    mask, estimate = random((2, 1, 96, 160), device, 3), normal(SIZE, device, 4).half()
    table = step_table(sampler_steps(OPTIONS, DiffusionConfig()), "closed-form", 1000, on=device)
    a, b, h = (torch.empty_like(y) for _ in range(3))
    limits, stream = illumination_limits(1e-4, 0.01, 4.0, on=device), noise_stream(5, on=device).repeat(2, 1)
    prior_coefficients(a, b, y, clean, limits, table, index, h)
    refined, seen = torch.empty_like(mask), torch.empty_like(mask)
    mask_update(refined, seen, v, mask, table, index, (h, confident_depth(h, mask)))
    network = torch.empty(2, 96, 160, 8, device=device, dtype=torch.float16).permute(0, 3, 1, 2)
    moved = prior_step(
        state,
        estimate,
        table,
        index,
        coefficients=(a, b),
        condition=(y, seen),
        network=network,
        stream=stream,
        out=torch.empty_like(state),
    )
    return a, b, h, refined, seen, moved, network, noise(torch.empty_like(state), stream, index)


def test_equal_inputs_give_equal_bits() -> None:
    device = torch.device("cuda")
    state, index = normal(SIZE, device, 9), number(2, device)
    first = one_step(index, state)
    for _ in range(10):
        assert all(torch.equal(one, two) for one, two in zip(first, one_step(index, state), strict=True))


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_group_norm_gives_equal_bits(memory: torch.memory_format) -> None:
    device = torch.device("cuda")
    x = normal((2, 64, 96, 160), device, 0).half().to(memory_format=memory)
    weight, bias, eps = normal((64,), device, 1), normal((64,), device, 2), torch.tensor([1e-5], device=device)
    first = group_norm_silu(torch.empty_like(x), x, weight, bias, eps, 16)
    for _ in range(10):
        assert torch.equal(group_norm_silu(torch.empty_like(x), x, weight, bias, eps, 16), first)


def test_one_captured_graph_serves_every_step() -> None:
    device = torch.device("cuda")
    y, clean = random(SIZE, device, 0), random(SIZE, device, 1)
    estimate, table = normal(SIZE, device, 4), step_table(sampler_steps(OPTIONS, DiffusionConfig()), "input", 1000)
    table, index, state = table.to(device), number(0, device), normal(SIZE, device, 9)
    a, b, out = (torch.empty_like(y) for _ in range(3))
    limits, stream = illumination_limits(1e-4, 0.01, 4.0, on=device), noise_stream(5, on=device).repeat(2, 1)

    def step() -> None:
        prior_coefficients(a, b, y, clean, limits, table, index)
        prior_step(state, estimate, table, index, coefficients=(a, b), stream=stream, out=out)

    step()  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for number_of_step in range(5):
        index.fill_(number_of_step)
        graph.replay()
        replayed = out.clone()
        step()
        assert torch.equal(replayed, out)
