"""The first state and the network's first input against float64."""

from __future__ import annotations

import pytest
import torch

from shadowdiffusion.kernels import noise
from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.kernels.prior_step import reference_input
from shadowdiffusion.kernels.start_state import reference, start_state
from tests.kernels.buffers import Guarded, number, random

SHAPES = [(1, 1, 1), (2, 7, 5), (1, 23, 24)]
ROUNDING = {torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 8e-3}
"""What storing in that type may cost, relative: see `test_prior_step`."""


@pytest.mark.parametrize("from_prior", [False, True])
@pytest.mark.parametrize("dtype", [*ROUNDING, None])
@pytest.mark.parametrize("shape", SHAPES)
def test_state_and_input_follow_the_reference(
    shape: tuple[int, int, int], dtype: torch.dtype | None, from_prior: bool, device: torch.device
) -> None:
    """Without a type the network takes the photo by itself."""
    images, height, width = shape
    full = (images, 3, height, width)
    y, mask, clean = random(full, device, 0), random((images, 1, height, width), device, 1), random(full, device, 2)
    stream = torch.cat([noise.noise_stream(2**63 + i, on=device) for i in range(images)])
    start = torch.tensor([0.6, 0.8], device=device)
    state = Guarded(full, device)
    network = Guarded(full if dtype is None else (images, 7, height, width), device, dtype or torch.float32)
    prior = (clean, start) if from_prior else None
    assert start_state(state.tensor, network.tensor, y, mask, stream, number(0, device), prior) is state.tensor
    fresh = noise.reference(stream.cpu(), 0, full)
    expected = reference(fresh, *(tensor.double().cpu() for tensor in prior or ()))
    torch.testing.assert_close(state.written(), expected, rtol=1e-6, atol=2e-6)
    whole = reference_input(y.double().cpu(), mask.double().cpu(), state.written())
    part = whole[:, :3] if dtype is None else whole
    torch.testing.assert_close(network.written(), part, rtol=ROUNDING[dtype or torch.float32], atol=1e-6)


def test_the_factors_of_pure_noise_give_pure_noise(device: torch.device) -> None:
    """Bit for bit."""
    full = (2, 3, 9, 14)
    y, mask = random(full, device, 0), random((2, 1, 9, 14), device, 1)
    stream, index = torch.cat([noise.noise_stream(i, top=3, on=device) for i in (4, 5)]), number(0, device)
    pure = (y, torch.tensor([1.0, 0.0], device=device))
    found = [
        start_state(torch.empty_like(y), torch.empty_like(y), y, mask, stream, index, prior) for prior in (None, pure)
    ]
    assert torch.equal(*found)


def test_a_wrong_call_says_what_is_wrong(device: torch.device) -> None:
    full = (1, 3, 4, 6)
    y, mask, index = random(full, device, 0), random((1, 1, 4, 6), device, 1), number(0, device)
    stream = noise.noise_stream(1, on=device)
    with pytest.raises(KernelError, match=r"network is torch\.float16: it must be float32"):
        start_state(torch.empty_like(y), y.half(), y, mask, stream, index)
    with pytest.raises(KernelError, match=r"stream has shape \(2, 4\), not \(1, 4\)"):
        start_state(torch.empty_like(y), torch.empty_like(y), y, mask, stream.repeat(2, 1), index)
    with pytest.raises(KernelError, match=r"start has shape \(1,\), not \(2,\)"):
        start_state(torch.empty_like(y), torch.empty_like(y), y, mask, stream, index, (y, torch.ones(1, device=device)))
