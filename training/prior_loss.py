"""Losses of the degradation prior network, for photos with shadows and for photos degraded everywhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from shadowdiffusion.training.color import to_linear
from shadowdiffusion.training.datasets import Sample
from shadowdiffusion.training.degradation import DegradationPrior, mask_unknown
from shadowdiffusion.training.metrics import ssim

DARK = 0.02  # linear light below which relative errors stop counting: sensor noise and quantisation rule there
GIVEN_MATTE, BLIND_MATTE = 0.05, 0.3  # weights of the matte's loss with and without a mask


def shadow_loss(prior: DegradationPrior, batch: Sample) -> dict[str, Tensor]:
    """Parts of the loss and their sum, key `loss`: those of `_likeness`, and

    matte: binary cross-entropy of the matte with the true one, and where no mask is known their overlap too. There
    the matte is what counts: cut at `MATTE_THRESHOLD` it becomes the mask with which the photo is restored.

    Args:
        batch: float32 [N, C, H, W] tensors, see `Sample`.
    """
    estimate = prior.estimate(batch["image"], batch["mask"])
    parts = _likeness(estimate.clean, batch["clean"])
    each = F.binary_cross_entropy_with_logits(estimate.matte, batch["matte"], reduction="none").mean((1, 2, 3))
    blind = mask_unknown(batch["mask"]).to(each.dtype)
    matte = (GIVEN_MATTE * (1 - blind) + BLIND_MATTE * blind) * each
    overlap = BLIND_MATTE * blind * _missed_overlap(torch.sigmoid(estimate.matte), batch["matte"])
    return {**parts, "loss": parts["loss"] + (matte + overlap).mean(), "matte": each.mean().detach()}


def _missed_overlap(found: Tensor, true: Tensor) -> Tensor:
    """1 - Dice coefficient of each image, in [0, 1]: it wants a decision per shadow where cross-entropy is content
    with a grey that is right on average (Milletari et al., "V-Net", 3DV 2016). Near 0 if both are empty.
    """
    both = (found * true).sum((1, 2, 3))
    spare = 0.01 * true[0].numel()  # of pixels, so that a speck in a lit photo is no catastrophe
    return 1 - (2 * both + spare) / (found.square().sum((1, 2, 3)) + true.square().sum((1, 2, 3)) + spare)


def exposure_loss(prior: DegradationPrior, batch: Sample) -> dict[str, Tensor]:
    """The same for degradation everywhere: no matte is true, and the network's is free to be the gain's finest part.

    structure: 1 - SSIM.
    """
    clean = prior.estimate(batch["image"], batch["mask"]).clean
    parts = _likeness(clean, batch["clean"])
    structure = 1 - ssim(clean, batch["clean"]).mean()
    return {**parts, "loss": parts["loss"] + 0.25 * structure, "structure": structure.detach()}


def _likeness(found: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """What every task asks of x_hat.

    pixel:  mean |x_hat - x| in sRGB, what is seen and scored;
    light:  mean |log x_hat - log x| in linear light, which weighs dark photos like bright ones;
    edge:   mean |gradient of (x_hat - x)|, against contours left along the shadow's edge.
    """
    error = found - clean
    pixel = error.abs().mean()
    light = (torch.log(to_linear(found) + DARK) - torch.log(to_linear(clean) + DARK)).abs().mean()
    edge = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    total = pixel + 0.1 * light + 0.5 * edge
    return {"loss": total, "pixel": pixel.detach(), "light": light.detach(), "edge": edge.detach()}
