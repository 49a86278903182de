"""sRGB transfer curve (IEC 61966-2-1) on tensors: shadows multiply light, and light is linear."""

from __future__ import annotations

import torch
from torch import Tensor


def to_linear(srgb: Tensor) -> Tensor:
    """Linear light in [0, 1] of an sRGB-encoded tensor in [0, 1], any shape."""
    # the clamp keeps the gradient of the branch `where` does not take finite
    power = ((srgb.clamp(min=0.04) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, power)


def to_srgb(linear: Tensor) -> Tensor:
    """sRGB encoding in [0, 1] of linear light in [0, 1], any shape; inverse of `to_linear`."""
    power = 1.055 * linear.clamp(min=0.003) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, power)
