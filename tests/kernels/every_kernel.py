"""Every kernel once, on photos of any size: for tests of what must hold for all of them.

As a program (`python -m tests.kernels.every_kernel`) it runs them on the GPU for a tool that watches it, or, with
`--broken`, a kernel that writes where it must not, which such a tool has to find.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.confident_mask import confident_mask
from kernels.group_norm_silu import group_norm_silu
from kernels.guided_upsample import guided_upsample
from kernels.mask_update import confident_depth, mask_update
from kernels.noise import noise, noise_stream
from kernels.pixels import to_pixels, to_planes
from kernels.prior_coefficients import illumination_limits, prior_coefficients
from kernels.prior_step import PREDICTIONS, prior_step
from kernels.step_table import step_table
from tests.kernels.buffers import normal, number, random
from training.sampler import SamplerOptions
from training.sampler import step_table as sampler_steps
from training.schedule import DiffusionConfig

IMAGES = 2
OPTIONS = SamplerOptions(eta=1.0, mask_policy="closed-form", rho_schedule="geometric", rho_gamma=1.3)

Outputs = list[Tensor]


def schedule(device: torch.device) -> tuple[Tensor, Tensor]:
    """A table of five steps and the number of the third."""
    return step_table(sampler_steps(OPTIONS, DiffusionConfig()), "closed-form", 1000, on=device), number(2, device)


def stream(device: torch.device) -> Tensor:
    return torch.cat([noise_stream(5, image=image, on=device) for image in range(IMAGES)])


def run_noise(device: torch.device, height: int, width: int) -> Outputs:
    return [noise(torch.empty(IMAGES, 3, height, width, device=device), stream(device), number(1, device))]


def run_prior_step(device: torch.device, height: int, width: int) -> Outputs:
    size = (IMAGES, 3, height, width)
    x, y, estimate = normal(size, device, 0), random(size, device, 1), normal(size, device, 2)
    condition = (y, random((IMAGES, 1, height, width), device, 3))
    coefficients = (random(size, device, 4), random(size, device, 5))
    found = []
    for prediction in PREDICTIONS:
        for kind in (torch.float32, torch.float16):
            planes = torch.empty(IMAGES, 7, height, width, device=device, dtype=kind)
            pixels = torch.empty(IMAGES, height, width, 8, device=device, dtype=kind).permute(0, 3, 1, 2)
            for network in (planes, pixels, None):
                moved = prior_step(
                    x,
                    estimate.to(kind),
                    *schedule(device),
                    prediction=prediction,
                    coefficients=coefficients,
                    condition=None if network is None else condition,
                    network=network,
                    stream=stream(device),
                    last=network is None,
                    out=torch.empty_like(x),
                )
                found += [moved] if network is None else [moved, network]
    return found


def run_prior_coefficients(device: torch.device, height: int, width: int) -> Outputs:
    size = (IMAGES, 3, height, width)
    y, clean, limits = random(size, device, 0), random(size, device, 1), illumination_limits(1e-4, 0.01, 4.0, on=device)
    a, b, h = (torch.empty_like(y) for _ in range(3))
    prior_coefficients(a, b, y, clean.half(), limits, *schedule(device), h)
    return [a, b, h]


def run_confident_mask(device: torch.device, height: int, width: int) -> Outputs:
    matte = random((IMAGES, 1, height, width), device, 0)
    return [confident_mask(torch.empty_like(matte), matte.half(), torch.tensor([0.75], device=device))]


def run_mask_update(device: torch.device, height: int, width: int) -> Outputs:
    h, mask = random((IMAGES, 3, height, width), device, 0), random((IMAGES, 1, height, width), device, 1)
    v = random((IMAGES, 1, height, width), device, 2).half()
    refined, seen, sums = torch.empty_like(mask), torch.empty_like(mask), confident_depth(h, mask)
    mask_update(refined, seen, v, mask, *schedule(device), (h, sums))
    return [refined, seen, sums]


def run_pixels(device: torch.device, height: int, width: int) -> Outputs:
    found = []
    for channels in (3, 4):
        source = (255 * random((IMAGES, height, width, channels), device, channels)).to(torch.uint8)
        planes = to_planes(torch.empty(IMAGES, 3, height + 3, width + 5, device=device), source)
        for dither in (None, stream(device)):
            found.append(to_pixels(torch.empty_like(source), 0.7 * planes, source, dither=dither))
        found.append(planes)
    return found


def run_group_norm(device: torch.device, height: int, width: int) -> Outputs:
    weight, bias, eps = normal((24,), device, 1), normal((24,), device, 2), torch.tensor([1e-5], device=device)
    time, found = normal((IMAGES, 24), device, 3), []
    for memory in (torch.contiguous_format, torch.channels_last):
        x = normal((IMAGES, 24, height, width), device, 0).half().to(memory_format=memory)
        y, summed = torch.empty_like(x), torch.empty_like(x)
        group_norm_silu(y, x, weight, bias, eps, 4, time=time, residual=x, summed=summed)
        found += [y, summed, group_norm_silu(torch.empty_like(x), x, weight, bias, eps, 4)]
    return found


def run_guided_upsample(device: torch.device, height: int, width: int) -> Outputs:
    small = (IMAGES, 3, (height + 2) // 3, (width + 2) // 3)
    photo = random((IMAGES, 3, height, width), device, 2)
    gain, guide, eps = normal(small, device, 0), random(small, device, 1), torch.tensor([1e-3], device=device)
    return [guided_upsample(torch.empty_like(photo), gain, guide, photo, eps, 2)]


EVERY: dict[str, Callable[[torch.device, int, int], Outputs]] = {
    "noise": run_noise,
    "prior_step": run_prior_step,
    "prior_coefficients": run_prior_coefficients,
    "confident_mask": run_confident_mask,
    "mask_update": run_mask_update,
    "pixels": run_pixels,
    "group_norm_silu": run_group_norm,
    "guided_upsample": run_guided_upsample,
}
"""By the file of the operation: what it writes for two photos [height, width] of fixed values."""


@triton.jit
def broken_kernel(out, count):
    tl.store(out + count, 1.0)


if __name__ == "__main__":
    cuda = torch.device("cuda")
    if sys.argv[1:] == ["--broken"]:
        broken_kernel[(1,)](torch.empty(64, device=cuda), 64)
    else:
        for run in EVERY.values():
            run(cuda, 33, 47)
            run(cuda, 32, 48)
    torch.cuda.synchronize()
