"""Every kernel once, on photos of any size: for tests of what must hold for all of them.

As a program (`python -m tests.kernels.every_kernel`) it runs them on the GPU for a tool that watches it, or, with
`--broken`, a kernel that writes where it must not, which such a tool has to find.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from shadowdiffusion.kernels.confident_mask import confident_mask
from shadowdiffusion.kernels.group_norm_silu import group_norm_silu
from shadowdiffusion.kernels.guided_upsample import guided_upsample
from shadowdiffusion.kernels.mask_update import confident_depth, mask_update
from shadowdiffusion.kernels.noise import noise_stream
from shadowdiffusion.kernels.prior_coefficients import illumination_limits, prior_coefficients
from shadowdiffusion.kernels.prior_step import prior_step
from shadowdiffusion.kernels.start_state import start_state
from shadowdiffusion.kernels.step_table import step_table
from shadowdiffusion.training.sampler import SamplerOptions
from shadowdiffusion.training.sampler import step_table as sampler_steps
from shadowdiffusion.training.schedule import DiffusionConfig
from tests.kernels import buffers

OPTIONS = SamplerOptions(eta=1.0, mask_policy="closed-form", rho_schedule="geometric", rho_gamma=1.3)


@dataclass(frozen=True)
class Photos:
    """Fixed values for some of two photos [height, width]."""

    device: torch.device
    height: int
    width: int
    which: tuple[int, ...] = (0, 1)

    def random(self, channels: int, seed: int) -> Tensor:
        """float32[N, channels, height, width] in [0, 1)."""
        return buffers.random((2, channels, self.height, self.width), self.device, seed)[[*self.which]]

    def normal(self, channels: int, seed: int) -> Tensor:
        """Standard normal float32[N, channels, height, width]."""
        return buffers.normal((2, channels, self.height, self.width), self.device, seed)[[*self.which]]

    def stream(self) -> Tensor:
        """A noise stream per photo."""
        return torch.cat([noise_stream(5, image=image, top=image, on=self.device) for image in self.which])

    def step(self) -> tuple[Tensor, Tensor]:
        """A table of five steps and the number of the third."""
        table = step_table(sampler_steps(OPTIONS, DiffusionConfig()), "closed-form", 1000, on=self.device)
        return table, buffers.number(2, self.device)

    def numbers(self, *values: float) -> Tensor:
        """These numbers in device memory."""
        return torch.tensor(values, device=self.device)


def run_start_state(photos: Photos) -> list[Tensor]:
    y, mask, prior = photos.random(3, 0), photos.random(1, 1), (photos.random(3, 2), photos.numbers(0.6, 0.8))
    found = []
    for network in (torch.empty_like(photos.random(7, 0), dtype=torch.float16), torch.empty_like(y)):
        for start in (None, prior):
            state = torch.empty_like(y)
            start_state(state, network, y, mask, photos.stream(), buffers.number(0, photos.device), start)
            found += [state, network.clone()]
    return found


def run_prior_step(photos: Photos) -> list[Tensor]:
    x, y, estimate, mask = photos.normal(3, 0), photos.random(3, 1), photos.normal(3, 2), photos.random(1, 3)
    coefficients, found = (photos.random(3, 4), photos.random(3, 5)), []
    for kind in (torch.float32, torch.float16, None):
        network = None if kind is None else torch.empty_like(photos.random(7, 0), dtype=kind)
        moved = prior_step(
            x,
            estimate,
            *photos.step(),
            coefficients=coefficients,
            condition=None if network is None else (y, mask),
            network=network,
            stream=photos.stream(),
            last=network is None,
            out=torch.empty_like(x),
        )
        found += [moved] if network is None else [moved, network]
    return found


def run_prior_coefficients(photos: Photos) -> list[Tensor]:
    y, clean = photos.random(3, 0), photos.random(3, 1)
    a, b, h = (torch.empty_like(y) for _ in range(3))
    prior_coefficients(a, b, y, clean, illumination_limits(1e-4, 0.01, 4.0, on=photos.device), *photos.step(), h)
    return [a, b, h]


def run_confident_mask(photos: Photos) -> list[Tensor]:
    matte = photos.random(1, 0)
    return [confident_mask(torch.empty_like(matte), matte, photos.numbers(0.75))]


def run_mask_update(photos: Photos) -> list[Tensor]:
    h, mask, v = photos.random(3, 0), photos.random(1, 1), photos.random(1, 2)
    refined, seen, sums = torch.empty_like(mask), torch.empty_like(mask), confident_depth(h, mask)
    mask_update(refined, seen, v, mask, *photos.step(), (h, sums))
    return [refined, seen, sums]


def run_group_norm(photos: Photos) -> list[Tensor]:
    weight, bias = (buffers.normal((8,), photos.device, seed) for seed in (1, 2))
    time, eps, found = photos.normal(8, 3)[:, :, 0, 0].contiguous(), photos.numbers(1e-5), []
    for memory in (torch.contiguous_format, torch.channels_last):
        x = photos.normal(8, 0).half().to(memory_format=memory)
        y, summed = torch.empty_like(x), torch.empty_like(x)
        group_norm_silu(y, x, weight, bias, eps, 2, time=time, residual=x, summed=summed)
        found += [y, summed, group_norm_silu(torch.empty_like(x), x, weight, bias, eps, 2)]
    return found


def run_guided_upsample(photos: Photos) -> list[Tensor]:
    photo = photos.random(3, 2)
    gain, guide = photos.normal(3, 0)[:, :, ::3, ::3].contiguous(), photos.random(3, 1)[:, :, ::3, ::3].contiguous()
    return [guided_upsample(torch.empty_like(photo), gain, guide, photo, photos.numbers(1e-3), 1)]


EVERY: dict[str, Callable[[Photos], list[Tensor]]] = {
    "start_state": run_start_state,
    "prior_step": run_prior_step,
    "prior_coefficients": run_prior_coefficients,
    "confident_mask": run_confident_mask,
    "mask_update": run_mask_update,
    "group_norm_silu": run_group_norm,
    "guided_upsample": run_guided_upsample,
}
"""By the file of the operation: what it writes, the first dimension being the photos'."""


@triton.jit
def broken_kernel(out, count):
    tl.store(out + count, 1.0)


if __name__ == "__main__":
    cuda = torch.device("cuda")
    if sys.argv[1:] == ["--broken"]:
        broken_kernel[(1,)](torch.empty(64, device=cuda), 64)
    else:
        for run in EVERY.values():
            run(Photos(cuda, 33, 47))
            run(Photos(cuda, 32, 48))
    torch.cuda.synchronize()
