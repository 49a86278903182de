"""Image quality on tensors, as far as training needs it."""

from __future__ import annotations

from torch import Tensor


def psnr(a: Tensor, b: Tensor, ceiling: float = 60.0) -> Tensor:
    """Peak signal-to-noise ratio in dB of every image of a batch.

    Args:
        a, b: float[N, C, H, W] in [0, 1].
        ceiling: value reported for (nearly) equal images, which would be infinite and spoil a mean.

    Returns:
        float[N].
    """
    mse = (a - b).square().mean(dim=(1, 2, 3))
    return (-10 * mse.clamp(min=10 ** (-ceiling / 10)).log10()).clamp(max=ceiling)
