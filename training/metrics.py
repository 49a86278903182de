"""Image quality on tensors, as far as training needs it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from shadowdiffusion.training.errors import TrainingError


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


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity of every image of a batch, mean over pixels and channels.

    As scikit-image computes it by default: uniform windows inside the image, sample covariances (Wang et al., "Image
    Quality Assessment", 2004).

    Args:
        a, b: float[N, C, H, W] in [0, 1], sides of at least `window` pixels.

    Returns:
        float[N].

    Raises:
        TrainingError: a picture smaller than the window.
    """
    if min(a.shape[-2:]) < window:
        raise TrainingError(f"SSIM needs pictures of at least {window} x {window} pixels, not {tuple(a.shape[-2:])}")
    unbiased = window**2 / (window**2 - 1)
    mean_a, mean_b = (F.avg_pool2d(x, window, stride=1) for x in (a, b))
    var_a = (F.avg_pool2d(a * a, window, stride=1) - mean_a**2) * unbiased
    var_b = (F.avg_pool2d(b * b, window, stride=1) - mean_b**2) * unbiased
    covariance = (F.avg_pool2d(a * b, window, stride=1) - mean_a * mean_b) * unbiased
    c1, c2 = 0.01**2, 0.03**2
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return (light * structure).mean(dim=(1, 2, 3))
