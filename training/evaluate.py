"""Quality of a checkpoint on photographed pairs, in PyTorch at native size: prior alone beside prior and diffusion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from shadowdiffusion.training.checkpoint import Model
from shadowdiffusion.training.datasets import as_sample, read_pair
from shadowdiffusion.training.degradation import found_mask, illumination
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.layouts import Triplet
from shadowdiffusion.training.metrics import psnr, ssim
from shadowdiffusion.training.sampler import SamplerOptions, sample

MASKS = ("given", "blind")


@dataclass(frozen=True)
class Quality:
    """Likeness of a picture to its truth, whole image."""

    psnr: float  # dB
    ssim: float

    @classmethod
    def of(cls, picture: Tensor, truth: Tensor) -> Quality:
        return cls(float(psnr(picture, truth)), float(ssim(picture, truth)))


@dataclass(frozen=True)
class Score:
    """Quality of one photo before, after the prior, and after the sampler (None without a denoiser)."""

    photo: str
    mask: str
    identity: Quality
    prior: Quality
    diffusion: Quality | None

    @property
    def qualities(self) -> tuple[Quality, Quality, Quality | None]:
        return self.identity, self.prior, self.diffusion


@torch.no_grad()
def restore(
    model: Model, image: Tensor, mask: Tensor | None, options: SamplerOptions, seed: int
) -> tuple[Tensor | None, Tensor, Tensor]:
    """The whole chain in PyTorch, as the runtime does it at the working size.

    Args:
        image: float32[1, 3, H, W] in [0, 1], any size.
        mask: float32[1, 1, H, W] in [0, 1], or None for blind restoration: the mask is where the
            prior's matte is sure.

    Returns:
        (restored, x_hat of the prior, mask), sizes as `image`, in [0, 1]; restored is None without a denoiser.

    Raises:
        TrainingError: the checkpoint lacks the prior.
    """
    if model.prior is None:
        raise TrainingError("evaluation needs a prior: give its checkpoint too")
    height, width = image.shape[-2:]
    multiple = math.lcm(*(n.config.multiple for n in (model.prior, model.denoiser) if n is not None))
    y = pad(image, multiple)
    seen = found_mask(model.prior, y) if mask is None else pad(mask, multiple)
    clean, _ = model.prior(y, seen)
    if model.denoiser is None:
        return None, clean[..., :height, :width], seen[..., :height, :width]
    generator = torch.Generator().manual_seed(seed)
    shape = y.shape
    result = sample(
        model.denoiser,
        y,
        seen,
        illumination(y, clean, model.illumination),
        clean,
        lambda _: torch.randn(shape, generator=generator),
        options,
        model.diffusion,
    )
    restored = ((result.x + 1) / 2).clamp(0, 1)
    return restored[..., :height, :width], clean[..., :height, :width], result.mask[..., :height, :width]


def pad(image: Tensor, multiple: int) -> Tensor:
    """Reflect at the right and bottom up to a multiple; edge values where the side is shorter than the margin."""
    height, width = image.shape[-2:]
    margin = (0, -width % multiple, 0, -height % multiple)
    mode = "reflect" if margin[1] < width and margin[3] < height else "replicate"
    return F.pad(image, margin, mode=mode)


def evaluate(
    model: Model, pairs: Sequence[Triplet], options: SamplerOptions, masks: Sequence[str] = MASKS, seed: int = 0
) -> Iterator[Score]:
    """Scores as they are computed: every pair with its mask ("given") and without one ("blind").

    Models of low light and exposure see every pair once, with the mask 1 everywhere ("whole").
    """
    everywhere = model.task != "shadow"
    for files in pairs:
        pair = as_sample(read_pair(files, everywhere))
        image, clean, mask = pair["image"][None], pair["clean"][None], pair["mask"][None]
        for kind in ("whole",) if everywhere else masks:
            restored, prior, _ = restore(model, image, None if kind == "blind" else mask, options, seed)
            yield Score(
                files.name,
                kind,
                Quality.of(image, clean),
                Quality.of(prior, clean),
                None if restored is None else Quality.of(restored, clean),
            )


def mean_qualities(scores: Sequence[Score]) -> list[Quality | None]:
    """Means over photos, in the order of `Score.qualities`."""
    means: list[Quality | None] = []
    for column in zip(*(score.qualities for score in scores), strict=True):
        known = [quality for quality in column if quality is not None]
        n = len(known)
        means.append(Quality(sum(q.psnr for q in known) / n, sum(q.ssim for q in known) / n) if known else None)
    return means
