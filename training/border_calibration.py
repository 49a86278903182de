"""Calibration of a shadow's gain by what its border shows: the surface goes on, so restored light must go on too.

A network learns how strong shadows usually are; how strong this one is stands in the photo, on both sides of its
border. Along the border the restored light just inside is compared with the light just outside, and the logarithm of
the gain is scaled per channel by what makes them meet. Matching illumination across the border is the classic way to
remove a shadow (e.g. Gong and Cosker, "Interactive Removal and Ground Truth for Difficult Shadow Scenes", JOSA A
2016); here it corrects a learned gain, and is made of operations that a network can be trained through and exported
with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 4  # pixels of a cell's side: everything is compared at this resolution
SIGMA, RADIUS = 3.0, 9  # of the Gaussian window, in cells
SURE, LIT = 0.7, 0.2  # matte above which a pixel counts as inside, below which as outside
DARK = 0.01  # linear light added before logarithms: sensor noise counts less
LEAST_GAIN = 0.05  # of the logarithm, below which a ratio of logarithms means nothing
LARGEST = 0.6  # of a cell's vote
TOLERANCE = 0.15  # root mean square of a vote over the channels, seen from the consensus, at which it counts half
ROUNDS = 12  # of reweighting
EVIDENCE = 10.0  # sum of weights at which the border is believed half


def border_votes(linear: Tensor, log_gain: Tensor, matte: Tensor) -> tuple[Tensor, Tensor]:
    """What each cell near the border asks for: (relative change of the log gain, weight), [N, 3, H / 4, W / 4].

    Args:
        linear: the photo in linear light, float[N, 3, H, W] in [0, 1], H and W multiples of 4.
        log_gain: logarithm of the gain that restores it, float[N, 3, H, W].
        matte: float[N, 1, H, W] in [0, 1].
    """
    inside = F.relu(matte - SURE) / (1 - SURE)
    outside = F.relu(LIT - matte) / LIT
    light = torch.log(linear + DARK)
    restored = torch.log(linear * log_gain.exp() + DARK)
    near = _blurred(
        torch.cat([inside, outside, inside * restored, outside * restored, inside * (restored - light)], dim=1)
    )
    n_inside, n_outside = near[:, :1], near[:, 1:2]
    one, other = n_inside.clamp(min=1e-3), n_outside.clamp(min=1e-3)
    step = near[:, 5:8] / other - near[:, 2:5] / one
    gain = (near[:, 8:11] / one).clamp(min=LEAST_GAIN)
    weight = F.relu(torch.minimum(n_inside, n_outside) - 0.02) * gain
    return (step / gain).clamp(-LARGEST, LARGEST), weight


def consensus(votes: Tensor, weight: Tensor) -> Tensor:
    """One change per image and channel, [N, 3, 1, 1]: a reweighted mean that lone votes do not move, less of it where
    there is little border to see (Cauchy's weights; Holland and Welsch 1977).

    The channels trust the same cells: one by one, they could agree with different surfaces, and tint the shadow.
    """
    agreed = (weight * votes).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1e-3)
    for _ in range(ROUNDS):
        trusted = weight / (1 + ((votes - agreed) / TOLERANCE).square().mean(1, keepdim=True))
        total = trusted.sum((2, 3), keepdim=True)
        agreed = (trusted * votes).sum((2, 3), keepdim=True) / total.clamp(min=1e-3)
    return agreed * total / (total + EVIDENCE)


def _blurred(planes: Tensor) -> Tensor:
    """Gaussian means over cells, zeros beyond the image, which the weights among the planes make up for."""
    cells = F.avg_pool2d(planes, CELL)
    taps = torch.exp(-0.5 * (torch.arange(-RADIUS, RADIUS + 1, device=planes.device) / SIGMA).square())
    kernel = (taps / taps.sum()).to(planes.dtype).expand(planes.shape[1], 1, 1, -1)
    cells = F.conv2d(cells, kernel, padding=(0, RADIUS), groups=planes.shape[1])
    return F.conv2d(cells, kernel.transpose(2, 3), padding=(RADIUS, 0), groups=planes.shape[1])
