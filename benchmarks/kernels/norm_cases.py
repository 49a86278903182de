"""Group normalisation with SiLU at every size that the denoiser normalises, in both layouts of memory.

The sizes are read off a network that runs on no data (`meta` tensors). Floor: x read and the result written once, in
float16, 4 bytes per element; statistics need x before any result can be written, so what does not stay in a cache
between two passes is read twice, which makes 6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from shadowdiffusion.benchmarks.kernels import baselines
from shadowdiffusion.benchmarks.kernels.case import Case, Draw, Inputs
from shadowdiffusion.benchmarks.kernels.cases import HALF
from shadowdiffusion.benchmarks.kernels.record import EAGER
from shadowdiffusion.kernels.group_norm_silu import group_norm_silu, reference
from shadowdiffusion.training.denoiser import Denoiser, DenoiserConfig

NAME = "group_norm_silu"
EPS = 1e-5


class Norm(NamedTuple):
    """What one group normalisation of a network sees of an image."""

    channels: int
    height: int
    width: int
    groups: int


def norms(config: DenoiserConfig, side: int) -> Counter[Norm]:
    """How often each size is normalised in one evaluation on an image of side x side pixels, in running order."""
    found: Counter[Norm] = Counter()

    def seen(module: nn.GroupNorm, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        channels, rows, columns = inputs[0].shape[1:]
        found[Norm(channels, rows, columns, module.num_groups)] += 1

    with torch.device("meta"):
        network = Denoiser(config)
        for module in network.modules():
            if isinstance(module, nn.GroupNorm):
                module.register_forward_hook(seen)
        y = torch.empty(1, 3, side, side)
        network(y, y[:, :1], y, torch.empty(1))
    return found


def norm_cases(config: DenoiserConfig, images: int, side: int) -> Iterator[Case]:
    """Every size once, as planes and channels-last."""
    for norm in norms(config, side):
        shape = (images, norm.channels, norm.height, norm.width)
        for layout, memory in (("nchw", torch.contiguous_format), ("nhwc", torch.channels_last)):
            formulas = {EAGER: baselines.group_norm_silu(norm.groups, EPS, memory)}
            build = partial(_build, shape, norm.groups, memory)
            yield Case(NAME, f"fp16 {layout}", shape, 3, formulas, build, HALF, streaming=False)


def _build(
    shape: tuple[int, int, int, int], groups: int, memory: torch.memory_format, device: torch.device, seed: int
) -> Inputs:
    draw, channels = Draw(device, seed), shape[1]
    x = (2 * draw.normal(*shape) + 1).half().contiguous(memory_format=memory)
    weight, bias = draw.normal(channels).half(), draw.normal(channels).half()
    wide_weight, wide_bias, eps = weight.float(), bias.float(), torch.tensor([EPS], device=device)
    out = draw.unwritten(*shape).half().contiguous(memory_format=memory)
    return Inputs(
        lambda: (group_norm_silu(out, x, wide_weight, wide_bias, eps, groups),),
        (x, out),
        {EAGER: (x, weight, bias)},
        lambda: (reference(x, wide_weight, wide_bias, groups, eps=EPS)[0],),
    )
