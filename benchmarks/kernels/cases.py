"""The kernels of a sampling step, and guided upsampling, with the fewest bytes each can move.

Floor in bytes per pixel, each input read once and each output written once; y, h, A, B, the estimate and the state have
three float32 channels, masks one:

    prior_coefficients     y 12, clean 12; A 12, B 12                                                            48
    confident_mask         matte 4; mask 4                                                                        8
    confident_depth        h 12, mask 4 (its sums are 2 KiB per image)                                           16
    mask_update            v 4, h 12, mask 4; refined 4, seen 4 (and those sums)                                 28
    prior_step             x 12, estimate 12, A 12, B 12; x 12, its channels of the network's float16 input 6    66
    guided_upsample        photo 12, gain 12/16, guide 12/16 (at a quarter of the photo's sides); gain 12      25.5

`prior_step` is everything between two evaluations of the network: it also races against the step of a naive loop, and
is timed as called from Python too. The network's input already holds y and the mask.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from shadowdiffusion.benchmarks.kernels import baselines
from shadowdiffusion.benchmarks.kernels.case import Case, Draw, Inputs, Tensors
from shadowdiffusion.benchmarks.kernels.record import EAGER, NAIVE
from shadowdiffusion.kernels import confident_mask as masks
from shadowdiffusion.kernels import guided_upsample as guided
from shadowdiffusion.kernels import mask_update as updates
from shadowdiffusion.kernels import prior_coefficients as priors
from shadowdiffusion.kernels import prior_step as steps
from shadowdiffusion.kernels.step_table import step_rows
from shadowdiffusion.training.sampler import SamplerOptions, step_table
from shadowdiffusion.training.schedule import DiffusionConfig

ROW = 2
"""The middle one of five steps, whose coefficients are of ordinary size."""
ROWS = step_rows(step_table(SamplerOptions(), DiffusionConfig()), "closed-form", DiffusionConfig().timesteps)
LIMITS = (1e-4, 0.01, 4.0)
"""Epsilon and the range of h."""
RADIUS, EPS, SHRINK = 2, 1e-3, 4
"""The guided filter's window and softness, and how many times smaller than the photo its guide is."""
SINGLE, HALF = 1e-5, 1e-3
"""Relative L2 error that results may have: float32, and float16 where results are stored in it."""


def prior_coefficients(images: int, side: int) -> Case:
    """A and B from the photo and its clean image; rho is constant, h not wanted."""

    def build(device: torch.device, seed: int) -> Inputs:
        shape, draw = (images, 3, side, side), Draw(device, seed)
        y, clean = draw.uniform(*shape), draw.uniform(*shape)
        limits, (table, index) = priors.illumination_limits(*LIMITS, on=device), _schedule(device)
        a, b = draw.unwritten(*shape), draw.unwritten(*shape)

        def ours() -> Tensors:
            priors.prior_coefficients(a, b, y, clean, limits, table, index)
            return a, b

        def truth() -> Tensors:
            return priors.reference(y.double(), clean.double(), limits, table[ROW, 5])[1:]

        return Inputs(ours, (y, clean, a, b), {EAGER: (y, clean, limits, table[ROW, 5])}, truth)

    def formula(y: Tensor, clean: Tensor, limits: Tensor, rho: Tensor) -> Tensors:
        return priors.reference(y, clean, limits, rho)[1:]

    return Case("prior_coefficients", "fp32", (images, 3, side, side), 1, {EAGER: formula}, build, SINGLE)


def confident_mask(images: int, side: int) -> Case:
    """The prior's own mask from its matte."""

    def build(device: torch.device, seed: int) -> Inputs:
        draw = Draw(device, seed)
        matte, threshold = draw.uniform(images, 1, side, side), torch.tensor([0.5], device=device)
        mask = draw.unwritten(images, 1, side, side)
        return Inputs(
            lambda: (masks.confident_mask(mask, matte, threshold),),
            (matte, mask),
            {EAGER: (matte, threshold)},
            lambda: (masks.reference(matte, threshold).double(),),
        )

    def formula(matte: Tensor, threshold: Tensor) -> Tensors:
        return (masks.reference(matte, threshold),)

    return Case("confident_mask", "fp32", (images, 1, side, side), 1, {EAGER: formula}, build, SINGLE)


def confident_depth(images: int, side: int) -> Case:
    """The reduction behind closed-form masks, once per photo."""

    def build(device: torch.device, seed: int) -> Inputs:
        draw = Draw(device, seed)
        h, mask = draw.uniform(images, 3, side, side), draw.uniform(images, 1, side, side)
        return Inputs(
            lambda: (updates.confident_depth(h, mask),),
            (h, mask),
            {EAGER: (h, mask)},
            lambda: (updates.reference_depth(h.double(), mask),),
            lambda outputs: (_depth(outputs[0]),),
        )

    def formula(h: Tensor, mask: Tensor) -> Tensors:
        return (updates.reference_depth(h, mask),)

    return Case("confident_depth", "fp32", (images, 3, side, side), 1, {EAGER: formula}, build, SINGLE)


def mask_update(images: int, side: int) -> Case:
    """Eq. 14 in closed form. PyTorch has nothing to copy: the mask that is seen next is the refined one."""

    def build(device: torch.device, seed: int) -> Inputs:
        draw, shape = Draw(device, seed), (images, 1, side, side)
        h, mask, v = draw.uniform(images, 3, side, side), draw.uniform(*shape), draw.uniform(*shape)
        refined, seen, (table, index) = draw.unwritten(*shape), draw.unwritten(*shape), _schedule(device)
        sums = _sums(h, mask)

        def ours() -> Tensors:
            updates.mask_update(refined, seen, v, mask, table, index, (h, sums))
            return refined, seen

        def truth() -> Tensors:
            depth = updates.reference_depth(h.double(), mask)
            exact = updates.reference(h.double(), v, depth, table[ROW, 5])
            return exact, exact

        arguments = (h, v, updates.reference_depth(h, mask), table[ROW, 5])
        return Inputs(ours, (v, h, mask, refined, seen, sums), {EAGER: arguments}, truth)

    def formula(h: Tensor, v: Tensor, depth: Tensor, rho: Tensor) -> Tensors:
        refined = updates.reference(h, v, depth, rho)
        return refined, refined

    return Case("mask_update", "fp32 closed form", (images, 1, side, side), 1, {EAGER: formula}, build, SINGLE)


def prior_step(images: int, side: int) -> Case:
    """One step's arithmetic for a half-precision network: the next state and the network's next input."""

    def build(device: torch.device, seed: int) -> Inputs:
        draw, shape = Draw(device, seed), (images, 3, side, side)
        x, e = draw.normal(*shape), draw.normal(*shape)
        y, clean, mask = draw.uniform(*shape), draw.uniform(*shape), draw.uniform(images, 1, side, side)
        table, index = _schedule(device)
        limits = torch.tensor(LIMITS, device=device)
        h, a, b = priors.reference(y, clean, limits, table[ROW, 5])
        out, held = draw.unwritten(*shape), draw.unwritten(*shape)
        network, theirs = (steps.reference_input(y, mask, held).half() for _ in range(2))

        def ours() -> Tensors:
            steps.prior_step(x, e, table, index, coefficients=(a, b), network=network, out=out)
            return out, network

        def truth() -> Tensors:
            moved = steps.reference(x.double(), e, table[ROW].double(), a.double(), b.double())
            return moved, steps.reference_input(y.double(), mask.double(), moved)

        arguments = {EAGER: (x, e, a, b, theirs), NAIVE: (x, e, h, y, mask)}
        return Inputs(ours, (x, e, a, b, out, network[:, 4:]), arguments, truth)

    formulas = {EAGER: baselines.step(ROWS[ROW]), NAIVE: baselines.naive_step(ROWS[ROW])}
    shape = (images, 3, side, side)
    return Case("prior_step", "packed fp16", shape, 1, formulas, build, HALF, as_called=True)


def guided_upsample(images: int, side: int) -> Case:
    """The gain of a working image, carried to a photo of four times its sides; its windows are read many times."""

    def build(device: torch.device, seed: int) -> Inputs:
        draw, small = Draw(device, seed), side // SHRINK
        gain, guide = draw.normal(images, 3, small, small), draw.uniform(images, 3, small, small)
        photo, out = draw.uniform(images, 3, side, side), draw.unwritten(images, 3, side, side)
        eps = torch.tensor([EPS], device=device)
        return Inputs(
            lambda: (guided.guided_upsample(out, gain, guide, photo, eps, RADIUS),),
            (gain, guide, photo, out),
            {EAGER: (gain, guide, photo)},
            lambda: (guided.reference(gain, guide, photo, RADIUS, EPS),),
        )

    formulas = {EAGER: baselines.guided_upsample(RADIUS, EPS)}
    shape = (images, 3, side, side)
    return Case("guided_upsample", "fp32", shape, 3, formulas, build, 1e-4, streaming=False)


KERNELS: dict[str, Callable[[int, int], list[Case]]] = {
    "prior_step": lambda images, side: [prior_step(images, side)],
    "prior_coefficients": lambda images, side: [prior_coefficients(images, side)],
    "confident_mask": lambda images, side: [confident_mask(images, side)],
    "confident_depth": lambda images, side: [confident_depth(images, side)],
    "mask_update": lambda images, side: [mask_update(images, side)],
    "guided_upsample": lambda images, side: [guided_upsample(images, side)],
}
"""Cases of every kernel for a batch of square images, by the kernel's name."""


def _schedule(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(ROWS, device=device), torch.tensor([ROW], dtype=torch.int32, device=device)


def _sums(h: Tensor, mask: Tensor) -> Tensor:
    """What `confident_depth` returns, all of it in the first part."""
    sure = (mask >= 0.9).float()
    sums = h.new_zeros(len(h), 4, updates.PARTS)
    sums[:, :, 0] = torch.cat(((1 - h) * sure, sure), dim=1).sum(dim=(2, 3))
    return sums


def _depth(sums: Tensor) -> Tensor:
    """What `confident_depth` leaves to its reader: the mean of 1 - h, [N, 3, 1, 1]."""
    totals = sums.double().sum(dim=2)
    return (totals[:, :3] / totals[:, 3:].clamp(min=1))[..., None, None]
