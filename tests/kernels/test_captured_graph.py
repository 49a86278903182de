"""On a GPU: one captured graph serves every step, as only numbers in device memory change between steps."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from shadowdiffusion.kernels.noise import noise_stream
from shadowdiffusion.kernels.prior_coefficients import illumination_limits, prior_coefficients
from shadowdiffusion.kernels.prior_step import prior_step
from shadowdiffusion.kernels.step_table import step_table
from shadowdiffusion.training.sampler import SamplerOptions
from shadowdiffusion.training.sampler import step_table as sampler_steps
from shadowdiffusion.training.schedule import DiffusionConfig
from tests.kernels.buffers import normal, number, random

pytestmark = [pytest.mark.gpu, pytest.mark.xdist_group("cuda")]

SIZE = (2, 3, 96, 160)


def test_one_captured_graph_serves_every_step() -> None:
    device = torch.device("cuda")
    options = SamplerOptions(eta=1.0, rho_schedule="geometric", rho_gamma=1.3)
    table = step_table(sampler_steps(options, DiffusionConfig()), "input", 1000, on=device)
    y, clean, estimate = random(SIZE, device, 0), random(SIZE, device, 1), normal(SIZE, device, 4)
    index, state = number(0, device), normal(SIZE, device, 9)
    a, b, out = (torch.empty_like(y) for _ in range(3))
    limits, stream = illumination_limits(1e-4, 0.01, 4.0, on=device), noise_stream(5, on=device).repeat(2, 1)

    def step() -> None:
        prior_coefficients(a, b, y, clean, limits, table, index)
        prior_step(state, estimate, table, index, coefficients=(a, b), stream=stream, out=out)

    step()  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    seen = []
    for number_of_step in range(5):
        index.fill_(number_of_step)
        graph.replay()
        replayed = out.clone()
        step()
        assert torch.equal(replayed, out)
        seen.append(replayed)
    assert all(not torch.equal(one, other) for one, other in pairwise(seen))
