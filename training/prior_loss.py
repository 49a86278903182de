"""Loss of the degradation prior network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.color import to_linear
from training.datasets import Sample
from training.degradation import DegradationPrior

DARK = 0.02  # linear light below which relative errors stop counting: sensor noise and quantisation rule there


def prior_loss(prior: DegradationPrior, batch: Sample, generator: torch.Generator) -> dict[str, Tensor]:
    """Parts of the loss and their sum, key `loss`.

    pixel:  mean |x_hat - x| in sRGB, what is seen and scored;
    light:  mean |log x_hat - log x| in linear light, which weighs dark photos like bright ones;
    edge:   mean |gradient of (x_hat - x)|, against contours left along the shadow's edge;
    matte:  binary cross-entropy of the matte with the true one.

    Args:
        batch: float32 [N, C, H, W] tensors, see `Sample`.
        generator: unused, the prior has no randomness; every objective is called alike.
    """
    estimate = prior.estimate(batch["image"], batch["mask"])
    error = estimate.clean - batch["clean"]
    pixel = error.abs().mean()
    light = (torch.log(to_linear(estimate.clean) + DARK) - torch.log(to_linear(batch["clean"]) + DARK)).abs().mean()
    edge = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    matte = F.binary_cross_entropy_with_logits(estimate.matte, batch["matte"])
    return {
        "loss": pixel + 0.1 * light + 0.5 * edge + 0.05 * matte,
        "pixel": pixel.detach(),
        "light": light.detach(),
        "edge": edge.detach(),
        "matte": matte.detach(),
    }
