"""Quality of a checkpoint on photographed pairs, in PyTorch at native size: prior alone beside prior and diffusion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.checkpoint import Model
from training.datasets import Triplet, as_sample, read_pair
from training.degradation import MATTE_THRESHOLD, UNKNOWN_MASK, illumination
from training.errors import TrainingError
from training.metrics import psnr
from training.sampler import SamplerOptions, sample

MASKS = ("given", "blind")


@dataclass(frozen=True)
class Score:
    """PSNR in dB of one photo against its truth, whole image: before, after the prior, after the sampler."""

    photo: str
    mask: str
    identity: float
    prior: float
    diffusion: float


@torch.no_grad()
def restore(
    model: Model, image: Tensor, mask: Tensor | None, options: SamplerOptions, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The whole chain in PyTorch, as the runtime does it at the working size.

    Args:
        image: float32[1, 3, H, W] in [0, 1], any size.
        mask: float32[1, 1, H, W] in [0, 1], or None for blind restoration: the mask is where the
            prior's matte is sure.

    Returns:
        (restored, x_hat of the prior, mask), sizes as `image`, in [0, 1].

    Raises:
        TrainingError: the checkpoint lacks one of the two networks.
    """
    if model.prior is None or model.denoiser is None:
        raise TrainingError("evaluation needs a prior and a denoiser: give both checkpoints")
    height, width = image.shape[-2:]
    multiple = math.lcm(model.prior.config.multiple, model.denoiser.config.multiple)
    y = _pad(image, multiple)
    if mask is None:
        # find the shadow first, then restore it as if somebody had drawn it
        _, matte = model.prior(y, torch.full_like(y[:, :1], UNKNOWN_MASK))
        seen = (matte >= MATTE_THRESHOLD).to(y.dtype)
    else:
        seen = _pad(mask, multiple)
    clean, _ = model.prior(y, seen)
    generator = torch.Generator().manual_seed(seed)
    shape = y.shape
    result = sample(
        model.denoiser,
        y,
        seen,
        illumination(y, clean),
        clean,
        lambda _: torch.randn(shape, generator=generator),
        options,
        model.diffusion,
    )
    restored = ((result.x + 1) / 2).clamp(0, 1)
    return restored[..., :height, :width], clean[..., :height, :width], result.mask[..., :height, :width]


def _pad(image: Tensor, multiple: int) -> Tensor:
    """Reflect at the right and bottom up to a multiple; edge values where the side is shorter than the margin."""
    height, width = image.shape[-2:]
    margin = (0, -width % multiple, 0, -height % multiple)
    mode = "reflect" if margin[1] < width and margin[3] < height else "replicate"
    return F.pad(image, margin, mode=mode)


def evaluate(
    model: Model, pairs: Sequence[Triplet], options: SamplerOptions, masks: Sequence[str] = MASKS, seed: int = 0
) -> Iterator[Score]:
    """Scores as they are computed: every pair with its mask ("given") and without one ("blind")."""
    for files in pairs:
        pair = as_sample(read_pair(files))
        image, clean, mask = pair["image"][None], pair["clean"][None], pair["mask"][None]
        for kind in masks:
            restored, prior, _ = restore(model, image, mask if kind == "given" else None, options, seed)
            yield Score(
                files.degraded.stem,
                kind,
                float(psnr(image, clean)),
                float(psnr(prior, clean)),
                float(psnr(restored, clean)),
            )
