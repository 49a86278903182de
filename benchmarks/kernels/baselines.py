"""What the kernels race against: the same operations as a competent user writes them in PyTorch, float32 or half.

References that work in the type of their inputs are used as they are (`kernels/`); here is what the float64 ones and
the sampling step need besides. All take and return tensors only; numbers of the schedule are plain floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Formula = Callable[..., tuple[Tensor, ...]]


def step(row: Sequence[float]) -> Formula:
    """(x, e, A, B, network) -> (next x, network): with A and B at hand, and x's channels written in place."""
    noise, scale, keep, direction = row[:4]

    def formula(x: Tensor, e: Tensor, a: Tensor, b: Tensor, network: Tensor) -> tuple[Tensor, ...]:
        z = (x - noise * e) * scale
        moved = keep * (a + b * z) + direction * e
        network[:, 4:].copy_(moved)
        return moved, network

    return formula


def naive_step(row: Sequence[float]) -> Formula:
    """(x, e, h, y, mask) -> (next x, network): Eq. 13 as it is written, and the input put together anew."""
    noise, scale, keep, direction, _, rho = row[:6]

    def formula(x: Tensor, e: Tensor, h: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        z = (x - noise * e) / (1 / scale)
        estimate = (h * (2 * y - h) + rho * z) / (h * h + rho)
        moved = keep * estimate + direction * e
        network = torch.cat((2 * y - 1, mask, moved), dim=1)
        return moved, network.half()

    return formula


def group_norm_silu(groups: int, eps: float, memory: torch.memory_format) -> Formula:
    """(x, weight, bias) of one type -> the activation, in the layout of x."""

    def formula(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return (F.silu(F.group_norm(x, groups, weight, bias, eps)).contiguous(memory_format=memory),)

    return formula


def guided_upsample(radius: int, eps: float) -> Formula:
    """(gain, guide, photo) -> the enlarged gain, float32."""

    def window_mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)

    def luminance(image: Tensor) -> Tensor:
        return 0.2126 * image[:, :1] + 0.7152 * image[:, 1:2] + 0.0722 * image[:, 2:]

    def formula(gain: Tensor, guide: Tensor, photo: Tensor) -> tuple[Tensor, ...]:
        g = luminance(guide)
        mean_g, mean_p = window_mean(g), window_mean(gain)
        a = (window_mean(g * gain) - mean_g * mean_p) / (window_mean(g * g) - mean_g * mean_g + eps)
        fit = window_mean(torch.cat((a, mean_p - a * mean_g), dim=1))
        wide_a, wide_b = F.interpolate(fit, photo.shape[2:], mode="bilinear", align_corners=False).chunk(2, dim=1)
        return (wide_a * luminance(photo) + wide_b,)

    return formula
