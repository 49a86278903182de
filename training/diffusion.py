"""The training loss of the denoiser: predict the noise, and the pixels that a clean photo would brighten.

ShadowDiffusion (CVPR 2023), loss as in its released training code: L1 on the noise plus L1 on the mask
head, with antithetic timesteps (every draw t is paired with T-1-t, which evens out the noise levels within
a batch).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from shadowdiffusion.training.degradation import residual_mask
from shadowdiffusion.training.errors import TrainingError

MASK_WEIGHT = 0.5

Denoise = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(y, mask, x_t, t) -> (noise, mask), as `training.denoiser.Denoiser`."""


class DiffusionLoss(NamedTuple):
    """Scalars: total = noise + (mask weight / 3) * mask; noise = mean |e - e_hat|, mask = mean |m_hat -
    m*|."""

    total: Tensor
    noise: Tensor
    mask: Tensor


def antithetic_timesteps(count: int, timesteps: int, generator: torch.Generator) -> Tensor:
    """int64[count] in [0, timesteps), on the generator's device: t_1 .. t_k, then T-1-t_1 .. T-1-t_k.

    For an odd count the last partner is left out.
    """
    half = torch.randint(timesteps, ((count + 1) // 2,), generator=generator, device=generator.device)
    return torch.cat([half, timesteps - 1 - half])[:count]


def add_noise(x: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = sqrt(abar) x + sqrt(1 - abar) noise (DDPM, Ho et al. 2020, Eq. 4), x in [-1, 1].

    alpha_bar: any float dtype, broadcasts with x; the square roots are taken in its own precision.
    """
    return alpha_bar.sqrt().to(x) * x + (1.0 - alpha_bar).sqrt().to(x) * noise


def diffusion_loss(
    denoise: Denoise,
    y: Tensor,
    x: Tensor,
    mask: Tensor,
    alpha_bar: Tensor,
    generator: torch.Generator,
    mask_weight: float = MASK_WEIGHT,
) -> DiffusionLoss:
    """Loss of one batch.

    y degraded and x clean photo: float[N, 3, H, W] in [0, 1]; mask: float[N, 1, H, W] in [0, 1], as the
    denoiser shall see it; alpha_bar: float[T] of the schedule; generator: source of the timesteps and of
    the noise, in this order. The mask target is m* = 1[mean_c(x - y) >= 0.05]. Raises TrainingError if
    shapes do not fit.
    """
    if y.shape != x.shape or y.dim() != 4 or y.shape[1] != 3 or mask.shape != (*y.shape[:1], 1, *y.shape[2:]):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (y, x, mask))
        raise TrainingError(f"photos must be [N, 3, H, W] and the mask [N, 1, H, W], not {shapes}")
    t = antithetic_timesteps(len(y), len(alpha_bar), generator).to(y.device)
    noise = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
    level = alpha_bar.to(x.device)[t].view(-1, 1, 1, 1)
    x_t = add_noise(2.0 * x - 1.0, noise, level)
    predicted, shadow = denoise(2.0 * y - 1.0, mask, x_t, t.to(x.dtype))
    # The differences are taken in the photos' precision even if the network ran in a lower one.
    noise_loss = (noise - predicted.to(noise.dtype)).abs().mean()
    mask_loss = (shadow.to(x.dtype) - residual_mask(y, x)).abs().mean()
    return DiffusionLoss(noise_loss + mask_weight / 3.0 * mask_loss, noise_loss, mask_loss)
