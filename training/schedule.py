"""Noise schedule of the diffusion: linear betas and their cumulative products.

ShadowDiffusion (CVPR 2023) trains with T = 1000 and beta running linearly from 1e-4 to 0.02 (its supplement),
the schedule of DDPM (Ho et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shadowdiffusion.training.errors import TrainingError


@dataclass(frozen=True)
class DiffusionConfig:
    """Linear beta schedule: `timesteps` values from `beta_start` to `beta_end`, both ends included.

    Raises TrainingError unless timesteps >= 1 and 0 < beta_start <= beta_end < 1.
    """

    timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def __post_init__(self) -> None:
        if self.timesteps < 1:
            raise TrainingError(f"diffusion timesteps must be at least 1, not {self.timesteps}")
        if not 0.0 < self.beta_start <= self.beta_end < 1.0:
            given = f"{self.beta_start} and {self.beta_end}"
            raise TrainingError(f"diffusion betas need 0 < beta_start <= beta_end < 1, not {given}")


def betas(config: DiffusionConfig) -> Tensor:
    """beta_t for t = 0 .. T-1: float64[T] on the CPU, whatever the default dtype and device."""
    start, end, count = config.beta_start, config.beta_end, config.timesteps
    return torch.linspace(start, end, count, dtype=torch.float64, device="cpu")


def alpha_bars(config: DiffusionConfig) -> Tensor:
    """abar_t = prod_{s <= t} (1 - beta_s) for t = 0 .. T-1: float64[T] on the CPU, decreasing, in (0, 1)."""
    return torch.cumprod(1.0 - betas(config), dim=0)
