"""How good the denoiser's own estimate of the clean photo is at each noise level, beside the prior's estimate.

Two states per level: the one that sampling from the prior starts with, and the one that training knows, made of the
clean photo itself. Where even the second gives less than the prior, a step at that level has nothing to add.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.datasets import as_sample, read_pair
from shadowdiffusion.training.degradation import found_mask
from shadowdiffusion.training.diffusion import add_noise
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.evaluate import pad
from shadowdiffusion.training.layouts import Triplet
from shadowdiffusion.training.metrics import psnr
from shadowdiffusion.training.schedule import alpha_bars

TIMES = (1, 5, 10, 20, 50, 100, 200, 400, 800)


@dataclass(frozen=True)
class NoiseLevel:
    """PSNR in dB of the estimate z at timestep t from both states, and of the prior alone; noise in [-1, 1]."""

    t: int
    noise: float
    prior: float
    from_prior: float
    from_clean: float


def mean_levels(
    model: Model, pairs: Sequence[Triplet], blind: bool, times: Sequence[int] = TIMES, seed: int = 0
) -> Iterator[NoiseLevel]:
    """Means over the pairs at native size, with their masks or `blind`, one level after the other.

    Raises TrainingError if a network is missing or a timestep is not below the diffusion's.
    """
    if model.prior is None or model.denoiser is None:
        raise TrainingError("noise levels need a prior and a denoiser: give the checkpoints of both")
    table = alpha_bars(model.diffusion)
    if not all(0 <= t < len(table) for t in times):
        raise TrainingError(f"timesteps must lie in 0 .. {len(table) - 1}, not {', '.join(map(str, times))}")
    photos = [_photo(model, files, blind) for files in pairs]
    for t in times:
        scores = [_scores(model, photo, t, table[t], seed) for photo in photos]
        prior, from_prior, from_clean = (sum(column) / len(column) for column in zip(*scores, strict=True))
        yield NoiseLevel(t, math.sqrt(1 - float(table[t])), prior, from_prior, from_clean)


@dataclass(frozen=True)
class _Photo:
    """All float32[1, C, H, W] in [0, 1], padded; height and width: of the photo itself."""

    y: Tensor
    mask: Tensor
    clean: Tensor
    prior: Tensor
    height: int
    width: int


@torch.no_grad()
def _photo(model: Model, files: Triplet, blind: bool) -> _Photo:
    assert model.prior is not None
    assert model.denoiser is not None
    pair = as_sample(read_pair(files, everywhere=model.task != "shadow"))
    multiple = math.lcm(model.prior.config.multiple, model.denoiser.config.multiple)
    y, clean, mask = (pad(picture[None], multiple) for picture in (pair["image"], pair["clean"], pair["mask"]))
    seen = found_mask(model.prior, y) if blind else mask
    return _Photo(y, seen, clean, model.prior(y, seen)[0], *pair["image"].shape[-2:])


@torch.no_grad()
def _scores(model: Model, photo: _Photo, t: int, level: Tensor, seed: int) -> tuple[float, ...]:
    """PSNR of the prior and of z from both states."""
    assert model.denoiser is not None

    def score(picture: Tensor) -> float:
        inside = (..., slice(photo.height), slice(photo.width))
        return float(psnr(picture[inside].clamp(0, 1), photo.clean[inside]))

    noise = torch.randn(photo.y.shape, generator=torch.Generator().manual_seed(seed))
    found = []
    for state in (photo.prior, photo.clean):
        x_t = add_noise(2 * state - 1, noise, level)
        predicted, _ = model.denoiser(2 * photo.y - 1, photo.mask, x_t, torch.full((1,), float(t)))
        z = (x_t - math.sqrt(1 - float(level)) * predicted) / math.sqrt(float(level))
        found.append(score((z + 1) / 2))
    return score(photo.prior), *found
